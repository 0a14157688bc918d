# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, freethreading_compatible=True
"""`ErrorStats`: how wrong predictions are, in one pass, constant memory, mergeable.

Layers: leaf maths (`_moments.pxd`), blocks (`_block.h`, `_fold.pxd`), counts (`_buckets.h`), all of
them (`_accumulator.pxd`), figures (`_figures.pxd`), bytes (`_codec`, `_histogram`, `_state.pxd`).
"""
cimport cython
from libc.math cimport sqrt

from edgemse.stats._accumulator cimport (
    BARE, NO_MEMORY, TOO_MANY, WAITING, acc_add, acc_clear, acc_copy, acc_flush, acc_from_bytes,
    acc_from_halves, acc_from_moments, acc_merge, acc_to_bytes, acc_view,
)
from edgemse.stats._buckets cimport (
    LIMIT, Buckets, buckets_bytes, buckets_clear, buckets_copy, buckets_count, buckets_free,
    buckets_merge, buckets_same, checked_share,
)
from edgemse.stats._columns cimport Column, column_acquire, column_release
from edgemse.stats._figures cimport (
    abs_quantile_of, correlation_of, effective_of, interval_of, kurtosis_of, mse_of, nrmse_of,
    quantile_of, r2_of, share_above_of, skewness_of, slope_of, standard_error_of, student_of,
    variance_of,
)
from edgemse.stats._fold cimport (
    ACCEPTED, NEGATIVE_WEIGHT, check_weights, fold_columns, judge, judge_weight, state_refuse,
)
from edgemse.stats._moments cimport State, dd_value, fabs, state_clear, state_merge
from edgemse.stats._state cimport state_same, state_tuple
from edgemse.stats.histogram cimport ResidualHistogram

__all__ = ["ErrorStats", "merge_all", "t_quantile"]

cdef double NAN = float("nan")

cdef enum:
    FREE_FROM = 16384  # samples of a batch from which on other threads may run meanwhile


@cython.final
cdef class ErrorStats:
    """Statistics of the error e = y_pred - y_true of one series, mergeable without loss.

    Mean, second moments and co-moment are carried as double-doubles: bias, error variance and MSE
    are correct to a few units in the last place whatever the offset, the order and the splitting
    (docs/numerics.md). A sample with a NaN or an infinity is counted in `nonfinite`, one with |e|
    or |y_true| above 2^200 in `out_of_range`; neither is folded in.

    Merging is commutative to the bit, and the empty state is its identity. Every figure of an empty
    state is NaN: no data is not a perfect model. So is a ratio to a spread of 0, or of one so small
    that the ratio is no double. One object may be used by several threads.

    Examples:
        >>> s = ErrorStats()
        >>> s.update(10.0, 10.5)
        >>> s.update_many([10.0, 11.0], [9.0, 11.5])
        >>> s
        ErrorStats(n=3, rmse=0.707107)
        >>> s.bias, s.mse, s.max_error
        (0.0, 0.5, 0.5)
    """

    def __cinit__(self):
        acc_clear(&self.acc)

    def __init__(self):
        pass  # so that arguments are refused

    def __dealloc__(self):
        buckets_free(&self.acc.buckets)

    @cython.critical_section
    def update(self, double y_true, double y_pred, double weight=1.0):
        """Fold one sample in.

        Args:
            y_true: the label.
            y_pred: the prediction, in the same unit.
            weight: from 2^-100 to 2^100. 0 leaves the sample out; NaN or infinity counts it in
                `nonfinite`, any other size in `out_of_range`.

        Raises:
            ValueError: the weight is negative.
            TypeError: something is no number; OverflowError: an int that no float64 holds.
        """
        self.add(y_true, y_pred, weight)

    cdef int add(self, double y_true, double y_pred, double weight) except -1:  # under a lock
        cdef double e = y_pred - y_true
        cdef int at = self.acc.waiting
        if weight != 1.0 or self.acc.detour or not (fabs(e) <= LIMIT and fabs(y_true) <= LIMIT):
            return self.add_one(y_true, y_pred, weight)
        if buckets_count(&self.acc.buckets, e):
            raise MemoryError
        self.acc.room[at] = y_true
        self.acc.room[WAITING + at] = e
        self.acc.waiting = at + 1
        if at + 1 == WAITING:
            acc_flush(&self.acc)
        return 0

    cdef int add_one(self, double y_true, double y_pred, double weight) except -1:
        """The long way: weighted, after a weighted one, without histogram, or to be refused."""
        cdef int why = judge_weight(weight)
        if why == NEGATIVE_WEIGHT:
            raise ValueError(f"the weight is {weight!r}; weights are not negative")
        if why == ACCEPTED:
            why = judge(y_true, y_pred)
        if why != ACCEPTED:
            state_refuse(&self.acc.state, why)
        elif acc_add(&self.acc, y_true, y_pred - y_true, weight):
            raise MemoryError
        return 0

    cdef State settled(self) noexcept:
        cdef State room
        with cython.critical_section(self):
            return acc_view(&self.acc, &room)[0]

    def update_many(self, y_true, y_pred, weight=None):
        """Fold a batch in.

        Args:
            y_true, y_pred: shape (n,): anything with a buffer of float64, float32, integers or bool
                (numpy, array, memoryview; contiguous float64 is not copied), a sequence or an
                iterable of numbers.
            weight: None for 1, or shape (n,); see `update`.

        Raises:
            ValueError: lengths or dimensions do not fit, or a weight is negative; nothing was
                folded in.
            TypeError: the items are not real numbers in the machine's byte order.
        """
        cdef Column y, pred, w
        y.held = pred.held = w.held = False
        try:
            column_acquire(&y, y_true, "y_true")
            column_acquire(&pred, y_pred, "y_pred")
            if y.n != pred.n:
                raise ValueError(f"y_true has {y.n} items and y_pred {pred.n}; they must pair up")
            if weight is not None:
                column_acquire(&w, weight, "weight")
                if w.n != y.n:
                    raise ValueError(f"weight has {w.n} items and y_true {y.n}; they must pair up")
                check_weights(&w)
            self.add_columns(&y, &pred, &w)
        finally:
            column_release(&y)
            column_release(&pred)
            column_release(&w)

    cdef int add_columns(self, const Column *y, const Column *pred, const Column *w) except -1:
        cdef State fresh
        cdef Buckets counts
        cdef int failed
        state_clear(&fresh)
        buckets_clear(&counts)
        if y.n < FREE_FROM:
            with cython.critical_section(self):
                failed = fold_columns(
                    &fresh, &counts if self.acc.detour & BARE else &self.acc.buckets, y, pred, w)
                acc_flush(&self.acc)
                state_merge(&self.acc.state, &fresh)
        else:
            with nogil:
                failed = fold_columns(&fresh, &counts, y, pred, w)
            with cython.critical_section(self):
                if not self.acc.detour & BARE:
                    failed = failed or buckets_merge(&self.acc.buckets, &counts)
                acc_flush(&self.acc)
                state_merge(&self.acc.state, &fresh)
        buckets_free(&counts)
        if failed:
            raise MemoryError
        return 0

    def merge(self, ErrorStats other not None):
        """Fold another's samples in; `other` stays as it is.

        Commutative to the bit, associative up to rounding (docs/numerics.md); counts and histogram
        are exact, and there is no histogram if one of the two has samples and none. OverflowError
        above 2^53 samples in all.
        """
        cdef int failed
        with cython.critical_section(self, other):
            failed = acc_merge(&self.acc, &other.acc)
        if failed:
            raise OverflowError("more than 2**53 samples") if failed == TOO_MANY else MemoryError()

    def __add__(self, other):
        """The merge of two states, in a new one."""
        if not isinstance(self, ErrorStats) or not isinstance(other, ErrorStats):
            return NotImplemented
        cdef ErrorStats new = (<ErrorStats> self).copy()
        new.merge(<ErrorStats> other)
        return new

    def __radd__(self, other):
        """So that `sum` of an iterable of states, which begins with 0, is their merge."""
        return self.copy() if type(other) is int and other == 0 else NotImplemented

    @cython.critical_section
    def copy(self):
        """An independent object that goes on exactly as this one would."""
        cdef ErrorStats new = ErrorStats.__new__(ErrorStats)
        if acc_copy(&new.acc, &self.acc):
            raise MemoryError
        return new

    @cython.critical_section
    def to_bytes(self, *, bint histogram=True):
        """The state as canonical bytes: equal states, equal bytes (docs/wire.md, "The state").

        Args:
            histogram: False leaves the histogram out and says so in the bytes.
        """
        return acc_to_bytes(&self.acc, histogram)

    @staticmethod
    def from_bytes(data):
        """The state that `to_bytes` wrote, by this or any earlier version of edgemse.

        Args:
            data: bytes or anything with a buffer.

        Raises:
            CorruptStateError: the bytes were cut or altered, or are something else.
            UnsupportedVersionError: a newer edgemse wrote them.
            TypeError: `data` has no buffer.
        """
        cdef ErrorStats new = ErrorStats.__new__(ErrorStats)
        acc_from_bytes(&new.acc, data if type(data) is bytes else bytes(memoryview(data)))
        return new

    def moments(self):
        """Everything but the histogram as a `Moments` tuple, exact to the bit."""
        from edgemse.stats.moments import Moments  # not before: it loads typing
        return Moments._make(state_tuple(self.settled()))

    @staticmethod
    def from_moments(moments, histogram):
        """The state of which `moments` and `histogram` are the two halves.

        Args:
            moments: a `Moments`, or its values in that order.
            histogram: of the same samples, a `ResidualHistogram` or its bytes (`split_state` gives
                such halves); None or b"" for a state without histogram.

        Raises:
            CorruptStateError: the values do not fit each other or the histogram.
            UnsupportedVersionError: a newer edgemse wrote the histogram.
        """
        cdef ErrorStats new = ErrorStats.__new__(ErrorStats)
        if isinstance(histogram, ResidualHistogram):
            acc_from_moments(&new.acc, moments, &(<ResidualHistogram> histogram).buckets)
        elif histogram is None or len(histogram) == 0:
            acc_from_moments(&new.acc, moments, NULL)
        else:
            acc_from_halves(&new.acc, moments, histogram)
        return new

    def to_dict(self):
        """Every figure by its name; NaN where there is none, quantiles of |e| as `abs_p50`...

        Examples:
            >>> s = ErrorStats()
            >>> s.update(1.0, 1.5)
            >>> s.to_dict()["mse"], s.to_dict()["abs_p95"]
            (0.25, 0.5)
        """
        from edgemse.stats.figures import figures_of  # not before: devices need none
        return figures_of(self)

    @property
    def count(self):
        """How many samples were accepted."""
        return self.settled().count

    @property
    def weight(self):
        """W, the sum of their weights; the count when all weigh 1, 0.0 when empty."""
        return dd_value(self.settled().weight)

    @property
    def effective_count(self):
        """W^2 / sum of w^2 (Kish): as many equal weights tell as much; 0.0 when empty."""
        return effective_of(self.settled())

    @property
    def nonfinite(self):
        """How many samples were refused for a NaN or an infinity."""
        return self.settled().nonfinite

    @property
    def out_of_range(self):
        """How many were refused for |e|, |y_true| or the weight being out of range."""
        return self.settled().out_of_range

    @property
    def mse(self):
        """Mean squared error, mean^2 + m2 / W, in squared units of y."""
        return mse_of(self.settled())

    @property
    def rmse(self):
        """Root of the mean squared error, in units of y."""
        return sqrt(mse_of(self.settled()))

    @property
    def bias(self):
        """Mean error; positive where predictions are too high."""
        cdef State s = self.settled()
        return dd_value(s.mean) if s.count else NAN

    @property
    def error_variance(self):
        """Population variance of the errors, m2 / W; 0.0 for one sample."""
        return variance_of(self.settled())

    @property
    def skewness(self):
        """Population skewness of the errors; NaN when their variance is 0."""
        return skewness_of(self.settled())

    @property
    def kurtosis(self):
        """Population kurtosis of the errors, 3 if normal; NaN when their variance is 0."""
        return kurtosis_of(self.settled())

    @property
    def mae(self):
        """Mean absolute error, in units of y."""
        cdef State s = self.settled()
        return s.abs_sum / s.weight.hi if s.count else NAN

    @property
    def min_error(self):
        """The smallest error, exactly."""
        cdef State s = self.settled()
        return s.low if s.count else NAN

    @property
    def max_error(self):
        """The largest error, exactly."""
        cdef State s = self.settled()
        return s.high if s.count else NAN

    @property
    def r2(self):
        """1 - MSE / variance of y_true; NaN when that variance is 0."""
        return r2_of(self.settled())

    @property
    def nrmse(self):
        """RMSE over the population standard deviation of y_true; NaN when that is 0."""
        return nrmse_of(self.settled())

    @property
    def correlation(self):
        """Pearson's correlation of y_true and y_pred; NaN when either is constant."""
        return correlation_of(self.settled())

    @property
    def calibration_slope(self):
        """Slope of y_true on y_pred, ideally 1; NaN when y_pred is constant."""
        return slope_of(self.settled())

    @property
    def mse_standard_error(self):
        """Standard error of `mse` for independent samples; NaN below two of them.

        sqrt(Var(e^2) / (n - 1)) with Var(e^2) = mu4 - mu2^2 + 4 bias mu3 + 4 bias^2 mu2, which is
        exact; n is `effective_count`, right where weights do not depend on the size of the error.
        """
        return standard_error_of(self.settled())

    @cython.critical_section
    def mse_interval(self, double confidence=0.95):
        """Confidence interval (low, high) of the MSE, for independent samples only.

        mse exp(-+ t se / mse), t being Student's with Satterthwaite's degrees of freedom, which
        come from the kurtosis of e^2 in the histogram. Errors that follow each other closely make
        it far too short: compare windows instead (docs/numerics.md). (nan, nan) below 20 samples
        (or an effective count of 20): not enough data; and without a histogram. A point when e^2
        never varies.

        Raises:
            ValueError: the confidence is not between 0 and 1, exclusive.
        """
        cdef State room
        cdef double low, high
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"a confidence lies between 0 and 1, not {confidence!r}")
        interval_of(acc_view(&self.acc, &room)[0], &self.acc.buckets, confidence, &low, &high)
        return low, high

    def rmse_interval(self, double confidence=0.95):
        """Square roots of `mse_interval`."""
        low, high = self.mse_interval(confidence)
        return sqrt(low), sqrt(high)

    @cython.critical_section
    def quantile(self, double q):
        """The q-quantile of the errors, interpolated inside its bucket; NaN without histogram.

        Less than 9.1 % (one bucket, 2^(1/8) - 1) from the sample of that rank, usually under 1 %;
        exact at 0 and 1. Counts samples, not weights. ValueError unless 0 <= q <= 1.
        """
        cdef State room
        return quantile_of(acc_view(&self.acc, &room)[0], &self.acc.buckets, checked_share(q))

    @cython.critical_section
    def abs_quantile(self, double q):
        """The q-quantile of |e|; see `quantile`. Exact at 1."""
        cdef State room
        return abs_quantile_of(acc_view(&self.acc, &room)[0], &self.acc.buckets, checked_share(q))

    @cython.critical_section
    def share_above(self, double t):
        """The share of samples with |e| > t, log-linear inside t's bucket; NaN without histogram.

        Exact where t is a bucket's bound, 8 log2(t) being whole, and beyond the largest |e|.
        Elsewhere `histogram.share_above_bounds` tells what is certain. Counts samples, not weights.
        ValueError when t is NaN.
        """
        cdef State room
        if t != t:
            raise ValueError("the tolerance is NaN; a number is wanted")
        return share_above_of(acc_view(&self.acc, &room)[0], &self.acc.buckets, t)

    @property
    def has_histogram(self):
        """Whether every sample is counted in a histogram; True for an empty state."""
        with cython.critical_section(self):
            return not self.acc.detour & BARE

    @property
    def histogram(self):
        """A copy of the histogram of the errors, a `ResidualHistogram`; None if there is none."""
        cdef ResidualHistogram new = ResidualHistogram.__new__(ResidualHistogram)
        with cython.critical_section(self):
            if self.acc.detour & BARE:
                return None
            if buckets_copy(&new.buckets, &self.acc.buckets):
                raise MemoryError
        return new

    def __reduce__(self):
        return ErrorStats.from_bytes, (self.to_bytes(),)

    def __eq__(self, other):
        """The same numbers, however they came about."""
        cdef State mine, theirs
        cdef ErrorStats that
        if not isinstance(other, ErrorStats):
            return NotImplemented
        that = <ErrorStats> other
        with cython.critical_section(self, that):
            return (state_same(acc_view(&self.acc, &mine), acc_view(&that.acc, &theirs))
                    and (self.acc.detour ^ that.acc.detour) & BARE == 0
                    and buckets_same(&self.acc.buckets, &that.acc.buckets))

    __hash__ = None

    def __repr__(self):
        return f"ErrorStats(n={self.count}, rmse={self.rmse:.6g})"

    def __sizeof__(self):
        return object.__sizeof__(self) + buckets_bytes(&self.acc.buckets)


def merge_all(states):
    """The merge of all states of an iterable, in their order; empty for none.

    Examples:
        >>> merge_all([])
        ErrorStats(n=0, rmse=nan)
    """
    cdef ErrorStats total = ErrorStats.__new__(ErrorStats)
    for state in states:
        total.merge(state)
    return total


def t_quantile(double two_tails, double freedom):
    """Student's t: the t with P(|T| > t) = `two_tails`, to 1e-3 or better.

    Args:
        two_tails: from 0 to 1, exclusive.
        freedom: the degrees of freedom, any number >= 2.

    Examples:
        >>> round(t_quantile(0.05, 2), 6), round(t_quantile(0.05, 30), 4)
        (4.302653, 2.0423)
    """
    if not (0.0 < two_tails < 1.0 and freedom >= 2.0):
        raise ValueError("wanted tails between 0 and 1 and at least 2 degrees of freedom, not "
                         f"{two_tails!r} and {freedom!r}")
    return student_of(two_tails, freedom)
