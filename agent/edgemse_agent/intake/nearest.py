"""Joining predictions with labels by time, where no id tells which belong together.

Pairing holds the predictions, under ids that are made here, so that they are counted, bounded and
durable as any other; this decides which label each of them meets.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

from edgemse_agent.agent import Agent
from edgemse_agent.clock import Clock
from edgemse_agent.lines import LabelLine, PredictionLine

__all__ = ["NearestJoin"]

MARK = "\x1f"
"""No id of a line can hold it, so that these ids are nobody else's."""
JOINS_MAX = 1_000
"""Names of joins that are told apart; past that the one that was used longest ago is let go."""
LABELS_MAX = 1_000
"""Labels that are held of one join."""
HELD_MAX = 20_000
"""Labels that are held in all; past that those of the join that was used longest ago go first."""
JOIN_WAITING_MAX = 2_000
"""Predictions that wait of one join. Each of its labels is held against all of them, 2 ms on the
machine that builds this. Past that the one that came first is decided at once."""
WAITING_MAX = 20_000
"""Predictions that wait; past that the one that is due first is decided at once."""
ANY = (None, None, None, None)


class _Held(NamedTuple):
    time: float
    number: int
    y_true: float


class _Due(NamedTuple):
    at: float
    """Monotonic seconds at which it is decided with what has come."""
    key: str
    join: str
    time: float
    within_seconds: float


class _Meeting:
    """What is known of one join."""

    def __init__(self) -> None:
        self.labels: list[_Held] = []
        self.used: set[int] = set()
        self.waiting: dict[str, _Due] = {}
        self.heard_at = 0.0
        """Monotonic seconds of the last label or prediction."""


class NearestJoin:
    """Gives each prediction the label nearest to it in time, at most `within_seconds` off.

    A prediction is decided as soon as a label of its own time or a later one is there, else
    `within_seconds` after its time. A label may serve several predictions (a sensor that reports
    each 5 minutes, a model that predicts each minute); one that served none is counted by
    `count_unpaired`. Labels are held in memory only, for twice `keep_seconds`, and in number.
    """

    def __init__(
        self,
        agent: Agent,
        clock: Clock,
        keep_seconds: float,
        count_unpaired: Callable[[int], None],
    ) -> None:
        self._agent, self._clock = agent, clock
        self._keep_seconds, self._count_unpaired = 2 * keep_seconds, count_unpaired
        self._meetings: dict[str, _Meeting] = {}
        """Those used longest ago come first."""
        self._held = 0
        self._waiting: dict[str, _Due] = {}
        self._due: list[_Due] = []
        """A heap of those and of some that have been decided since."""
        self._numbers = 0
        agent.placing.tell(self)
        for key, time in agent.pairing.waiting(MARK):
            _, join, within, _ = key.split(MARK)
            self._wait(_Due(clock.monotonic() + float(within), key, join, time, float(within)))

    def __len__(self) -> int:
        """How many predictions are not decided."""
        return len(self._waiting)

    def predict(self, join: str, line: PredictionLine, within_seconds: float) -> None:
        """Take a prediction; it is decided now or later."""
        self._numbers += 1
        key = MARK.join(["", join, repr(within_seconds), f"{self._agent.run}-{self._numbers}"])
        self._agent.take(line._replace(id=key))
        now = self._agent.calendar.possible_now()
        time = now if line.time is None else line.time
        # A time of day says nothing of how long to wait where nobody knows what time it is.
        ahead = max(0.0, time - now) if self._agent.calendar.placed else 0.0
        at = self._clock.monotonic() + ahead + within_seconds
        due = _Due(at, key, join, time, within_seconds)
        self._wait(due)
        self._decide(due)
        waiting = self._meetings[join].waiting
        if len(waiting) > JOIN_WAITING_MAX:
            self._decide(next(iter(waiting.values())), at_last=True)
        while len(self._waiting) > WAITING_MAX:
            self._decide(heapq.heappop(self._due), at_last=True)
        if len(self._due) > 2 * WAITING_MAX:
            self._due = list(self._waiting.values())
            heapq.heapify(self._due)

    def label(self, join: str, line: LabelLine) -> None:
        """Take a label; the predictions that waited for one of its time or later are decided.

        One that is NaN or infinite is counted and decides nothing: the next may be a number.
        """
        if not isfinite(line.y_true):
            self._agent.counters.count("labels_nonfinite")
            return
        self._numbers += 1
        time = self._agent.calendar.possible_now() if line.time is None else line.time
        meeting = self._meeting(join)
        insort(meeting.labels, _Held(time, self._numbers, line.y_true))
        self._held += 1
        for due in list(meeting.waiting.values()):
            self._decide(due)
        newest = meeting.labels[-1].time
        while len(meeting.labels) > LABELS_MAX or (
            meeting.labels[0].time < newest - self._keep_seconds
        ):
            self._let_go_label(meeting, meeting.labels.pop(0))
        while self._held > HELD_MAX:
            idle = next(each for each in self._meetings.values() if each.labels)
            self._let_go_label(idle, idle.labels.pop(0))

    def tick(self) -> None:
        """Decide what has waited long enough, and let go what nothing will meet any more."""
        now = self._clock.monotonic()
        while self._due and self._due[0].at <= now:
            self._decide(heapq.heappop(self._due), at_last=True)
        silent = []
        for join, meeting in self._meetings.items():
            if now - meeting.heard_at < self._keep_seconds:
                break  # those behind were used later
            if not meeting.waiting:
                silent.append(join)
        for join in silent:
            self._forget(self._meetings.pop(join))

    def place(self, place: Callable[[float], float]) -> None:
        """Put the times that are not on the calendar yet there, by what leads to it."""
        for meeting in self._meetings.values():
            meeting.labels = sorted(each._replace(time=place(each.time)) for each in meeting.labels)
            for due in [*meeting.waiting.values()]:
                placed = due._replace(time=place(due.time))
                meeting.waiting[due.key] = self._waiting[due.key] = placed
        self._due = [self._waiting[due.key] for due in self._due if due.key in self._waiting]
        heapq.heapify(self._due)

    def _meeting(self, join: str) -> _Meeting:
        meeting = self._meetings.pop(join, None) or _Meeting()
        self._meetings[join] = meeting  # now the one used last
        meeting.heard_at = self._clock.monotonic()
        if len(self._meetings) > JOINS_MAX:
            oldest = self._meetings.pop(next(iter(self._meetings)))
            for key in oldest.waiting:
                del self._waiting[key]
                self._agent.pairing.give_up(key)
            self._forget(oldest)
        return meeting

    def _forget(self, meeting: _Meeting) -> None:
        for label in meeting.labels:
            self._let_go_label(meeting, label)

    def _wait(self, due: _Due) -> None:
        self._meeting(due.join).waiting[due.key] = self._waiting[due.key] = due
        heapq.heappush(self._due, due)

    def _decide(self, due: _Due, *, at_last: bool = False) -> None:
        """Give the prediction its label if that is known; at last, or give it up."""
        meeting = self._meetings.get(due.join)
        if meeting is None or due.key not in meeting.waiting:
            return  # decided before
        later = bisect_left(meeting.labels, due.time, key=lambda label: label.time)
        near = meeting.labels[max(0, later - 1) : later + 1]
        nearest = min(near, key=lambda label: abs(label.time - due.time), default=None)
        if nearest is not None and abs(nearest.time - due.time) <= due.within_seconds:
            if not at_last and later == len(meeting.labels):
                return  # one that comes may be nearer
            del meeting.waiting[due.key], self._waiting[due.key]
            if self._agent.pairing.waits(due.key):  # it may have been let go for room
                meeting.used.add(nearest.number)
                when = self._agent.calendar.to_line(nearest.time)
                self._agent.take(LabelLine(due.key, ANY, nearest.y_true, when))
        elif at_last:
            del meeting.waiting[due.key], self._waiting[due.key]
            self._agent.pairing.give_up(due.key)

    def _let_go_label(self, meeting: _Meeting, label: _Held) -> None:
        self._held -= 1
        self._count_unpaired(int(label.number not in meeting.used))
        meeting.used.discard(label.number)
