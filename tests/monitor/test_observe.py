"""The short way of a sample: right to the sample under threads, forks, closing and window ends."""

from __future__ import annotations

import contextlib
import enum
import math
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgemse_agent.lines import PredictionLine, parse

from edgemse import Monitor
from edgemse.cells import Series
from edgemse.errors import UnacknowledgedError
from edgemse.growing import OpenCell
from edgemse.stats.observer import Guard, Observer, OpenStats

START = 1_767_225_600.0


class Kind(enum.StrEnum):
    NORTH = "north"


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Monitor]:
    """By the wall clock, as once an agent has said that its time is that."""
    monitor = Monitor(socket=tmp_path / "nobody.sock", model="m", clock=time.time)
    yield monitor
    with contextlib.suppress(UnacknowledgedError):
        monitor.close(0.01)


def cells_of(monitor: Monitor) -> list[OpenCell]:
    return list(monitor._cells._growing)


def counted(monitor: Monitor) -> dict[tuple[str, str, str], int]:
    found: dict[tuple[str, str, str], int] = {}
    for cell in cells_of(monitor):
        key = (cell.series.output, cell.series.segment, cell.series.measure)
        found[key] = found.get(key, 0) + cell.stats.count
    return found


def test_samples_of_many_threads_are_all_counted_while_windows_close(lonely: Monitor) -> None:
    """Each thread goes through the windows; the Monitor's own thread, and a fifth, close them."""
    calls, stop = 20_000, threading.Event()

    def observe(number: int) -> None:
        for call in range(calls):
            lonely.observe(1.0, 2.0, f"s{call % 3}", ts=START + 0.01 * call)

    def meddle() -> None:
        while not stop.is_set():
            with lonely._lock:
                lonely._cells.close_ended(START + 1e6)
                lonely._cells.due()
                lonely._cells.hello()

    meddler = threading.Thread(target=meddle)
    observers = [threading.Thread(target=observe, args=(n,)) for n in range(4)]
    for thread in (meddler, *observers):
        thread.start()
    for thread in observers:
        thread.join()
    stop.set()
    meddler.join()
    found = counted(lonely)
    assert sum(found.values()) == 4 * calls
    assert {key[2] for key in found} == {""}
    for cell in cells_of(lonely):
        assert cell.window.start <= cell.start < cell.end == cell.window.end


def test_what_a_cell_took_after_it_was_sealed_is_a_further_revision(lonely: Monitor) -> None:
    lonely.observe(1.0, 2.0, ts=START)
    (cell,) = cells_of(lonely)
    with lonely._lock:
        assert cell.seal(lonely._cells.producer).revision == 1
    assert not cell.grown
    lonely.observe(1.0, 2.0, ts=START)
    assert cell.grown
    with lonely._lock:
        assert cell.seal(lonely._cells.producer).revision == 2
    assert cell.stats.count == 2


def test_names_that_change_in_turn_go_each_to_its_own(lonely: Monitor) -> None:
    rng = random.Random(1)
    wanted: Counter[tuple[str, str, str]] = Counter()
    for _ in range(3_000):
        output, segment = rng.choice(["", "a", "b"]), rng.choice(["", "a", "b"])
        ts = START + rng.choice([0.0, 59.0, 60.0, 7_200.0])
        lonely.observe(1.0, 2.0, segment, ts=ts, output=output)
        wanted[output, segment, ""] += 1
    assert counted(lonely) == wanted
    for cell in cells_of(lonely):
        assert cell.stats.count > 0
        assert (cell.start, cell.end) == (cell.window.start, cell.window.end)


@pytest.mark.parametrize("ts", [START - 0.001, START + 60.0, START + 3_600.0])
def test_a_sample_of_another_window_goes_there(lonely: Monitor, ts: float) -> None:
    lonely.observe(1.0, 2.0, ts=START)
    lonely.observe(1.0, 2.0, ts=ts)
    lonely.observe(1.0, 2.0, ts=START + 59.999)
    windows = {cell.window.start: cell.stats.count for cell in cells_of(lonely)}
    assert windows == {int(START): 2, int(ts // 60) * 60: 1}


def test_a_final_cell_grows_no_more(lonely: Monitor) -> None:
    lonely.observe(1.0, 2.0, ts=START)
    with lonely._lock:
        lonely._cells.close_ended(START + 1e6)
    lonely.observe(1.0, 2.0, ts=START)
    assert [cell.stats.count for cell in cells_of(lonely)] == [1, 1]


def test_now_is_the_clock_s_window_however_near_its_end() -> None:
    """The system's clock, against windows that end and begin within its last tick."""
    taken = Observing()
    for _ in range(2_000):
        now = time.time()
        cell = OpenStats(now - 5.0, now + 1e-4)
        taken.latest = {"o": {"s": cell}}
        taken.observe(1.0, 2.0, "s", output="o")
        after = time.time()
        inside, late = cell.stats.count, len(taken.long)
        assert inside + late == 1
        assert not late or after >= cell.end
        assert not inside or now < cell.end
        taken.long.clear()
        taken.latest = {"o": {"s": OpenStats(after + 0.05, after + 60.0)}}
        taken.observe(1.0, 2.0, "s", output="o")
        assert time.time() > after + 0.05 or len(taken.long) == 1
        taken.long.clear()


class Observing(Observer):
    """What the short way left to the long one."""

    def __init__(self) -> None:
        self.latest, self.ticking = {"": {}}, True
        self.long: list[tuple[object, ...]] = []

    def _observe(self, *sample: object) -> None:
        self.long.append(sample)


def test_the_wall_clock_is_read_only_while_it_is_the_monitor_s(tmp_path: Path) -> None:
    monitor = Monitor(socket=tmp_path / "nobody.sock", model="m")
    wall = monitor._device_clock.wall_offset()
    for offset in (None, wall, wall + 86_400.0, wall):
        if offset is not None:
            with monitor._lock:
                monitor._follow_clock({"offset_seconds": offset})
        assert monitor.ticking is (offset == wall)
        monitor.observe(1.0, 2.0)
        monitor.observe(1.0, 2.0)
    found: Counter[int] = Counter()
    for cell in cells_of(monitor):
        assert (cell.start, cell.end) == (cell.window.start, cell.window.end)
        found[round((cell.window.start - time.time()) / 86_400.0)] += cell.stats.count
    assert found == {0: 6, 1: 2}
    with contextlib.suppress(UnacknowledgedError):
        monitor.close(0.01)


def test_who_has_the_lock_keeps_the_short_way_shut() -> None:
    taken = Observing()
    cell = taken.latest[""][""] = OpenStats(START, START + 60)
    with taken.guard:
        assert not taken.guard.acquire(blocking=False)
        taken.observe(1.0, 2.0, ts=START)
    assert (len(taken.long), cell.stats.count) == (1, 0)
    taken.observe(1.0, 2.0, ts=START)
    taken.closed = True
    taken.observe(1.0, 2.0, ts=START)
    assert (len(taken.long), cell.stats.count) == (2, 1)


def test_a_guard_lets_one_in_at_a_time() -> None:
    guard, seen = Guard(), []
    assert Guard().acquire()  # and one that is held may be let go

    def count() -> None:
        for _ in range(2_000):
            with guard:
                seen.append(len(seen))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == list(range(8_000))


@pytest.mark.parametrize("weight", [-1.0, -1e-300])
def test_a_negative_weight_is_refused_and_lets_the_lock_go(lonely: Monitor, weight: float) -> None:
    lonely.observe(1.0, 2.0, ts=START)
    for _ in range(2):
        with pytest.raises(ValueError, match="weights are not negative"):
            lonely.observe(1.0, 2.0, weight=weight, ts=START)
    lonely.observe(1.0, 2.0, weight=2.0, ts=START)
    (cell,) = cells_of(lonely)
    assert (cell.stats.count, cell.stats.weight) == (2, 3.0)


def test_a_text_of_a_class_of_its_own_is_that_text(lonely: Monitor) -> None:
    for _ in range(3):
        lonely.observe(1.0, 2.0, Kind.NORTH, ts=START)
        lonely.observe(1.0, 2.0, "north", ts=START)
    assert counted(lonely) == {("", "north", ""): 6}
    assert [type(key) for keys in lonely.latest.values() for key in keys] == [str]


def test_what_comes_beside_a_sample_has_measures_of_its_own(lonely: Monitor) -> None:
    lonely.observe(3.0, 2.0, "s", ts=START, latency=0.25, features={"t": 21, "load": 0.5})
    lonely.observe(3.0, 2.0, "s", ts=START, lower=1.0, upper=3.0, loss="brier")
    lonely.observe(3.5, 2.0, "s", ts=START, lower=1.0, upper=3.0)
    lonely.observe(math.nan, 2.0, "s", ts=START, lower=1.0, upper=3.0)
    found = {cell.series.measure: cell.stats for cell in cells_of(lonely)}
    assert {name: stats.count for name, stats in found.items()} == {
        "": 3,
        "latency": 1,
        "feature:t": 1,
        "feature:load": 1,
        "interval:covered": 2,
        "interval:width": 2,
        "loss:brier": 0,
    }
    assert found["feature:t"].bias == 21.0
    assert (found["interval:covered"].bias, found["interval:width"].bias) == (0.5, 2.0)
    assert found["interval:covered"].nonfinite == found["interval:width"].nonfinite == 1
    assert found["loss:brier"].out_of_range == 1  # 3.0 is no probability


def test_a_prediction_carries_them_in_its_line(lonely: Monitor) -> None:
    lonely.predict(7, 2.0, "s", ts=START, latency=0.25, features={"t": 21}, lower=1.0, upper=3.0)
    lonely._session.hello()
    lonely._session.heard({"ledger": "l", "received": 0})
    (line,) = lonely._session.due()
    said = parse(line).line
    assert isinstance(said, PredictionLine)
    assert said.interval == (1.0, 3.0)
    assert said.beside == (("latency", 0.25), ("feature:t", 21.0))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_while_the_lock_is_held_observes(lonely: Monitor) -> None:
    for _ in range(3):
        lonely.observe(1.0, 2.0, "s")
    with lonely._lock:
        child = os.fork()
        if child == 0:
            lonely.observe(1.0, 2.0, "s")
            lonely.observe(1.0, 2.0, "s")
            os._exit(sum(counted(lonely).values()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert counted(lonely) == {("", "s", ""): 3}
    assert cells_of(lonely)[0].series == Series("m", segment="s")


def test_while_no_agent_has_spoken_samples_take_the_short_way_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = Monitor(socket=tmp_path / "nobody.sock", model="m")
    took: list[object] = []
    long_way = monitor._observe

    def noted(*arguments: object) -> None:
        took.append(arguments)
        long_way(*arguments)

    monkeypatch.setattr(monitor, "_observe", noted)
    for _ in range(1_000):
        monitor.observe(1.0, 2.0)
    assert not monitor.ticking
    assert len(took) < 500  # the first, and those for which the Monitor's thread had the lock
    assert sum(counted(monitor).values()) == 1_000
    assert all(cell.window.unplaced for cell in cells_of(monitor))
    with pytest.raises(UnacknowledgedError):
        monitor.close(0.01)
