"""The lines that a Monitor writes for the agent's pairing: numbered, and resent until durable."""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Mapping
from typing import Any

__all__ = ["OwnLines"]


class OwnLines:
    """One session of predictions and labels. Not thread safe: Monitor holds a lock."""

    def __init__(self, *, lines_max: int) -> None:
        self.dropped = 0
        """Lines refused because lines_max were waiting."""
        self.given_up = 0
        """Lines that were sent to a ledger which is no more, before it confirmed them."""
        self._lines_max = lines_max
        self._lines: deque[bytes] = deque()
        self._new_session()

    def _new_session(self) -> None:
        self._session = secrets.token_hex(16)
        self._ledger: str | None = None
        self._confirmed = 0
        """The number of the first line in the queue."""
        self._sent = 0
        """The number of the first line that was never sent."""
        self._at: int | None = None
        """The number of the next line to send on this connection; None until the agent said."""

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: Mapping[str, object]) -> None:
        """Queue a line, or count it as dropped if too many wait."""
        if len(self._lines) >= self._lines_max:
            self.dropped += 1
            return
        self._lines.append(json.dumps(line).encode())

    def hello(self) -> dict[str, Any]:
        """Return the first line of a connection."""
        self._at = None
        return {"session": self._session, "from": self._confirmed}

    def resume(self, ledger: str, received: int) -> dict[str, Any] | None:
        """Take the agent's answer; a hello for a new session means that the ledger changed.

        What a lost ledger had been sent and had not confirmed may be counted already, so it is
        given up rather than counted twice.
        """
        changed = self._ledger is not None and ledger != self._ledger
        if self._sent > self._confirmed and (changed or received < self._confirmed):
            for _ in range(self._sent - self._confirmed):
                self._lines.popleft()
                self.given_up += 1
        if changed or received < self._confirmed:
            self._new_session()
            self._ledger = ledger
            return self.hello()
        self._ledger = ledger
        self._at = self._confirmed
        return None

    def durable(self, count: int) -> None:
        """Take how many lines of the session the ledger holds."""
        for _ in range(min(count - self._confirmed, len(self._lines))):
            self._lines.popleft()
            self._confirmed += 1
        self._at = None if self._at is None else max(self._at, self._confirmed)

    def due(self) -> list[bytes]:
        """Return the lines to send now, and take them as sent."""
        if self._at is None:
            return []
        start = self._at - self._confirmed
        lines = [line for index, line in enumerate(self._lines) if index >= start]
        self._at += len(lines)
        self._sent = max(self._sent, self._at)
        return lines
