"""The numbers of a state, as the columns of a table."""

from typing import NamedTuple

__all__ = ["Moments"]


class Moments(NamedTuple):
    """Everything of an `ErrorStats` but its histogram.

    A pair `x`, `x_lo` is one number, the unevaluated sum of the two. Sums are weighted; `m2`, `m3`
    and `m4` are sums of powers of the error about its mean (not divided by anything), `y_e` is the
    sum of products of label and error, each about its mean. Of an empty state every float is 0.0
    but `min_error` = inf and `max_error` = -inf.
    """

    count: int  # type: ignore[assignment]  # tuple.count is not wanted on a row of numbers
    weight: float
    weight_lo: float
    weight2: float
    mean: float
    mean_lo: float
    m2: float
    m2_lo: float
    m3: float
    m4: float
    abs_sum: float
    min_error: float
    max_error: float
    y_mean: float
    y_mean_lo: float
    y_m2: float
    y_m2_lo: float
    y_e: float
    y_e_lo: float
    nonfinite: int
    out_of_range: int
