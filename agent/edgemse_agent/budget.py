"""The bytes that a device may send and receive in a day, where its link is paid for by the byte."""

from __future__ import annotations

__all__ = ["MESSAGE_BYTES", "Budget"]

DAY_SECONDS = 86_400.0
BURST_SHARE = 1 / 12
"""Of a day's bytes, at most so many at once: two hours' share, after a silence."""
PRESSED_SHARE, EASED_SHARE = 0.25, 0.5
"""Of a burst: with less left than the first it is pressing, until there is more than the second."""
HEALTH_SHARE = 0.1
"""Of the bytes, at most so many are for counters."""
MESSAGE_BYTES = 160
"""What a message costs beside its payload: topic and header of MQTT, TLS's record, TCP and IP with
the segment that acknowledges it, and MQTT's own PUBACK; each about 40 (RFC 9293, RFC 8446)."""
UNLIMITED_BYTES = 1e12
CELL_BYTES = 250
"""Of a cell in a report, typically (docs/wire.md)."""


class Budget:
    """At most `bytes_per_day_max` in any day; 0: as many as it takes.

    What was not used may come later, up to two hours' share. It is `pressing` while little is left:
    then windows are wider and growing cells wait until they are final.
    """

    def __init__(self, bytes_per_day_max: int) -> None:
        self._at, self._left = float("-inf"), 0.0
        self.limited = self.pressing = False
        self._day_bytes = self._burst = 0.0
        self.change(bytes_per_day_max)

    def change(self, bytes_per_day_max: int) -> None:
        """Go on with another bound; one that is new begins with an hour's share."""
        if bytes_per_day_max == self._day_bytes:
            return
        self.limited, self._day_bytes = bytes_per_day_max > 0, float(bytes_per_day_max)
        self._burst = self._day_bytes * BURST_SHARE
        self._left = self._burst / 2
        self.pressing = False

    def spend(self, payload_bytes: int) -> None:
        """Count a message, up or down."""
        self._left -= payload_bytes + MESSAGE_BYTES
        self.pressing |= self.limited and self._left < PRESSED_SHARE * self._burst

    def room(self, now: float) -> float:
        """Return how many bytes of payload the next message may have; not above 0: none."""
        if not self.limited:
            return UNLIMITED_BYTES
        passed = 0.0 if self._at == float("-inf") else now - self._at
        rate = (self._day_bytes - self._burst) / DAY_SECONDS  # a burst and a day's share are a day
        self._left, self._at = min(self._burst, self._left + passed * rate), now
        self.pressing &= self._left < EASED_SHARE * self._burst
        return self._left - MESSAGE_BYTES

    def health_seconds(self, least: float, payload_bytes: int) -> float:
        """Return how often counters may go out that take so many bytes; at most every `least`."""
        if not self.limited:
            return least
        each = payload_bytes + MESSAGE_BYTES
        return max(least, DAY_SECONDS * each / (HEALTH_SHARE * self._day_bytes))

    def cells_wanted(self, cells_max: int) -> int:
        """Return how many cells may wait until windows are merged: while pressing, a burst's."""
        return (
            min(cells_max, max(100, int(self._burst / CELL_BYTES))) if self.pressing else cells_max
        )
