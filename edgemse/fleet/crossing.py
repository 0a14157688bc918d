"""Groups and factors that cross: what is left of the differences once the factors are removed.

A cell is one group under one combination of the factors' levels. Its figure y (log MSE, or mean
error) is split by two projections: P_V on the levels of the factors (additive), P_VD on these and
the groups. No matrix of all cells by all cells is made: both have few columns, beside a block a
group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, fdtrc, fdtri

from edgemse.fleet.homogeneity import NOTHING, Homogeneity
from edgemse.fleet.windows import Numbers

__all__ = ["Cells", "Crossed", "Layout", "Places", "crossed"]

Places = NDArray[np.int64]
SINGULAR = 1e-8
"""Of a column's length: below it a column is a sum of the others, but for rounding."""


class Crossed(NamedTuple):
    """Whether and how much groups differ beside the factors; NaN where there is not enough data."""

    somewhere: Homogeneity
    """Beyond sampling noise: in all levels of the factors, or in some."""
    on_average: Homogeneity
    """Beyond what groups differ by from level to level (interaction)."""
    tau2: float
    """Variance between groups, of y, clamped at 0."""
    low: float
    """Its 95 % interval."""
    high: float
    unclamped: float


class Layout:
    """Which cells there are, each with a weight: the two projections, and forms of them."""

    def __init__(self, group: Places, levels: Sequence[Places], weight: Numbers) -> None:
        """Lay out cells by their group's number and, for each factor, their level's number."""
        self.group, self.weight, self._root = group, weight, np.sqrt(weight)
        self._group_weight = np.bincount(group, weight)
        columns = np.column_stack([np.ones(len(group)), *(_dummies(each) for each in levels)])
        columns *= self._root[:, None]
        columns /= np.linalg.norm(columns, axis=0)
        self._v = _basis(columns)
        self._rest = _basis(columns - self._by_group(columns))
        self.groups = len(self._group_weight)
        self.rank = self.groups + self._rest.shape[1] - self._v.shape[1]
        """Of what is left for groups: how many independent differences between them there are."""
        self.rank_left = len(group) - self.groups - self._rest.shape[1]
        """Of what neither explains."""
        own = weight / self._group_weight[group]
        rest = (self._rest**2).sum(axis=1)
        self.of_groups: Numbers = weight * (own + rest - (self._v**2).sum(axis=1))
        """Diagonal of A = W^.5 (P_VD - P_V) W^.5."""
        self.of_rest: Numbers = weight * (1 - own - rest)
        """Diagonal of C = W^.5 (I - P_VD) W^.5."""
        of_v = [np.bincount(group, self._root * column) for column in self._v.T]
        self.scale = float(weight.sum() - sum((each**2).sum() for each in of_v))
        """tr(A Z Z'): how often a variance between groups is in the squares of groups."""

    def _by_group(self, columns: Numbers) -> Numbers:
        """Return the part of each column that is in the groups' dummies."""
        sums = [np.bincount(self.group, self._root * column) for column in columns.T]
        found: Numbers = (np.array(sums) / self._group_weight).T[self.group]
        return found * self._root[:, None]

    def fitted(self, y: Numbers) -> Numbers:
        """Return what the factors alone predict of y."""
        found: Numbers = self._v @ (self._v.T @ (self._root * y)) / self._root
        return found

    def squares(self, y: Numbers) -> tuple[float, float]:
        """Return y'Ay, the squares of groups beside the factors, and y'Cy, those left over."""
        scaled = self._root * (y - y.mean())
        left = scaled - self._v @ (self._v.T @ scaled)
        of_groups = self._by_group(left[:, None])[:, 0] + self._rest @ (self._rest.T @ left)
        rest = left - of_groups
        return float(of_groups @ of_groups), float(rest @ rest)

    def spread_of_groups(self, v: Numbers) -> float:
        """Return v'(A * A)v: half the variance of y'Ay for cells of variance v."""
        z = self.weight * v
        inner = [self._between(z, self._rest), self._between(z, self._v)]
        blocks = np.bincount(self.group, self.weight * z) / self._group_weight
        return (
            float((blocks**2).sum())
            + _square(self._rest.T @ (z[:, None] * self._rest))
            + _square(self._v.T @ (z[:, None] * self._v))
            + 2 * (inner[0] - inner[1] - _square(self._rest.T @ (z[:, None] * self._v)))
        )

    def spread_of_rest(self, v: Numbers) -> float:
        """Return v'(C * C)v: half the variance of y'Cy."""
        z = self.weight * v
        blocks = np.bincount(self.group, self.weight * z) / self._group_weight
        own = self.weight / self._group_weight[self.group] + (self._rest**2).sum(axis=1)
        return (
            float((z**2 * (1 - 2 * own)).sum())
            + float((blocks**2).sum())
            + _square(self._rest.T @ (z[:, None] * self._rest))
            + 2 * self._between(z, self._rest)
        )

    def _between(self, z: Numbers, columns: Numbers) -> float:
        """Return the sum of squares of G'ZQ, G the groups' dummies scaled to length 1."""
        scaled = z * self._root
        sums = [np.bincount(self.group, scaled * column) for column in columns.T]
        return sum(float((each**2 / self._group_weight).sum()) for each in sums)


def _dummies(level: Places) -> Numbers:
    found: Numbers = (level[:, None] == np.arange(int(level.max()) + 1)).astype(np.float64)
    return found


def _basis(columns: Numbers) -> Numbers:
    """Return an orthonormal basis of columns that were of length 1."""
    left, singular, _ = np.linalg.svd(columns, full_matrices=False)
    found: Numbers = left[:, singular > SINGULAR]
    return found


def _square(matrix: Numbers) -> float:
    return float((matrix**2).sum())


@dataclass(frozen=True, slots=True)
class Cells:
    """Arrays with a place for each cell."""

    y: Numbers
    variance: Numbers
    """Sampling variance of y, own."""
    steady: Numbers
    """The same, free of its luck: drawn towards that of the other cells."""
    uncertainty: Callable[[Numbers, Numbers], float]
    """Of a sum of parts that are proportional to variances: noise.Noise.uncertainty."""
    count: Numbers


def crossed(cells: Cells, group: Places, levels: Sequence[Places]) -> Crossed:
    """Test whether groups differ once the factors are removed, and say by how much.

    Weighted by n, S = y'Ay is what groups add to the factors. Its expectation without differences
    is E = sum A_cc v; with vs = vm E / sum A_cc vm for the steadied variances vm:

        somewhere:  F = S / E    df1 = E^2 / vs'(A * A)vs, in [1, rank A]
                                 df2 = E^2 / sum((A_cc vs)^2 / nu)

    Groups that differ in one level only are found by it too. Whether they differ on average is a
    question to what is left over, Q = y'Cy, with all cells alike and sg = vm + s2,
    s2 = max(0, (Q - sum C_cc v) / tr C):

        on average: F = (S / sum A_cc sg) / (Q / sum C_cc sg)     tau2 = (S - sum A_cc (v + s2)) / k
                    df1 = (sum A_cc sg)^2 / sg'(A * A)sg          k = tr(A Z Z')
                    df2 = (sum C_cc sg)^2 / sg'(C * C)sg

    with the interval (S / F_.975 - r) / k to (S rank A / chi2_.025 - r) / k, r = Q sum A_cc sg /
    sum C_cc sg. Without factors the cells are units inside the groups (nested), and `somewhere`
    says nothing. Where nothing is left over (each group in one level), s2 = 0, and there is neither
    `on average` nor an interval.

    NaN where nothing is left for groups.

    Source: Searle, Casella, McCulloch, Variance Components, 1992, chapter 5 (Henderson's method
    III); Box, Annals of Mathematical Statistics 25 (1954), for the degrees of freedom.
    """
    nan = float("nan")
    alike = Layout(group, levels, np.ones(len(group)))
    if alike.rank < 1 or not (levels or alike.rank_left):
        return Crossed(NOTHING, NOTHING, nan, nan, nan, nan)
    squares, left = alike.squares(cells.y)
    somewhere = _somewhere(cells, group, levels)
    if alike.rank_left < 1:
        unclamped = (squares - float((alike.of_groups * cells.variance).sum())) / alike.scale
        return Crossed(somewhere, NOTHING, max(0.0, unclamped), nan, nan, unclamped)
    noise = float((alike.of_rest * cells.variance).sum())
    s2 = max(0.0, (left - noise) / float(alike.of_rest.sum()))
    sg = cells.steady + s2
    ea, eb = float((alike.of_groups * sg).sum()), float((alike.of_rest * sg).sum())
    if not (ea > 0 and eb > 0 and left > 0):
        return Crossed(somewhere, NOTHING, nan, nan, nan, nan)
    df1 = ea**2 / alike.spread_of_groups(sg)
    df2 = eb**2 / alike.spread_of_rest(sg)
    ratio = squares / ea / (left / eb)
    found = Homogeneity(ratio, df1, df2, float(fdtrc(df1, df2, ratio)))
    expected = float((alike.of_groups * (cells.variance + s2)).sum())
    unclamped = (squares - expected) / alike.scale
    rest = left * ea / eb
    low = (squares / float(fdtri(df1, df2, 0.975)) - rest) / alike.scale
    high = (squares * alike.rank / float(chdtri(alike.rank, 0.975)) - rest) / alike.scale
    tau2 = max(0.0, unclamped)
    limits = min(max(0.0, low), tau2), max(0.0, high, tau2)
    return Crossed(somewhere, found, tau2, *limits, unclamped)


def _somewhere(cells: Cells, group: Places, levels: Sequence[Places]) -> Homogeneity:
    if not levels or not np.all(cells.variance > 0):
        return NOTHING
    weighted = Layout(group, levels, cells.count / cells.count.mean())
    squares = weighted.squares(cells.y)[0]
    expected = float((weighted.of_groups * cells.variance).sum())
    steady = cells.steady * expected / float((weighted.of_groups * cells.steady).sum())
    df1 = float(np.clip(expected**2 / weighted.spread_of_groups(steady), 1, weighted.rank))
    df2 = expected**2 / cells.uncertainty(weighted.of_groups * steady, steady)
    ratio = squares / expected
    return Homogeneity(ratio, df1, df2, float(fdtrc(df1, df2, ratio)))
