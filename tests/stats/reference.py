"""The same statistics in plain Python and exact rational numbers: the readable definition.

Slow on purpose: sums are `Fraction`s, rounded once when a figure is asked for. Tests hold the
compiled core to it; it reads and writes the same bytes.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

from stats.reference_bytes import (
    SPAN,
    BitReader,
    ByteReader,
    Rice,
    bits_to_bytes,
    buckets_bits,
    unzigzag,
    varint,
    zigzag,
)

from edgemse.errors import CorruptStateError, UnsupportedVersionError

__all__ = ["ReferenceStats", "bucket_index", "pair"]

LIMIT = 2.0**200  # largest |error| and |y_true| that is folded in
WEIGHT_LIMIT = 2.0**100  # weights lie between its reciprocal and itself
PAIRS = ("mean", "m2", "y_mean", "y_m2", "y_e")  # carried as two doubles
FIELDS = (
    *("mean", "mean_lo", "m2", "m2_lo", "m3", "m4", "abs_sum", "min_error", "max_error"),
    *("y_mean", "y_mean_lo", "y_m2", "y_m2_lo", "y_e", "y_e_lo"),
)  # the doubles of a state, in the order of their bytes


def bucket_index(magnitude: float) -> int:
    """The i with 2^(i/8) < magnitude <= 2^((i+1)/8), by exact integers."""
    eighth = Fraction(magnitude) ** 8  # 2^i < eighth <= 2^(i+1); its denominator is a power of 2
    return (eighth.numerator - 1).bit_length() - eighth.denominator.bit_length()


class ReferenceStats:
    """What `ErrorStats` computes, defined by sums of powers."""

    def __init__(self) -> None:
        self.count = self.nonfinite = self.out_of_range = 0
        zero = Fraction(0)
        self.weight, self.weight2, self.abs_sum = zero, zero, zero
        self.powers = [zero] * 5  # sums of w e^k, k = 0..4
        self.y_sum, self.yy_sum, self.ye_sum = zero, zero, zero  # sums of w y, w y^2, w y e
        self.min_error, self.max_error = math.inf, -math.inf
        self.bare = False  # no histogram: its bytes said so, or a part had none
        self.zero_count = 0
        self.buckets: tuple[Counter[int], Counter[int]] = (Counter(), Counter())

    def update(self, y_true: float, y_pred: float, weight: float = 1.0) -> None:
        """Fold one sample in; see `ErrorStats.update`."""
        error = y_pred - y_true + 0.0
        if weight < 0.0:
            raise ValueError(f"the weight is {weight!r}; weights are not negative")
        if not math.isfinite(weight):
            self.nonfinite += 1
        elif weight == 0.0:
            pass
        elif not 1 / WEIGHT_LIMIT <= weight <= WEIGHT_LIMIT:
            self.out_of_range += 1
        elif not (math.isfinite(y_true) and math.isfinite(y_pred)):
            self.nonfinite += 1
        elif max(abs(error), abs(y_true)) > LIMIT:
            self.out_of_range += 1
        else:
            self._accept(y_true, error, Fraction(weight))

    def _accept(self, y_true: float, error: float, w: Fraction) -> None:
        e, y = Fraction(error), Fraction(y_true)
        self.count += 1
        self.weight += w
        self.weight2 += w * w
        self.powers = [total + w * e**k for k, total in enumerate(self.powers)]
        self.abs_sum += w * abs(e)
        self.y_sum += w * y
        self.yy_sum += w * y * y
        self.ye_sum += w * y * e
        self.min_error = min(self.min_error, error)
        self.max_error = max(self.max_error, error)
        if error:
            self.buckets[error < 0][bucket_index(abs(error))] += 1
        else:
            self.zero_count += 1

    def update_many(
        self,
        y_true: Iterable[float],
        y_pred: Iterable[float],
        weight: Iterable[float] | None = None,
    ) -> None:
        """Fold a batch in."""
        if weight is None:
            for y, pred in zip(y_true, y_pred, strict=True):
                self.update(y, pred)
        else:
            for y, pred, w in zip(y_true, y_pred, weight, strict=True):
                self.update(y, pred, w)

    def merge(self, other: "ReferenceStats") -> None:
        """Fold another's samples in: every sum is added."""
        for name in (
            *("count", "nonfinite", "out_of_range", "weight", "weight2", "abs_sum"),
            *("y_sum", "yy_sum", "ye_sum", "zero_count"),
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.bare |= other.bare
        self.powers = [a + b for a, b in zip(self.powers, other.powers, strict=True)]
        self.min_error = min(self.min_error, other.min_error)
        self.max_error = max(self.max_error, other.max_error)
        for mine, theirs in zip(self.buckets, other.buckets, strict=True):
            mine.update(theirs)

    def moment(self, k: int) -> Fraction:
        """The k-th central moment, sum w (e - mean)^k, exactly."""
        mean = self.powers[1] / self.weight
        return sum(
            (math.comb(k, j) * self.powers[j] * (-mean) ** (k - j) for j in range(k + 1)),
            Fraction(0),
        )

    def exact(self) -> dict[str, Fraction]:
        """The numbers of the state, unrounded; not for an empty one."""
        y_mean = self.y_sum / self.weight
        return {
            "mean": self.powers[1] / self.weight,
            "m2": self.moment(2),
            "m3": self.moment(3),
            "m4": self.moment(4),
            "abs_sum": self.abs_sum,
            "min_error": Fraction(self.min_error),
            "max_error": Fraction(self.max_error),
            "y_mean": y_mean,
            "y_m2": self.yy_sum - self.weight * y_mean * y_mean,
            "y_e": self.ye_sum - y_mean * self.powers[1],
        }

    @property
    def mse(self) -> float:
        """Mean squared error; NaN when empty."""
        return float(self.powers[2] / self.weight) if self.count else math.nan

    @property
    def rmse(self) -> float:
        """Its root."""
        return math.sqrt(self.mse)

    @property
    def bias(self) -> float:
        """Mean error; NaN when empty."""
        return float(self.powers[1] / self.weight) if self.count else math.nan

    @property
    def error_variance(self) -> float:
        """Population variance of the error; NaN when empty."""
        return float(self.moment(2) / self.weight) if self.count else math.nan

    @property
    def mae(self) -> float:
        """Mean absolute error; NaN when empty."""
        return float(self.abs_sum / self.weight) if self.count else math.nan

    @property
    def skewness(self) -> float:
        """Population skewness; NaN where the variance is 0."""
        if not self.count or not self.error_variance:
            return math.nan
        return float(self.moment(3) / self.weight) / math.pow(self.error_variance, 1.5)

    @property
    def kurtosis(self) -> float:
        """Population kurtosis; NaN where the variance is 0."""
        if not self.count or not self.error_variance:
            return math.nan
        return float(self.moment(4) * self.weight / self.moment(2) ** 2)

    @property
    def r2(self) -> float:
        """1 - MSE / variance of y_true; NaN where that is 0."""
        if not self.count or not self.exact()["y_m2"]:
            return math.nan
        return float(1 - self.powers[2] / self.exact()["y_m2"])

    def folded(self) -> tuple[int, list[dict[int, int]]]:
        """Zero bucket and the two signs' counts, with the cut 512 buckets below the largest."""
        used = [i for side in self.buckets for i in side]
        cut = max(used, default=0) - SPAN
        kept = [{i: n for i, n in side.items() if i > cut} for side in self.buckets]
        lost = sum(n for side in self.buckets for i, n in side.items() if i <= cut)
        return self.zero_count + lost, kept

    def _histogram_bytes(self) -> bytes:
        zero, sides = self.folded()
        rice = Rice()
        head, bits = varint(zero), ""
        for side in sides:
            low, end = min(side, default=0), max(side, default=-1) + 1
            head += varint(end - low) + (varint(zigzag(low)) if side else b"")
            bits += buckets_bits([side.get(i, 0) for i in range(low, end)], rice)
        return head + bits_to_bytes(bits)

    def to_bytes(self) -> bytes:
        """The state as canonical bytes."""
        mask = bool(self.nonfinite) | bool(self.out_of_range) << 1
        counters = b"".join(varint(n) for n in (self.nonfinite, self.out_of_range) if n)
        if not self.count:
            return b"\x01\x00" + varint(mask) + counters
        weights = [*pair(self.weight), float(self.weight2)]
        if weights == [self.count, 0.0, self.count]:
            weights = []
        numbers: list[float] = []
        for name, exact in self.exact().items():
            numbers += pair(exact) if name in PAIRS else [float(exact)]
        mask |= bool(weights) << 2 | self.bare << 18
        for i, x in enumerate(numbers):
            mask |= bool(x) << (3 + i)
        doubles = weights + [x for x in numbers if x]
        return b"".join(
            (
                b"\x01",
                varint(self.count),
                varint(mask),
                counters,
                struct.pack(f"<{len(doubles)}d", *doubles),
                b"" if self.bare else self._histogram_bytes(),
            )
        )

    @staticmethod
    def from_bytes(data: bytes) -> "ReferenceStats":
        """The state that `to_bytes` wrote. What does not come out as it went in was no state."""
        if data[:1] > b"\x01":
            raise UnsupportedVersionError(f"a state of version {data[0]}")
        try:
            state = _read(ByteReader(data))
            same = state.to_bytes() == data
        except (IndexError, ArithmeticError, ValueError) as error:
            raise CorruptStateError(f"no state: {error}") from error
        if not same:
            raise CorruptStateError("not what a writer writes")
        return state


def pair(x: Fraction) -> list[float]:
    """Two doubles whose sum is nearest to x, the first being that sum rounded."""
    high = float(x)
    low = float(x - Fraction(high))
    total = high + low  # another double where low was rounded to half an ulp
    return [total, low - (total - high)]


def _read(reader: ByteReader) -> ReferenceStats:
    state = ReferenceStats()
    reader.byte()
    state.count, mask = reader.varint(), reader.varint()
    state.nonfinite = reader.varint() if mask & 1 else 0
    state.out_of_range = reader.varint() if mask & 2 else 0
    if not state.count:
        return state
    weights = [float(state.count), 0.0, float(state.count)]
    if mask & 4:
        weights = [reader.double() for _ in range(3)]
    state.weight, state.weight2 = Fraction(weights[0]) + Fraction(weights[1]), Fraction(weights[2])
    numbers: dict[str, Fraction] = {
        name: Fraction(reader.double()) if mask >> (3 + i) & 1 else Fraction(0)
        for i, name in enumerate(FIELDS)
    }
    for name in PAIRS:
        numbers[name] += numbers[name + "_lo"]
    _uncentre(state, numbers)
    state.bare = bool(mask >> 18 & 1)
    if not state.bare:
        _read_histogram(state, reader)
    return state


def _read_histogram(state: ReferenceStats, reader: ByteReader) -> None:
    state.zero_count = reader.varint()
    runs = []
    for _ in range(2):
        size = reader.varint()
        runs.append((unzigzag(reader.varint()) if size else 0, size))
        if size > SPAN:
            raise IndexError("too many buckets")
    bits = BitReader("".join(f"{byte:08b}" for byte in reader.data[reader.at :]))
    for side, (low, size) in zip(state.buckets, runs, strict=True):
        for i, n in enumerate(bits.counts(size)):
            if n:
                side[low + i] = n


def _uncentre(state: ReferenceStats, numbers: dict[str, Fraction]) -> None:
    """Sums of powers about zero from moments about the mean."""
    w, mean = state.weight, numbers["mean"]
    central = [w, Fraction(0), numbers["m2"], numbers["m3"], numbers["m4"]]
    state.powers = [
        sum((math.comb(k, j) * central[j] * mean ** (k - j) for j in range(k + 1)), Fraction(0))
        for k in range(5)
    ]
    state.abs_sum = numbers["abs_sum"]
    state.y_sum = w * numbers["y_mean"]
    state.yy_sum = numbers["y_m2"] + w * numbers["y_mean"] ** 2
    state.ye_sum = numbers["y_e"] + numbers["y_mean"] * w * mean
    state.min_error, state.max_error = float(numbers["min_error"]), float(numbers["max_error"])
