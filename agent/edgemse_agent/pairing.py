"""Joining predictions with their labels by id, whichever comes first, across restarts.

An id may carry one prediction of each series (two versions that predict the same thing), and a
label meets all of them, or only those that its own model, version, output and segment name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from math import isfinite

from edgemse.cells import UNPLACED_SECONDS, Series
from edgemse.counters import Counters
from edgemse.growing import Growing
from edgemse.measures import interval_numbers
from edgemse.stats.measures import follow_loss
from edgemse_agent.entries import Entry, Label, Prediction
from edgemse_agent.pairs import Pairs

__all__ = ["SERIES_PER_ID_MAX", "Pairing"]

LABELS_PER_ID_MAX = 64
SERIES_PER_ID_MAX = 1_000
"""A line looks at all that its id has: more than these would hold up every other client. Six weeks
of hourly horizons are as many."""


class Pairing(Pairs):
    """Holds what waits for its other half, bounded in number and age.

    Ages run on accumulated monotonic time (`now`, seconds that the agent has run, over restarts),
    so neither a clock step nor a night without power expires anything. What lets go of an entry:
    a prediction without a label has expired, a label without a prediction is an orphan (counted
    under `default` where the label does not say its series). What an id has is kept in `Pairs`.
    """

    def __init__(
        self,
        growing: Growing,
        counters: Counters,
        default: Series,
        *,
        age_max_seconds: float = 3_600.0,
        pending_max: int = 20_000,
        matched_max: int = 10_000,
    ) -> None:
        super().__init__(growing.latest, pending_max, matched_max)
        self._growing, self._counters, self._default = growing, counters, default
        self._age_max_seconds = age_max_seconds

    def restore(self, entries: Iterable[tuple[str, Entry]]) -> None:
        """Take the entries that an earlier run left in the ledger."""
        for key, entry in entries:
            self.put(key, entry, stored=True)
        self.sort()

    def limit(self, *, age_max_seconds: float, pending_max: int, matched_max: int) -> None:
        """Go on with other bounds, now."""
        self._age_max_seconds = age_max_seconds
        self.pending_max, self.matched_max = pending_max, matched_max
        self.hold()

    def hold(self) -> None:
        """Let go of the oldest past the bounds."""
        while len(self) > self.pending_max:
            self._counters.count("pending_evicted")
            self._let_go_oldest(waiting=True)
        while self.joined > self.matched_max:
            self._let_go_oldest(waiting=False)

    def place(self, place: Callable[[float], float]) -> None:
        """Put the times that are not on the calendar yet there, by what leads to it."""
        for key in self.later_than(UNPLACED_SECONDS):
            entry = self.get(key)
            assert entry is not None
            before = entry.pending, entry.early, entry.matched
            entry.pending = [(s, p._replace(time=place(p.time))) for s, p in entry.pending]
            entry.early = [early._replace(time=place(early.time)) for early in entry.early]
            entry.matched = [
                (series, place(time), label._replace(time=place(label.time)))
                for series, time, label in entry.matched
            ]
            if before != (entry.pending, entry.early, entry.matched):
                self.put(key, entry)

    def predict(self, key: str, series: Series, prediction: Prediction, now: float) -> bool:
        """Take a prediction; False (counted) if this id and series had one, or it has too many."""
        entry = self._entry(key, now)
        if len(entry.pending) + len(entry.matched) >= SERIES_PER_ID_MAX:
            self._counters.count("predictions_crowded")
            return False
        if any(s == series for s, *_ in entry.pending) or any(
            s == series for s, *_ in entry.matched
        ):
            self._counters.count("predictions_repeated")
            self._file(key, entry)
            return False
        self._growing.coverage(series, prediction.time).predictions += 1
        label = self._answer_of(entry, series)
        if label is None:
            entry.pending.append((series, prediction))
        else:
            self._join(entry, series, prediction, label)
            entry.early = [early for early in entry.early if early is not label]
        self._file(key, entry)
        return True

    def label(self, key: str, label: Label, now: float) -> None:
        """Take a label: it meets its predictions, repeats an earlier one, or waits for one.

        One that is NaN or infinite is counted and uses nothing up: the real one may follow.
        """
        if not isfinite(label.y_true):
            self._counters.count("labels_nonfinite")
            return
        entry = self._entry(key, now)
        met = [item for item in entry.pending if label.fits(item[0])]
        if met:
            entry.pending = [item for item in entry.pending if not label.fits(item[0])]
            for series, prediction in met:
                self._join(entry, series, prediction, label)
        elif not self._repeats(entry, label):
            entry.early.append(label)
            if len(entry.early) > LABELS_PER_ID_MAX:
                self._orphan(entry.early.pop(0))
        self._file(key, entry)

    def waits(self, key: str) -> bool:
        """Tell whether a prediction of that id waits for its label."""
        entry = self.get(key)
        return entry is not None and bool(entry.pending)

    def give_up(self, key: str) -> None:
        """Let go of what waits under that id: no label will come."""
        entry = self.get(key)
        if entry is not None and (entry.pending or entry.early):
            self._count_out(self.pop(key))

    def expire(self, now: float) -> None:
        """Let go of what is older than age_max_seconds."""
        for waiting in (True, False):
            while (oldest := self.oldest(waiting)) is not None:
                if now - oldest[1] < self._age_max_seconds:
                    break
                self._let_go_oldest(waiting=waiting)

    def _entry(self, key: str, now: float) -> Entry:
        entry = self.get(key)
        return Entry(now) if entry is None else entry

    def _file(self, key: str, entry: Entry) -> None:
        """Put the entry where it belongs now, and hold both maps to their bounds."""
        self.put(key, entry)
        self.hold()

    def _let_go_oldest(self, *, waiting: bool) -> None:
        oldest = self.oldest(waiting)
        assert oldest is not None
        self._count_out(self.pop(oldest[0]))

    def _count_out(self, entry: Entry) -> None:
        """Count what waited in an entry that is let go."""
        for series, prediction in entry.pending:
            self._growing.coverage(series, prediction.time).expired += 1
            self._counters.count("predictions_expired")
        for label in entry.early:
            self._orphan(label)

    def _orphan(self, label: Label) -> None:
        given = zip(label.where, self._default, strict=False)
        series = Series(*(default if value is None else value for value, default in given))
        self._growing.coverage(series, label.time).orphan += 1
        self._counters.count("labels_orphan")

    def _join(self, entry: Entry, series: Series, prediction: Prediction, label: Label) -> None:
        coverage = self._growing.coverage(series, prediction.time)
        coverage.match(round((label.time - prediction.time) * 1000))
        y_true, (y_pred, weight, time, loss, interval) = label.y_true, prediction
        if self._growing.sample(series, time, y_true, y_pred, weight):
            self._counters.count("samples")
        if loss:
            value = follow_loss(loss).value(y_true, y_pred)
            self._growing.sample(series._replace(measure=loss), time, 0.0, value, weight)
        if interval is not None:
            self._growing.follow(series, time, interval_numbers(y_true, *interval), weight)
        entry.matched.append((series, prediction.time, label))

    def _answer_of(self, entry: Entry, series: Series) -> Label | None:
        """Return the label for a further series of an id whose label has come already."""
        waiting = (label for label in entry.early if label.fits(series))
        used = (label for _, _, label in entry.matched if label.fits(series))
        return next(chain(waiting, used), None)

    def _repeats(self, entry: Entry, label: Label) -> bool:
        """Count a label that came before as duplicate, or as conflicting if it says otherwise."""
        for series, time, used in entry.matched:
            if label.fits(series):
                coverage = self._growing.coverage(series, time)
                if used.y_true == label.y_true:
                    coverage.duplicate += 1
                    self._counters.count("labels_duplicate")
                else:
                    coverage.conflicting += 1
                    self._counters.count("labels_conflicting")
                return True
        return any(
            early.where == label.where and early.y_true == label.y_true for early in entry.early
        )
