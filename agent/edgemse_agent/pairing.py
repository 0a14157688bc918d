"""Joining predictions with their labels by id, whichever comes first, across restarts.

An id may carry one prediction of each series (two versions that predict the same thing), and a
label meets all of them, or only those that its own model, version, output and segment name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from math import isfinite
from typing import NamedTuple

import msgspec

from edgemse.cells import Series
from edgemse.counters import Counters
from edgemse.growing import Growing
from edgemse.measures import interval_numbers
from edgemse.stats.measures import follow_loss

__all__ = ["SERIES_PER_ID_MAX", "Entry", "Label", "Pairing", "Prediction"]

LABELS_PER_ID_MAX = 64
SERIES_PER_ID_MAX = 1_000
"""A line looks at all that its id has: more than these would hold up every other client. Six weeks
of hourly horizons are as many."""


class Prediction(NamedTuple):
    """What a model said; `time` is seconds since 1970-01-01 UTC and decides the window.

    `loss` is the measure that its pair adds to beside the error, or empty; `interval` the (lower,
    upper) that it gave, if any.
    """

    y_pred: float
    weight: float
    time: float
    loss: str = ""
    interval: tuple[float, float] | None = None


class Label(NamedTuple):
    """What came true; None in `where` fits any model, version, output, segment."""

    y_true: float
    time: float
    where: tuple[str | None, str | None, str | None, str | None]

    def fits(self, series: Series) -> bool:
        """Tell whether the label is about this series, whatever its measure."""
        model, version, output, segment = self.where  # one by one: a loop costs five times as much
        return (
            (output is None or output == series[2])
            and (segment is None or segment == series[3])
            and (version is None or version == series[1])
            and (model is None or model == series[0])
        )


class Entry(msgspec.Struct, array_like=True):
    """All that is known of one id. `born` is on the agent's accumulated clock, in seconds."""

    born: float
    pending: list[tuple[Series, Prediction]] = []
    early: list[Label] = []
    matched: list[tuple[Series, float, Label]] = []
    """Series, prediction time and label of what was joined: tells repeated labels, and is the
    answer for a series whose prediction comes after its label was used."""


class Pairing:
    """Holds what waits for its other half, bounded in number and age.

    Ages run on accumulated monotonic time (`now`, seconds that the agent has run, over restarts),
    so neither a clock step nor a night without power expires anything. What lets go of an entry:
    a prediction without a label has expired, a label without a prediction is an orphan (counted
    under `default` where the label does not say its series).
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
        self._growing, self._counters, self._default = growing, counters, default
        self._age_max_seconds = age_max_seconds
        self._pending_max, self._matched_max = pending_max, matched_max
        self._waiting: dict[str, Entry] = {}
        self._matched: dict[str, Entry] = {}
        self._changed: set[str] = set()
        self._stored: set[str] = set()
        """Ids that the ledger has: one that it never had need not be deleted there."""

    def restore(self, entries: Iterable[tuple[str, Entry]]) -> None:
        """Take the entries that an earlier run left in the ledger."""
        for key, entry in sorted(entries, key=lambda item: item[1].born):
            (self._waiting if entry.pending or entry.early else self._matched)[key] = entry
            self._stored.add(key)

    def limit(self, *, age_max_seconds: float, pending_max: int, matched_max: int) -> None:
        """Go on with other bounds, now."""
        self._age_max_seconds = age_max_seconds
        self._pending_max, self._matched_max = pending_max, matched_max
        while len(self._waiting) > pending_max:
            self._counters.count("pending_evicted")
            self._let_go(next(iter(self._waiting)), self._waiting)
        while len(self._matched) > matched_max:
            self._let_go(next(iter(self._matched)), self._matched)

    def place(self, place: Callable[[float], float]) -> None:
        """Put the times that are not on the calendar yet there, by what leads to it."""
        for key, entry in (*self._waiting.items(), *self._matched.items()):
            before = entry.pending, entry.early, entry.matched
            entry.pending = [(s, p._replace(time=place(p.time))) for s, p in entry.pending]
            entry.early = [early._replace(time=place(early.time)) for early in entry.early]
            entry.matched = [
                (series, place(time), label._replace(time=place(label.time)))
                for series, time, label in entry.matched
            ]
            if before != (entry.pending, entry.early, entry.matched):
                self._changed.add(key)

    def __len__(self) -> int:
        return len(self._waiting)

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

    def waiting(self, prefix: str) -> list[tuple[str, float]]:
        """Return the ids that begin so and whose prediction waits, and that prediction's time."""
        return [
            (key, entry.pending[0][1].time)
            for key, entry in self._waiting.items()
            if key.startswith(prefix) and entry.pending
        ]

    def waits(self, key: str) -> bool:
        """Tell whether a prediction of that id waits for its label."""
        return key in self._waiting and bool(self._waiting[key].pending)

    def give_up(self, key: str) -> None:
        """Let go of what waits under that id: no label will come."""
        if key in self._waiting:
            self._let_go(key, self._waiting)

    def expire(self, now: float) -> None:
        """Let go of what is older than age_max_seconds."""
        for entries in (self._waiting, self._matched):
            while entries:
                key = next(iter(entries))
                if now - entries[key].born < self._age_max_seconds:
                    break
                self._let_go(key, entries)

    @property
    def changed(self) -> bool:
        """Whether the ledger is behind."""
        return bool(self._changed)

    def changes(self) -> dict[str, Entry | None]:
        """Return every id that changed since the last settled commit; None means gone."""
        return {key: self._waiting.get(key) or self._matched.get(key) for key in self._changed}

    def settle(self) -> None:
        """Take the changes as written."""
        for key in self._changed:
            if key in self._waiting or key in self._matched:
                self._stored.add(key)
            else:
                self._stored.discard(key)
        self._changed.clear()

    def _entry(self, key: str, now: float) -> Entry:
        return self._waiting.get(key) or self._matched.get(key) or Entry(now)

    def _file(self, key: str, entry: Entry) -> None:
        """Put the entry where it belongs now, and hold both maps to their bounds."""
        self._changed.add(key)
        if entry.pending or entry.early:
            self._matched.pop(key, None)
            self._waiting.setdefault(key, entry)
            if len(self._waiting) > self._pending_max:
                self._counters.count("pending_evicted")
                self._let_go(next(iter(self._waiting)), self._waiting)
        else:
            self._waiting.pop(key, None)
            self._matched.setdefault(key, entry)
            if len(self._matched) > self._matched_max:
                self._let_go(next(iter(self._matched)), self._matched)

    def _let_go(self, key: str, entries: dict[str, Entry]) -> None:
        entry = entries.pop(key)
        if key in self._stored:
            self._changed.add(key)
        else:
            self._changed.discard(key)
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
