"""The bounded queue between the MQTT connection and the thread that commits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from threading import Condition
from typing import NamedTuple

from edgemse.counters import Counters

__all__ = ["Inbox", "Kind", "Message"]

MESSAGES_MAX = 20_000
BYTES_MAX = 128 * 2**20


class Kind(Enum):
    """What a message is, by its topic."""

    REPORT = "report"
    PRESENCE = "presence"
    REPLAYED = "replayed"
    """A report out of the quarantine, once more."""


class Message(NamedTuple):
    """One message as it came from the broker; `level` is the device as the topic spells it."""

    kind: Kind
    level: str
    payload: bytes
    quarantine_id: int = 0
    """Of its row, if it is REPLAYED."""


class Inbox:
    """Messages that wait to be committed, at most so many and so many bytes.

    What does not fit is dropped and counted: the device sends it again, because nothing
    acknowledged it. `now` returns monotonic seconds. Thread safety: every method may be called
    from any thread.
    """

    def __init__(
        self,
        counters: Counters,
        *,
        messages_max: int = MESSAGES_MAX,
        bytes_max: int = BYTES_MAX,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._messages_max, self._bytes_max = messages_max, bytes_max
        self._now = now
        self._messages: deque[tuple[float, Message]] = deque()
        """Each with when it came."""
        self._working_on: float | None = None
        """When the oldest message came of those that were taken out last."""
        self._bytes = 0
        self._closed = False
        self._changed = Condition()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> None:
        """Queue a message, or drop and count it if the inbox is full or closed."""
        with self._changed:
            self._counters.count("messages")
            full = (
                len(self._messages) >= self._messages_max
                or self._bytes + len(message.payload) > self._bytes_max
            )
            if full or self._closed:
                self._counters.count("messages_dropped")
                return
            self._messages.append((self._now(), message))
            self._bytes += len(message.payload)
            self._changed.notify()

    def take(self, most: int, linger_seconds: float) -> list[Message]:
        """Wait for messages and return them; an empty list says closed and nothing left.

        From the first message on, waits until there are `most` or `linger_seconds` have passed.
        Whoever takes messages is through with those that he took before.
        """
        with self._changed:
            self._working_on = None
            self._changed.wait_for(lambda: self._messages or self._closed)
            end = self._now() + linger_seconds
            while len(self._messages) < most and not self._closed:
                left = end - self._now()
                if left <= 0 or not self._changed.wait(left):
                    break
            if self._messages:
                self._working_on = self._messages[0][0]
            taken = [self._messages.popleft()[1] for _ in range(min(most, len(self._messages)))]
            self._bytes -= sum(len(message.payload) for message in taken)
            return taken

    def age_seconds(self) -> float:
        """Return the age of the oldest message that nobody is through with; 0 if there is none."""
        with self._changed:
            oldest = self._working_on
            if oldest is None and self._messages:
                oldest = self._messages[0][0]
            return 0.0 if oldest is None else max(0.0, self._now() - oldest)

    def close(self, *, drop: bool = False) -> None:
        """Take nothing more in; what is queued can still be taken out, unless it is to `drop`."""
        with self._changed:
            self._closed = True
            if drop:
                self._counters.count("messages_dropped", len(self._messages))
                self._messages.clear()
                self._bytes = 0
            self._changed.notify_all()
