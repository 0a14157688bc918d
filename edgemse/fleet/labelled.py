"""Did as many labels come for one version as for the other? Those missing may be the hard ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edgemse.fleet.answers import percent, text
from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import merged
from edgemse.stats.coverage import Coverage
from edgemse.stores.base import Reading

__all__ = ["LATE_FACTOR", "POINTS_MAX", "Labelled", "LabelsCompared", "labels_compared", "notes_of"]

Key = tuple[str, ...]
NAN = math.nan
POINTS_MAX = 0.1
"""Of the share of predictions that have their label, as a diagnosis has it: a model whose missing
tenth is twice as wrong (MSE 4 times) looks 12 % better in RMSE than it is."""
LEAST = 0.8
"""Of that share where there is nothing to hold it against, as a diagnosis has it."""
COUNT_MIN = 20
"""Predictions below which a share says nothing: 10 points are less than chance makes."""
LATE_FACTOR = 2.0
"""Mean label lag of one version to that of the other from which it is told."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What became of one version's predictions; of samples that came whole nothing is known."""

    predictions: int
    matched: int
    """Those that have their label."""
    share: float
    """matched / predictions; NaN where there are none."""
    lag_mean_seconds: float

    @classmethod
    def of(cls, coverage: Coverage) -> Labelled:
        """Return the figures of counts."""
        made = coverage.predictions
        return cls(
            predictions=made,
            matched=coverage.matched,
            share=coverage.matched / made if made else NAN,
            lag_mean_seconds=coverage.lag_mean_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class LabelsCompared:
    """The labels of a version, and of what it is held against: version a, or all other versions."""

    a: Labelled
    b: Labelled
    comparable: bool | None
    """False: b's share is over 10 points below a's, so that its error is of a chosen part. None:
    one of them has fewer than 20 predictions (samples that come whole are none)."""

    @property
    def least(self) -> float:
        """The share of b to that of a which b must have."""
        return max(0.0, self.a.share - POINTS_MAX) / self.a.share if self.a.share else NAN

    @property
    def later(self) -> bool:
        """Whether the labels of b take more than twice as long as those of a."""
        return self.b.lag_mean_seconds > LATE_FACTOR * self.a.lag_mean_seconds


def labels_compared(
    reading: Reading, asked: Asked, b: str | None, a: str | None
) -> dict[Key, LabelsCompared]:
    """Return the labels of version b against those of a (None: of all others), by segment.

    Of all cells by the key (); nothing if the cells are of no one version.
    """
    if b is None or "version" in asked.by:
        return {}
    where = {name: value for name, value in asked.where.items() if name != "version"}
    every = replace(asked, where=where, by=("version", *asked.by))
    sides: dict[bool, dict[Key, Coverage]] = {True: {(): Coverage()}, False: {(): Coverage()}}
    for group in merged(reading, every, histograms=False):
        version, *segment = group.by.values()
        if version != b and a not in (None, version):
            continue
        for key in {(), tuple(segment)}:
            sides[version == b].setdefault(key, Coverage()).merge(group.coverage)
    return {
        key: _compared(sides[False].get(key, Coverage()), each)
        for key, each in sorted(sides[True].items())
    }


def _compared(a: Coverage, b: Coverage) -> LabelsCompared:
    one, two = Labelled.of(a), Labelled.of(b)
    known = min(one.predictions, two.predictions) >= COUNT_MIN
    comparable = two.share >= one.share - POINTS_MAX if known else None
    return LabelsCompared(a=one, b=two, comparable=comparable)


def notes_of(found: Mapping[Key, LabelsCompared], b: str | None, a: str | None) -> Iterator[str]:
    """Yield what labels say against a comparison, in words."""
    other = f"version {a}" if a is not None else "the other versions"
    for key, each in found.items():
        where = f" in {', '.join(key)}" if key else ""
        lags = [round(side.lag_mean_seconds, 1) for side in (each.b, each.a)]
        if each.comparable is False:
            yield (
                f"not enough data: {percent(each.b.share)} of the predictions of version {b}{where}"
                f" have their label, of {other} {percent(each.a.share)}; what is missing may be the"
                " hard part, or still to come"
            )
        elif each.comparable and each.later:
            both = f"{text(lags[0])} s, {text(lags[1])} s"
            yield f"labels of version {b}{where} come later than those of {other}: {both}"
    whole = found.get(())
    if whole is not None and whole.comparable is None and whole.a.predictions < COUNT_MIN:
        share = whole.b.share
        if whole.b.predictions >= COUNT_MIN and share < LEAST:
            yield (
                f"{percent(share)} of the predictions of version {b} have their label, and there is"
                " nothing to hold that against: what is missing may be the hard part"
            )
