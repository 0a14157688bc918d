"""`LossStats`: any loss of one sample, followed with the same algebra as the error."""

from __future__ import annotations

import math
import struct
from array import array
from typing import Any, SupportsFloat, SupportsIndex, final

from edgemse.errors import CorruptStateError, MergeError, UnsupportedVersionError
from edgemse.stats.columns import as_doubles
from edgemse.stats.error_stats import ErrorStats, t_quantile
from edgemse.stats.losses import LOSSES
from edgemse.stats.measures import checked_parameters, follow_loss, measure_of_loss

__all__ = ["LossStats"]

VERSION = 0x81
"""The first byte: 0x80 for a loss, and version 1 (docs/wire.md)."""
ENOUGH = 20  # accepted samples below which no interval is given, as in ErrorStats


@final
class LossStats:
    """Statistics of a per-sample loss of one series, mergeable without loss.

    It is a loss and one `ErrorStats` that is fed with (0, loss), so that it is as exact, as small,
    as safe between threads and merges by the same rules: mean and second moment of the losses are
    compensated, minimum, maximum, counts and the histogram are exact.

    Args:
        loss: `brier`, `huber`, `log_loss`, `mape`, `pinball`, `rmsle` or `smape`
            (edgemse/stats/losses.py and docs/adapters.md give their formulas and domains).
        parameters: `delta` of huber, `floor` of mape and `quantile` of pinball must be given;
            `clip` of log_loss is 2^-52 unless given; the others have none.

    Raises:
        ValueError: there is no such loss, or its parameter is missing or not in its range.

    Every figure of an empty state is NaN. *Merge*: the empty state of the same loss is the
    identity; commutative to the bit, associative up to rounding.

    Examples:
        >>> losses = LossStats("huber", delta=1.0)
        >>> losses.update(10.0, 10.5)
        >>> losses.update_many([10.0, 11.0], [7.0, 11.5])
        >>> losses
        LossStats('huber', delta=1.0, n=3, huber=0.916667)
        >>> losses.min, losses.max
        (0.125, 2.5)
    """

    __slots__ = ("_losses", "_parameters", "_value", "loss")

    def __init__(self, loss: str, **parameters: float) -> None:
        self._parameters = checked_parameters(loss, parameters)
        self.loss = loss
        self._value: Any = follow_loss(self.measure).value
        self._losses = ErrorStats()

    def update(
        self,
        y_true: SupportsFloat | SupportsIndex,
        y_pred: SupportsFloat | SupportsIndex,
        weight: SupportsFloat | SupportsIndex = 1.0,
    ) -> None:
        """Fold one sample in.

        Args:
            y_true: the label.
            y_pred: the prediction; of `log_loss` and `brier` the probability that y_true is 1.
            weight: as in `ErrorStats.update`.

        A NaN or an infinity counts in `nonfinite`, a sample outside the loss's domain in
        `out_of_domain`; neither is folded in.

        Raises:
            ValueError: the weight is negative.
        """
        if type(y_true) is not float or type(y_pred) is not float:
            sample: Any = (y_true, y_pred)
            y_true, y_pred = array("d", sample)
        self._losses.update(0.0, self._value(y_true, y_pred), weight)

    def update_many(self, y_true: Any, y_pred: Any, weight: Any = None) -> None:
        """Fold a batch in; columns and errors are those of `ErrorStats.update_many`.

        Raises:
            ValueError: lengths or dimensions do not fit, or a weight is negative; nothing was
                folded in.
            TypeError: the items are not real numbers.
        """
        labels, predictions = as_doubles(y_true, "y_true"), as_doubles(y_pred, "y_pred")
        if len(labels) != len(predictions):
            raise ValueError(
                f"y_true has {len(labels)} items and y_pred {len(predictions)}; they must pair up"
            )
        zeros = array("d", bytes(8 * len(labels)))
        self._losses.update_many(zeros, array("d", map(self._value, labels, predictions)), weight)

    def merge(self, other: LossStats) -> None:
        """Fold another's samples in; `other` stays as it is.

        Raises:
            MergeError: it follows another loss, or the same with another parameter.
            OverflowError: more than 2^53 samples in all.
        """
        if not isinstance(other, LossStats):
            raise TypeError(f"a LossStats merges with a LossStats, not {type(other).__name__}")
        if (self.loss, self._parameters) != (other.loss, other._parameters):
            raise MergeError(
                f"a state of {self.measure} cannot take in one of {other.measure};"
                " keep one state for each loss"
            )
        self._losses.merge(other._losses)

    def copy(self) -> LossStats:
        """Return an independent object that goes on exactly as this one would."""
        new = LossStats(self.loss, **self.parameters)
        new._losses = self._losses.copy()
        return new

    @property
    def parameters(self) -> dict[str, float]:
        """The loss's parameters by name; empty where it has none."""
        return dict(zip((LOSSES[self.loss].parameter,), self._parameters, strict=False))

    @property
    def measure(self) -> str:
        """What the loss is called in a fleet: `loss:huber(delta=1)`. Equal losses, equal names.

        `edgemse.stats.measures` has the way back, and to the number that it makes of a sample.
        """
        return measure_of_loss(self.loss, self._parameters)

    @property
    def losses(self) -> ErrorStats:
        """A copy of the statistics of the losses, each being an error with label 0.

        Its `quantile`, `share_above` and `histogram` are of the losses as well; its `r2`,
        `nrmse` and `correlation` are NaN.
        """
        return self._losses.copy()

    @property
    def count(self) -> int:
        """How many samples were accepted."""
        return self._losses.count

    @property
    def weight(self) -> float:
        """W, the sum of their weights; 0.0 when empty."""
        return self._losses.weight

    @property
    def nonfinite(self) -> int:
        """How many samples were refused for a NaN or an infinity."""
        return self._losses.nonfinite

    @property
    def out_of_domain(self) -> int:
        """How many finite samples were refused.

        Outside the loss's domain, or with |e|, |y_true| or the loss above 2^200, or with a weight
        outside 2^-100 to 2^100.
        """
        return self._losses.out_of_range

    @property
    def mean(self) -> float:
        """Weighted mean of the losses; NaN when empty."""
        return self._losses.bias

    @property
    def value(self) -> float:
        """The figure of the loss's name: `mean`, of `rmsle` its root; NaN when empty."""
        return math.sqrt(self.mean) if LOSSES[self.loss].root else self.mean

    @property
    def variance(self) -> float:
        """Population variance of the losses; NaN when empty."""
        return self._losses.error_variance

    @property
    def min(self) -> float:
        """The smallest loss, exactly; NaN when empty."""
        return self._losses.min_error

    @property
    def max(self) -> float:
        """The largest loss, exactly; NaN when empty."""
        return self._losses.max_error

    @property
    def standard_error(self) -> float:
        """Standard error of `mean`, for independent samples; NaN below two of them.

        sqrt(variance / (n - 1)), n being W^2 / sum of w^2.
        """
        freedom = self._losses.effective_count - 1.0
        return math.sqrt(self.variance / freedom) if freedom > 0.0 else math.nan

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Confidence interval (low, high) of `mean`, for independent samples only.

        mean exp(-+ t se / mean): losses are not negative and skewed. t is Student's, with
        Satterthwaite's degrees of freedom from the kurtosis of the losses, as in
        `ErrorStats.mse_interval`. (nan, nan) below 20 samples (or an effective count of 20): not
        enough data. A point when the loss never varies. Of `value` for rmsle: the roots of both.

        Raises:
            ValueError: the confidence is not between 0 and 1, exclusive.
        """
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"a confidence lies between 0 and 1, not {confidence!r}")
        losses = self._losses.copy()  # so that count, mean and variance are of one moment
        n, mean, variance = losses.effective_count, losses.bias, losses.error_variance
        if losses.count < ENOUGH or n < ENOUGH:
            return math.nan, math.nan
        if variance == 0.0:
            return mean, mean
        freedom = 2.0 * n / (losses.kurtosis - 1.0 + 2.0 / (n - 1.0))
        freedom = min(max(freedom, 2.0), n - 1.0)
        ratio = math.sqrt(variance / (n - 1.0)) / mean
        reach = math.exp(t_quantile(1.0 - confidence, freedom) * ratio)
        return mean / reach, mean * reach

    def quantile(self, q: float) -> float:
        """The q-quantile of the losses, from the histogram; see `ErrorStats.quantile`."""
        return self._losses.quantile(q)

    def to_bytes(self) -> bytes:
        """Return the state as canonical bytes: equal states, equal bytes (docs/wire.md)."""
        name = self.loss.encode()
        parameters = struct.pack(f"<{len(self._parameters)}d", *self._parameters)
        return bytes((VERSION, len(name))) + name + parameters + self._losses.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> LossStats:
        """Return the state that `to_bytes` wrote, by this or any earlier version of edgemse.

        Raises:
            CorruptStateError: the bytes were cut or altered, or are something else.
            UnsupportedVersionError: a newer edgemse wrote them.
            TypeError: `data` has no buffer.
        """
        raw = bytes(memoryview(data))
        if len(raw) < 2 or raw[0] & 0xC0 != VERSION & 0xC0:
            raise CorruptStateError("these bytes are no state of a loss")
        if raw[0] != VERSION:
            raise UnsupportedVersionError(
                f"a state of a loss of version {raw[0] & 0x3F}; this edgemse reads version 1"
            )
        end = 2 + raw[1]
        name = raw[2:end].decode("ascii", "replace")
        if name not in LOSSES:
            raise CorruptStateError(f"a state of a loss {name!r}, which there is not")
        parameters = {}
        if LOSSES[name].parameter:
            if len(raw) < end + 8:
                raise CorruptStateError(f"a state of {name} is cut inside its parameter")
            (parameters[LOSSES[name].parameter],) = struct.unpack_from("<d", raw, end)
            end += 8
        try:
            new = cls(name, **parameters)
        except ValueError as error:
            raise CorruptStateError(str(error)) from None
        new._losses = _checked(ErrorStats.from_bytes(raw[end:]))
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        return LossStats.from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        """The same loss and the same numbers, however they came about."""
        if not isinstance(other, LossStats):
            return NotImplemented
        same = (self.loss, self._parameters) == (other.loss, other._parameters)
        return same and self._losses == other._losses

    __hash__ = None  # type: ignore[assignment]  # mutable, like ErrorStats

    def __repr__(self) -> str:
        parameters = "".join(f"{name}={value!r}, " for name, value in self.parameters.items())
        figure = f"n={self.count}, {self.loss}={self.value:.6g}"
        return f"LossStats({self.loss!r}, {parameters}{figure})"


def _checked(losses: ErrorStats) -> ErrorStats:
    """Return `losses` if that can be the statistics of losses, else raise CorruptStateError."""
    m = losses.moments()
    if losses.count and (m.min_error < 0.0 or (m.y_mean, m.y_m2, m.y_e) != (0.0, 0.0, 0.0)):
        raise CorruptStateError("a state of a loss with a label or a negative loss")
    return losses
