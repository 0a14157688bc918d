"""Coverage: what became of the predictions and labels of one series in one window."""

from __future__ import annotations

from edgemse.errors import CorruptStateError
from edgemse.stats.coverage_counts import CoverageCounts
from edgemse.stats.histogram import ResidualHistogram

__all__ = ["Coverage", "CoverageRow"]

COUNTERS = ("predictions", "matched", "expired", "orphan", "duplicate", "conflicting")
SUMS = (*COUNTERS, "lag_ms_sum")
COUNT_MAX = 2**63 - 1

CoverageRow = tuple[int, int, int, int, int, int, int, int, bytes]
"""The six counts, lag sum and maximum in milliseconds, and the lag histogram's bytes."""


class Coverage(CoverageCounts):
    """Counts of predictions and labels, and the lag between them; merges like ErrorStats.

    A prediction is *matched* by its label or has *expired* without one. A label is *orphan* when
    no prediction came for it in time, *duplicate* when it repeats the label already used, and
    *conflicting* when it contradicts it. The label lag (label time minus prediction time,
    milliseconds, never below 0) is kept as its sum, maximum and histogram over the matched.

    Everything is an integer, so merging is exact, associative and commutative. The empty Coverage
    is the identity, and is what a cell carries whose samples came whole.

    >>> made, labelled = Coverage(), Coverage()
    >>> made.predictions += 2
    >>> labelled.match(lag_ms=1500)
    >>> made.merge(labelled)
    >>> made.predictions, made.matched, made.lag_mean_seconds
    (2, 1, 1.5)
    """

    __slots__ = ()

    def merge(self, other: Coverage) -> None:
        """Add what `other` counted; the two must not share a prediction or a label.

        OverflowError, with nothing added, where a sum is above 2^63 - 1 or the labels above 2^53.
        """
        if not isinstance(other, Coverage):
            raise TypeError(f"a Coverage merges with a Coverage, not {type(other).__name__}")
        sums = {name: getattr(self, name) + getattr(other, name) for name in SUMS}
        if max(sums.values()) > COUNT_MAX:
            largest = max(sums, key=lambda name: sums[name])
            raise OverflowError(f"{largest} would be {sums[largest]}; at most 2^63 - 1 is counted")
        self.lag_histogram.merge(other.lag_histogram)  # first: it may refuse
        for name, value in sums.items():
            setattr(self, name, value)
        self.lag_ms_max = max(self.lag_ms_max, other.lag_ms_max)

    def copy(self) -> Coverage:
        """Return an independent object with the same counts."""
        new = Coverage()
        new.merge(self)
        return new

    @property
    def lag_mean_seconds(self) -> float:
        """Mean label lag in seconds; NaN when nothing matched."""
        return self.lag_ms_sum / self.matched / 1000 if self.matched else float("nan")

    def __bool__(self) -> bool:
        """Whether anything was counted."""
        return any(getattr(self, name) for name in COUNTERS)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Coverage):
            return NotImplemented
        return self.to_row() == other.to_row()

    __hash__ = None  # type: ignore[assignment]  # mutable, like ErrorStats

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}={getattr(self, name)}" for name in COUNTERS)
        return f"Coverage({counts}, lag_mean_seconds={self.lag_mean_seconds:.6g})"

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: equal coverages, equal bytes; b"" when nothing was counted.

        docs/wire.md, "The coverage", has the byte table. `split_coverage` makes columns of them.
        """
        from edgemse.stats.parts import join_coverage  # not before: who only computes needs none

        return join_coverage(self.to_row())

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Coverage:
        """Return the coverage that `to_bytes` wrote.

        Raises:
            CorruptStateError: the bytes were cut or altered, do not fit each other, or are
                something else.
            TypeError: `data` has no buffer.
        """
        from edgemse.stats.parts import split_coverage

        coverage = cls()
        *numbers, histogram = split_coverage(data)
        for name, number in zip((*COUNTERS, "lag_ms_sum", "lag_ms_max"), numbers, strict=True):
            setattr(coverage, name, number)
        coverage.lag_histogram = ResidualHistogram.from_bytes(histogram)
        return coverage

    def __reduce__(self) -> tuple[object, ...]:
        return Coverage.from_bytes, (self.to_bytes(),)

    def to_row(self) -> CoverageRow:
        """Return the six counts, lag sum and maximum (milliseconds) and the histogram's bytes."""
        return (
            self.predictions,
            self.matched,
            self.expired,
            self.orphan,
            self.duplicate,
            self.conflicting,
            self.lag_ms_sum,
            self.lag_ms_max,
            self.lag_histogram.to_bytes(),
        )

    @classmethod
    def from_row(cls, row: CoverageRow) -> Coverage:
        """Return the Coverage that `to_row` gave, or raise CorruptStateError if none can."""
        *numbers, histogram = row
        if len(numbers) != 8 or not all(
            type(number) is int and 0 <= number <= COUNT_MAX for number in numbers
        ):
            raise CorruptStateError(
                f"a coverage is 8 counts from 0 to 2^63-1 and a histogram, got {row!r:.200}"
            )
        coverage = cls()
        for name, number in zip((*COUNTERS, "lag_ms_sum", "lag_ms_max"), numbers, strict=True):
            setattr(coverage, name, number)
        coverage.lag_histogram = ResidualHistogram.from_bytes(histogram)
        if coverage.lag_histogram.count != coverage.matched:
            raise CorruptStateError(
                f"the lag histogram holds {coverage.lag_histogram.count} labels,"
                f" the coverage says that {coverage.matched} matched"
            )
        if (
            not coverage.lag_ms_max
            <= coverage.lag_ms_sum
            <= coverage.lag_ms_max * max(1, coverage.matched)
        ):
            raise CorruptStateError(
                f"label lags of {coverage.matched} labels cannot sum to {coverage.lag_ms_sum} ms"
                f" with a maximum of {coverage.lag_ms_max} ms"
            )
        return coverage
