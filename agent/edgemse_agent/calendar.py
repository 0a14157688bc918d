"""The calendar of a device that may not know the time: it counts from its boot until it does.

The agent's time is the boot's clock, suspended time included, plus one number, the offset. Until
the clock is synchronised that leads to times behind UNPLACED_SECONDS, which are on no calendar:
windows there are measured, kept and made durable as any other, and never exposed. Then they are
placed, in one transaction. A boot that ended before anybody knew the time leaves a span of such
times; spans are placed between the last time that the ledger knew and the boot that knows it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edgemse.cells import START_SECONDS_MAX, UNPLACED_SECONDS
from edgemse_agent.clock import Clock

__all__ = [
    "SPANS_MAX",
    "STEP_SECONDS",
    "Calendar",
    "Span",
    "Timeline",
    "begun",
    "follow_spans",
    "placed_spans",
]

STEP_SECONDS = 1.0
"""A wall clock that is off by more than that from one tick to the next was set, not steered."""
DAY_SECONDS = 86_400
SPANS_MAX = 1_000
"""Boots in a row that did not know the time; further ones are taken as one with the last."""


class Timeline(NamedTuple):
    """What a ledger remembers of time: its last boot, and the offset that leads from its clock.

    `until` is the agent's time at the last commit, `known` the last one on the calendar (0: none).
    """

    boot: str = ""
    offset: float = 0.0
    until: float = 0.0
    known: float = 0.0

    @property
    def unplaced(self) -> bool:
        """Whether that boot did not know the time."""
        return self.until >= UNPLACED_SECONDS


class Span(NamedTuple):
    """The times from `start` (a boot's second 0) to `until` that were on no calendar.

    `moved` is what leads from there to the calendar; None while nobody knows.
    """

    start: float
    until: float
    moved: float | None = None


def begun(timeline: Timeline, spans: Sequence[Span], clock: Clock) -> tuple[Timeline, Span | None]:
    """Return the timeline of this boot, and the span that an earlier one has left, if it did."""
    if timeline.boot == clock.boot_id:
        return timeline, None
    left = Span(timeline.offset, timeline.until) if timeline.unplaced else None
    waiting = [span for span in spans if span.moved is None]
    if left is not None and len(waiting) >= SPANS_MAX:
        left = max(waiting)._replace(until=left.until)  # the last two are one from now on
    ends = [span.until for span in (*spans, left or Span(0.0, 0.0))]
    behind = max([UNPLACED_SECONDS, *ends])
    start = float(-(-behind // DAY_SECONDS) * DAY_SECONDS)  # a wide window is of one boot only
    return Timeline(clock.boot_id, start, start, timeline.known), left


def placed_spans(
    spans: Sequence[Span], timeline: Timeline, offset: float, until: float
) -> list[Span]:
    """Return all spans with their place, this boot's last, once its clock's offset is known.

    Earlier boots follow each other between the time known last and this boot; what is left over is
    shared out evenly, before each. Where no time was known they end when this boot begins.
    """
    waiting = sorted(span for span in spans if span.moved is None)
    lasted = sum(span.until - span.start for span in waiting)
    free = offset - timeline.known - lasted
    gap = free / (len(waiting) + 1) if timeline.known > 0 and free > 0 else 0.0
    at = timeline.known if gap else offset - lasted
    placed = [span for span in spans if span.moved is not None]
    for span in waiting:
        at += gap
        placed.append(span._replace(moved=at - span.start))
        at += span.until - span.start
    if timeline.unplaced:
        placed.append(Span(timeline.offset, until, offset - timeline.offset))
    return sorted(placed)


def follow_spans(spans: Sequence[Span]) -> Callable[[float], float]:
    """Return what takes a time to its place on the calendar; one whose span has none stays."""

    def place(seconds: float) -> float:
        if seconds < UNPLACED_SECONDS:
            return seconds
        before = [span for span in spans if span.start <= seconds] or spans[:1]
        moved = before[-1].moved if before else None
        if moved is None:
            return seconds
        return min(max(seconds + moved, 0.0), START_SECONDS_MAX - 1.0)

    return place


class Calendar:
    """The agent's time. `offset` is what leads to it from the boot's clock, in seconds."""

    def __init__(self, clock: Clock, timeline: Timeline, spans: Sequence[Span]) -> None:
        self._clock = clock
        self.timeline, left = begun(timeline, spans, clock)
        self.left = [] if left is None else [left]
        """What a ledger has to remember of the boot before this one."""
        kept = [span for span in spans if left is None or span.start != left.start]
        self.spans = sorted([*kept, *self.left])
        self.offset = self.timeline.offset
        self.bounded = False
        """Whether the wall clock is outside what windows can be in, and its edge is taken."""

    @property
    def placed(self) -> bool:
        """Whether the time is known."""
        return self.offset < START_SECONDS_MAX

    @property
    def waits(self) -> bool:
        """Whether earlier boots have left times that have no place yet."""
        return any(span.moved is None for span in self.spans)

    def now(self) -> float:
        """Return the time; behind UNPLACED_SECONDS while nobody knows it."""
        return self.of_boot(self._clock.boot())

    def possible_now(self) -> float:
        """Return the time, or the nearest one that a window can have."""
        now = self.now()
        return min(max(now, 0.0), START_SECONDS_MAX - 1.0) if self.placed else now

    def of_line(self, said: float) -> float:
        """Return a line's time; one behind UNPLACED_SECONDS counts from this boot."""
        return said if said < UNPLACED_SECONDS else self.of_boot(said - UNPLACED_SECONDS)

    def to_line(self, time: float) -> float:
        """Return a time of this boot as a line says it, which `of_line` takes back."""
        return time if time < UNPLACED_SECONDS else time - self.offset + UNPLACED_SECONDS

    def of_boot(self, seconds: float) -> float:
        """Return the time of that second of this boot."""
        return seconds + self.offset

    def look(self) -> float | None:
        """Return the offset that the wall clock says, if that may be trusted."""
        if not self._clock.trusted(self.timeline.known):
            return None
        wall = self._clock.wall()
        bounded = min(max(wall, 0.0), START_SECONDS_MAX - 1.0)
        self.bounded = wall != bounded
        return bounded - self._clock.boot()

    def follow(self, offset: float) -> bool:
        """Go on by this offset; True if the clock was set since the last time."""
        stepped = abs(offset - self.offset) > STEP_SECONDS
        self.offset = offset
        return stepped

    def current(self) -> Timeline:
        """Return what a ledger has to remember now."""
        return self.at(self.offset)

    def at(self, offset: float) -> Timeline:
        """Return the same, as it is by another offset."""
        now = self._clock.boot() + offset
        known = self.timeline.known if now >= UNPLACED_SECONDS else now
        return self.timeline._replace(offset=offset, until=now, known=known)

    def settle(self, offset: float, spans: Sequence[Span]) -> None:
        """Take it that the ledger has placed these spans: the time is known."""
        self.timeline, self.offset, self.spans = self.at(offset), offset, list(spans)

    def placements(self, offset: float) -> list[Span]:
        """Return every span with its place, if this boot's offset is that."""
        return placed_spans(self.spans, self.timeline, offset, self.now())

    def place(self, seconds: float) -> float:
        """Return a time's place on the calendar; one whose span has none stays.

        Who counted from this boot without the agent's word did so from UNPLACED_SECONDS.
        """
        own = Span(UNPLACED_SECONDS, UNPLACED_SECONDS, self.offset - UNPLACED_SECONDS)
        return follow_spans(self.spans or ([own] if self.placed else []))(seconds)
