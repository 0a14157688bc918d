"""Is a canary like the fleet? Its mix of segments and devices, and the ratio without it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from edgemse.fleet.answers import percent, text
from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import merged
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    from edgemse.fleet.arms import Estimate
    from edgemse.fleet.windows import Numbers

__all__ = ["Mix", "Part", "mix_of"]

UNLIKE = 0.1
"""Share of the samples elsewhere from which a sentence says that a mix is unlike the fleet's."""

APART_MIN = 3
"""Devices that ran both versions, as `edgemse.fleet.arms.DEVICES_MIN`."""

Key: TypeAlias = tuple[str, ...]
Place: TypeAlias = tuple[Key, str]
Cells: TypeAlias = Mapping[Place, ErrorStats]
"""Statistics by segment and device."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One segment, and the share that it has of each version's samples and of the fleet's."""

    by: Mapping[str, str]
    share_a: float
    share_b: float
    share_fleet: float


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How unlike the fleet a version's samples are, and the ratio that the fleet's mix gives."""

    by: tuple[str, ...]
    """Columns whose values are the segments: those asked for, or `segment`."""
    segments: tuple[Part, ...]
    segments_unlike: float
    """Share of b's samples that would have to be in other segments to be mixed like the fleet's."""
    devices: int
    """Devices of the fleet; of these, how many ran a, b, and both."""
    devices_a: int
    devices_b: int
    devices_both: int
    devices_unlike: float
    """Share of b's samples that would have to be on other devices."""
    ratio: float
    """RMSE b to a, both with the fleet's mix of segments, and of devices where these ran both."""
    low: float
    """95 % interval, by a jackknife over devices; NaN: not enough data."""
    high: float
    covered: float
    """Share of the fleet's samples that are where both versions have enough of them."""

    def sentences(self, pooled: float) -> Iterator[str]:
        """Yield what is unlike the fleet, and what that does to the ratio over all samples."""
        elsewhere = []
        if self.segments_unlike > UNLIKE:
            elsewhere.append(f"{percent(self.segments_unlike)} in other {' and '.join(self.by)}")
        if self.devices_unlike > UNLIKE:
            elsewhere.append(f"{percent(self.devices_unlike)} on other devices")
        if not elsewhere:
            return
        words = f"b's samples are not mixed like the fleet's ({', '.join(elsewhere)})"
        if math.isnan(self.ratio) or (self.apart and not self.segments_unlike > UNLIKE):
            yield f"{words}; these cells cannot take that out: run both versions side by side"
            return
        yield (
            f"{words}: with the fleet's mix the ratio is {text(self.ratio)} ({text(self.low)} to"
            f" {text(self.high)}), instead of {text(pooled)} over all samples"
        )

    @property
    def apart(self) -> bool:
        """Too few devices ran both versions to take their mix out, too."""
        return self.devices_both < APART_MIN


def mix_of(reading: Reading, asked: Asked) -> Mix:
    """Return the mix of versions a and b against that of all cells, and the ratio reweighted to it.

    Direct standardisation: with f_s the fleet's share of samples in segment s, the ratio is
    log(sum f_s mse_b,s / sum f_s mse_a,s) / 2. The MSE of a segment is of the devices that ran both
    versions there (with 20 samples or more), weighted by the samples that the fleet has of them,
    where three did in any segment; otherwise of all that ran one. Segments of fewer than three
    devices are left out.

    Source: Rothman, Greenland and Lash, Modern Epidemiology (2008), chapter 3; the interval as of
    `edgemse.fleet.arms.pooled`.
    """
    columns = asked.by or ("segment",)
    found = merged(reading, asked, by=("version", "device", *columns), histograms=False)
    arms: dict[str, dict[Place, ErrorStats]] = {}
    fleet: dict[Place, float] = {}
    for (version, device, *segment), stats in found.stats().items():
        place = (tuple(segment), device)
        fleet[place] = fleet.get(place, 0.0) + (stats.weight if stats.count else 0.0)
        if stats.count:
            arms.setdefault(version, {})[place] = stats
    a, b = (arms.get(asked.options[name], {}) for name in ("a", "b"))
    estimate, covered = _reweighted(a, b, fleet)
    low, high = estimate.interval()
    total = math.fsum(fleet.values())
    shares = [_shares({c: s.weight for c, s in arm.items()}, 0) for arm in (a, b)]
    segments, devices = _shares(fleet, 0), _shares(fleet, 1)
    ran = [{device for _, device in arm} for arm in (a, b)]
    return Mix(
        by=tuple(columns),
        segments=tuple(
            Part(
                by=dict(zip(columns, segment, strict=True)),
                share_a=shares[0].get(segment, 0.0),
                share_b=shares[1].get(segment, 0.0),
                share_fleet=share,
            )
            for segment, share in sorted(segments.items())
        ),
        segments_unlike=_unlike(shares[1], segments),
        devices=len(devices),
        devices_a=len(ran[0]),
        devices_b=len(ran[1]),
        devices_both=len(ran[0] & ran[1]),
        devices_unlike=_unlike(_shares({c: s.weight for c, s in b.items()}, 1), devices),
        ratio=estimate.ratio,
        low=low,
        high=high,
        covered=covered / total if total else math.nan,
    )


def _shares(weights: Mapping[Place, float], part: int) -> dict[Key | str, float]:
    """Return the shares of the weight by segment (part 0) or device (part 1)."""
    total = math.fsum(weights.values())
    found: dict[Key | str, float] = {}
    for place, weight in weights.items():
        found[place[part]] = found.get(place[part], 0.0) + (weight / total if total else 0.0)
    return found


def _unlike(one: Mapping[Key | str, float], other: Mapping[Key | str, float]) -> float:
    """Return half the sum of the absolute differences of shares (total variation)."""
    if not one:
        return math.nan
    return sum(abs(one.get(k, 0.0) - other.get(k, 0.0)) for k in one.keys() | other.keys()) / 2


def _reweighted(a: Cells, b: Cells, fleet: Mapping[Place, float]) -> tuple[Estimate, float]:
    """Return the log ratio with the fleet's weights, and the weight that it covers."""
    import numpy as np

    from edgemse.fleet.arms import COUNT_MIN, DEVICES_MIN, Estimate, apart, together

    a, b = ({place: stats for place, stats in arm.items() if stats.mse} for arm in (a, b))
    both = {p for p in a.keys() & b.keys() if min(a[p].count, b[p].count) >= COUNT_MIN}
    devices = len({device for arm in (a, b) for _, device in arm})
    total: dict[Key, float] = {}
    for (segment, _), weight in fleet.items():
        total[segment] = total.get(segment, 0.0) + weight
    for least, same in ((DEVICES_MIN, True), (DEVICES_MIN, False), (1, False)):
        segments = sorted(_with(least, both) if same else _with(least, a) & _with(least, b))
        if not segments:
            continue
        tables = [_table(arm, segments, fleet, both if same else arm.keys()) for arm in (a, b)]
        weights = np.array([total[segment] for segment in segments])
        if same:
            found = together(tables[0], tables[1], weights)
        elif least > 1:
            found = apart(tables[0], tables[1], weights, devices)
        else:
            mse = [weights @ (t[:, 0].sum(axis=1) / t[:, 1].sum(axis=1)) for t in tables]
            found = Estimate(math.log(mse[1] / mse[0]) / 2, math.nan, math.nan, devices, "")
        return found, float(weights.sum())
    return Estimate(math.nan, math.nan, math.nan, devices, ""), 0.0


def _with(least: int, places: Iterable[Place]) -> set[Key]:
    """Return the segments that so many devices have."""
    counts = Counter(segment for segment, _ in places)
    return {segment for segment, count in counts.items() if count >= least}


def _table(
    arm: Cells, segments: Sequence[Key], fleet: Mapping[Place, float], places: Collection[Place]
) -> Numbers:
    """Return squared errors and weights by segment, sum and device.

    Weights are the fleet's: versions on the same devices then have the same mix of them.
    """
    import numpy as np

    row = {segment: place for place, segment in enumerate(segments)}
    chosen = sorted(place for place in places if place[0] in row)
    column = {name: at for at, name in enumerate(dict.fromkeys(device for _, device in chosen))}
    table = np.zeros((len(row), 2, len(column)))
    for place in chosen:
        weight = fleet[place]
        table[row[place[0]], :, column[place[1]]] = weight * arm[place].mse, weight
    return table
