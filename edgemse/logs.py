"""Log lines that a hostile or unlucky peer can cause at will are rationed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

__all__ = ["Ration"]

LINES = 5
SECONDS = 600.0
"""So many lines of one kind in so much time: a fault of a night fills a page, not a disk."""
KINDS_MAX = 256
"""Kinds that are told apart; past that all are counted anew."""


class Ration(logging.Filter):
    """Lets so many lines of one kind through in so much time, and says how many it held back.

    A kind is a level and a message before its arguments are filled in. The last line that passes
    says that more are held back; the first one of the next period says how many were. Give one to
    `Logger.addFilter`.

    Args:
        lines: Lines of one kind that pass in each period.
        seconds: The length of a period.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        lines: int = LINES,
        seconds: float = SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._lines, self._seconds, self._now = lines, seconds, now
        self._seen: dict[tuple[int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line passes."""
        kind = (record.levelno, str(record.msg))
        now = self._now()
        since, count = self._seen.get(kind, (now, 0))
        note = ""
        if now - since >= self._seconds:
            held = count - self._lines
            note = f" ({held:,} more like this were held back)" if held > 0 else ""
            since, count = now, 0
        if len(self._seen) >= KINDS_MAX and kind not in self._seen:
            self._seen.clear()
        count += 1
        self._seen[kind] = (since, count)
        if count > self._lines:
            return False
        if count == self._lines:
            note += f" (more like this are held back for {self._seconds:.0f} s)"
        if note:
            record.msg, record.args = record.getMessage() + note, None
        return True
