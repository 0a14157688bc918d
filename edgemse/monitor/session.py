"""A client's conversation with the agent about lines that must not be lost, without I/O.

Each line has a number, which travels with it (`"n"`), and stays until the agent says that it is
durable. `hello` begins a connection, `heard` takes what the agent says, `due` returns the lines to
write now. Whoever drives it owns the socket and a lock.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

__all__ = ["FLUSH", "SessionConversation"]

FLUSH = b'{"request": "flush"}\n'
"""Asks the agent not to wait until what it has is old enough."""


class SessionConversation:
    """One session of lines; past `lines_max` that wait, further ones are dropped and counted."""

    def __init__(self, *, lines_max: int) -> None:
        self.dropped = 0
        """Lines refused because lines_max were waiting."""
        self.given_up = 0
        """Lines that were sent to a ledger which is no more, before it confirmed them."""
        self._lines_max = lines_max
        self._lines: deque[dict[str, Any]] = deque()
        self._ledger: str | None = None
        self._begin()

    def _begin(self) -> None:
        """Start a new session; the lines that wait are numbered from 0."""
        self._session = secrets.token_hex(16)
        self._first = 0
        """The number of the first line that waits."""
        self._sent = 0
        """The number of the first line that was never sent."""
        self._next: int | None = None
        """The number of the next line to send on this connection; None until the agent said."""
        self._greet = False
        self._flush = False

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: Mapping[str, Any]) -> None:
        """Queue a line, or count it as dropped if too many wait."""
        if len(self._lines) >= self._lines_max:
            self.dropped += 1
        else:
            self._lines.append(dict(line))

    def hello(self) -> bytes:
        """Return the first line of a connection, or of a new session on it."""
        self._next, self._greet = None, False
        return _line({"session": self._session, "from": self._first})

    def flush(self) -> None:
        """Ask the agent not to wait with what it has of this session."""
        self._flush = True

    def heard(self, reply: Mapping[str, Any]) -> None:
        """Take what the agent says.

        After a hello: which ledger it has and how many lines it `received`. Another ledger may have
        taken what this one was sent and never confirmed, so that is given up rather than counted
        twice. Later: how many lines are `durable`; or `expected`, when what came was out of order.
        """
        if "received" in reply:
            self._take_received(str(reply["ledger"]), int(reply["received"]))
        if "durable" in reply:
            self._take_durable(int(reply["durable"]))
        if "expected" in reply:
            self._next, self._greet = None, True

    def due(self) -> list[bytes]:
        """Return the lines to write now, and take them as sent."""
        if self._greet:
            return [self.hello()]
        if self._next is None:
            return []
        number = self._next
        waiting = islice(self._lines, number - self._first, None)
        lines = [_line(line | {"n": n}) for n, line in enumerate(waiting, number)]
        self._next += len(lines)
        self._sent = max(self._sent, self._next)
        if self._flush:
            self._flush = False
            lines.append(FLUSH)
        return lines

    def _take_received(self, ledger: str, received: int) -> None:
        changed = self._ledger is not None and ledger != self._ledger
        self._ledger = ledger
        if changed or received < self._first:
            for _ in range(self._sent - self._first):
                self._lines.popleft()
                self.given_up += 1
            self._begin()
            self._greet = True
        else:
            # Never beyond what was sent: a number is a line's for good.
            self._next = min(received, self._sent)

    def _take_durable(self, count: int) -> None:
        for _ in range(min(count, self._sent) - self._first):
            self._lines.popleft()
            self._first += 1
        if self._next is not None:
            self._next = max(self._next, self._first)


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"
