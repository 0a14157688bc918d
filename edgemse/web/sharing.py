"""One computation for all who want the same: fifty viewers of a page cost one query.

Whoever asks says how old an answer may be, by HTTP's own word: `Cache-Control: max-age=10`. A page
does; a command, which does not, gets an answer that begins after it has asked.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Generic, TypeVar

from edgemse.errors import StoreError
from edgemse.web.stopping import Stop

__all__ = ["Sharing", "age_allowed"]

AGE_SECONDS_MAX = 300.0
"""Nothing older is given to anybody, whatever he allows, and nothing is kept for longer."""
KEPT_MAX = 16
"""Answers that are kept: of 10,000 devices one takes some 10 MB."""
AT_ONCE = 4
"""Questions that are worked on at the same time: a store's engine uses several cores for each."""
WAITING_MAX = 64
"""Questions that wait for that; a further one is refused."""
WAIT_SECONDS = 120.0
"""So long is waited for an answer, the waiting for others included."""

T = TypeVar("T")
BUSY = (
    "{} questions are being worked on or wait; ask again in a while, or about less (since, where)"
)
LATE = "no answer within {:.0f} s; ask about less: a later since, a model, fewer groups"


class _Flight(Generic[T]):
    """One run of what somebody has asked."""

    def __init__(self, began: float) -> None:
        self.began = began
        """By the clock that was given."""
        self.stop = Stop()
        self.waiting = 0
        """How many wait for it just now."""
        self.result: Future[T]


async def _never() -> None:
    await asyncio.Event().wait()


class Sharing(Generic[T]):
    """Runs what is asked in threads of its own; who asks for the same key shares one run.

    Thread safety: any thread, any event loop.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="question")
        self._lock = Lock()
        self._flights: dict[Hashable, _Flight[T]] = {}
        self._running: set[Future[T]] = set()

    async def get(
        self,
        key: Hashable,
        work: Callable[[Stop], T],
        *,
        age_seconds: float = 0.0,
        gone: Callable[[], Coroutine[Any, Any, None]] = _never,
    ) -> T:
        """Return what `work` returns, or what it did for the same key at most so long ago.

        `gone` returns once whoever asks has left. A run that nobody waits for any more is stopped.
        Raises whatever it raises, and StoreError if too many wait or it takes too long.
        """
        flight = self._board(key, work, min(age_seconds, AGE_SECONDS_MAX))
        answered = asyncio.wrap_future(flight.result)
        left = asyncio.ensure_future(gone())
        try:
            await asyncio.wait(
                (answered, left), timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            left.cancel()
            self._leave(key, flight)
        if not answered.done():
            raise StoreError(LATE.format(WAIT_SECONDS))
        return answered.result()

    def _board(self, key: Hashable, work: Callable[[Stop], T], age_seconds: float) -> _Flight[T]:
        with self._lock:
            now = self._clock()
            self._forget(now)
            flight = self._flights.get(key)
            if flight is None or now - flight.began >= age_seconds or not _good(flight.result):
                if len(self._running) >= AT_ONCE + WAITING_MAX:
                    raise StoreError(BUSY.format(len(self._running)))
                flight = _Flight(now)
                flight.result = self._threads.submit(work, flight.stop)
                self._running.add(flight.result)
                self._flights[key] = flight
            flight.waiting += 1
        flight.result.add_done_callback(self._done)  # at once where it is done already
        return flight

    def _leave(self, key: Hashable, flight: _Flight[T]) -> None:
        """One waits no more; after the last of them the run is stopped if it still goes."""
        with self._lock:
            flight.waiting -= 1
            if flight.waiting or flight.result.done():
                return
            if self._flights.get(key) is flight:
                del self._flights[key]
        flight.result.cancel()  # if it has not begun
        # In a thread: telling a server to stop takes a connection of its own.
        asyncio.get_running_loop().run_in_executor(None, flight.stop.stop)

    def _done(self, result: Future[T]) -> None:
        with self._lock:
            self._running.discard(result)

    def _forget(self, now: float) -> None:
        """Forget what is too old, and the oldest of too many."""
        old = [key for key, each in self._flights.items() if now - each.began >= AGE_SECONDS_MAX]
        for key in old:
            del self._flights[key]
        while len(self._flights) >= KEPT_MAX:
            del self._flights[min(self._flights, key=lambda key: self._flights[key].began)]


def _good(result: Future[T]) -> bool:
    """Whether it is not known to have failed: who asks again after a failure wants another try."""
    return not result.cancelled() and not (result.done() and result.exception() is not None)


def age_allowed(cache_control: str) -> float:
    """Return how many seconds old an answer may be; 0 unless the header says so.

    >>> age_allowed("max-age=10"), age_allowed("no-cache, max-age=10"), age_allowed("")
    (10.0, 0.0, 0.0)
    """
    words = [word.strip().lower() for word in cache_control.split(",")]
    if "no-cache" in words or "no-store" in words:
        return 0.0
    ages = [found for word in words if (found := re.fullmatch(r"max-age=(\d{1,9})", word))]
    return float(ages[0][1]) if ages else 0.0
