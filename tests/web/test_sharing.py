"""One run for all who ask alike, and none for those who have left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from support.engines import Factory
from support.waiting import eventually

from edgemse.errors import StoreError
from edgemse.web import sharing
from edgemse.web.sharing import Sharing, age_allowed
from edgemse.web.stopping import Stop, Stoppable


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Work:
    """Counts its runs, and each lasts until it is let go."""

    def __init__(self) -> None:
        self.runs: list[Stop] = []
        self.may_end = Event()

    def __call__(self, stop: Stop) -> int:
        self.runs.append(stop)
        number = len(self.runs)
        assert self.may_end.wait(20)
        stop.check()
        return number


def test_fifty_viewers_cost_one_run() -> None:
    work = Work()

    async def ask() -> list[int]:
        shared: Sharing[int] = Sharing(Clock())
        asking = [asyncio.ensure_future(shared.get("key", work, age_seconds=10)) for _ in range(50)]
        await asyncio.sleep(0)
        work.may_end.set()
        return await asyncio.gather(*asking)

    assert asyncio.run(ask()) == [1] * 50
    assert len(work.runs) == 1


def test_how_old_an_answer_may_be() -> None:
    clock, work = Clock(), Work()
    work.may_end.set()

    async def ask() -> list[int]:
        shared: Sharing[int] = Sharing(clock)
        found = []
        for now, key, age in ((0, "a", 10), (9, "a", 10), (9, "b", 10), (9, "a", 0), (30, "a", 10)):
            clock.now = now
            found.append(await shared.get(key, work, age_seconds=age))
        clock.now = 30 + sharing.AGE_SECONDS_MAX
        return [*found, await shared.get("a", work, age_seconds=1e9)]

    assert asyncio.run(ask()) == [1, 1, 2, 3, 4, 5]


def test_a_failure_is_not_kept() -> None:
    outcomes: list[Callable[[], int]] = [lambda: 1 // 0, lambda: 7]

    async def ask() -> int:
        shared: Sharing[int] = Sharing(Clock())
        with pytest.raises(ZeroDivisionError):
            await shared.get("a", lambda _stop: outcomes[0](), age_seconds=10)
        return await shared.get("a", lambda _stop: outcomes[1](), age_seconds=10)

    assert asyncio.run(ask()) == 7


def test_who_leaves_stops_what_nobody_else_waits_for() -> None:
    work = Work()

    async def ask() -> None:
        shared: Sharing[int] = Sharing(Clock())
        left = asyncio.Event()

        async def gone() -> None:
            await left.wait()

        one = asyncio.ensure_future(shared.get("a", work, age_seconds=10, gone=gone))
        two = asyncio.ensure_future(shared.get("a", work, age_seconds=10))
        await asyncio.to_thread(eventually, lambda: work.runs)
        left.set()
        with pytest.raises(StoreError):
            await one
        work.runs[0].check()  # somebody still waits
        two.cancel()
        with pytest.raises(asyncio.CancelledError):
            await two
        await asyncio.to_thread(eventually, lambda: work.runs[0].stopped)
        work.may_end.set()
        assert await shared.get("a", work, age_seconds=10) == 2

    asyncio.run(ask())


def test_too_many_and_too_long_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "AT_ONCE", 1)
    monkeypatch.setattr(sharing, "WAITING_MAX", 1)
    monkeypatch.setattr(sharing, "WAIT_SECONDS", 0.05)
    work = Work()

    async def ask() -> None:
        shared: Sharing[int] = Sharing(Clock())
        asking = [asyncio.ensure_future(shared.get(key, work)) for key in "ab"]
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="2 questions are being worked on"):
            await shared.get("c", work)
        for each in asking:
            with pytest.raises(StoreError, match="no answer within"):
                await each
        work.may_end.set()

    asyncio.run(ask())
    assert len(work.runs) == 1, "what had not begun is not begun"


ENDLESS = "SELECT count(*) FROM " + ", ".join(
    f"generate_series(1, 100000) AS {name}({name})" for name in "xyz"
)


def test_a_long_select_is_interrupted(engine: Factory, tmp_path: Path) -> None:
    store, stop, over = engine(tmp_path, time.time), Stop(), Event()

    def work() -> str:
        try:
            with store.reading() as reading, Stoppable(reading, stop) as stoppable:
                stoppable.rows(ENDLESS)
        except StoreError as error:
            return str(error)
        finally:
            over.set()
        return "an answer"

    def stopped() -> bool:
        stop.stop()  # the first may come before the SELECT has begun
        return over.is_set()

    with ThreadPoolExecutor(1) as threads:
        said = threads.submit(work)
        eventually(stopped)
    assert said.result() != "an answer"
    with store.reading() as reading, pytest.raises(StoreError, match="nobody waits"):
        Stoppable(reading, stop).rows("SELECT 1")
    with store.reading() as reading:
        assert reading.rows("SELECT 1").rows == [(1,)], "the store is as before"
    store.close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("max-age=7", 7.0), ("Max-Age=7", 7.0), ("no-store, max-age=7", 0.0), ("max-age=x", 0.0)],
)
def test_the_header_says_how_old(header: str, seconds: Any) -> None:
    assert age_allowed(header) == seconds
