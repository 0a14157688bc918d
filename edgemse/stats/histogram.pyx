# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, freethreading_compatible=True
"""The signed exponential histogram of errors, by itself."""
cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t

from edgemse.stats._buckets cimport (
    INFINITY, LIMIT, MAX_COUNT, NAN, NEGATIVE, NO_TOP, POSITIVE, SPAN, Side, bucket_bound,
    buckets_above_bounds, buckets_abs_quantile, buckets_bytes, buckets_clear, buckets_copy,
    buckets_count, buckets_free, buckets_merge, buckets_quantile, buckets_same,
    buckets_samples_above, buckets_square_kurtosis, checked_share, fabs, side_get, side_trim,
)
from edgemse.stats._codec cimport (
    COUNTS_MAX, Runs, Writer, buckets_from_runs, put_buckets, put_byte, writer_close, writer_open,
)
from edgemse.stats._histogram cimport FIRST_BYTE, histogram_parse

__all__ = ["ResidualHistogram"]


cdef list counts_of(const Side *s, int *low):
    cdef int size, i
    side_trim(s, low, &size)
    return [side_get(s, low[0] - s.low + i) for i in range(size)]


@cython.final
cdef class ResidualHistogram:
    """Counts of errors in buckets (2^(i/8), 2^((i+1)/8)] of their magnitude, per sign.

    The buckets are OpenTelemetry's exponential histogram at scale 3, bounds inclusive above, to the
    bit. It counts samples; weights do not enter. Zero and everything 64 octaves or more below the
    largest magnitude (of either sign) share the zero bucket; this cut commutes with merging, which
    is exact in any order. At most 512 buckets a sign.

    Source: OpenTelemetry metrics data model, section ExponentialHistogram.

    Examples:
        >>> h = ResidualHistogram()
        >>> for e in (0.5, -2.0, 2.0, 2.1):
        ...     h.update(e)
        >>> h.positive()
        (-9, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
        >>> h.negative()
        (7, [1])
    """

    def __cinit__(self):
        buckets_clear(&self.buckets)

    def __init__(self):
        pass  # so that arguments are refused

    def __dealloc__(self):
        buckets_free(&self.buckets)

    @cython.critical_section
    def update(self, double e):
        """Count one error. ValueError when it is NaN, infinite or above 2^200 in magnitude."""
        if not fabs(e) <= LIMIT:
            raise ValueError(f"an error must be finite and at most 2**200 in magnitude, not {e!r}")
        if buckets_count(&self.buckets, e):
            raise MemoryError

    def merge(self, ResidualHistogram other not None):
        """Add the counts of another histogram; exact, associative and commutative.

        OverflowError above 2^53 errors in all.
        """
        with cython.critical_section(self, other):
            if self.buckets.total + other.buckets.total > MAX_COUNT:
                raise OverflowError("more than 2**53 errors in one histogram")
            if buckets_merge(&self.buckets, &other.buckets):
                raise MemoryError

    @cython.critical_section
    def copy(self):
        """An independent histogram with the same counts."""
        cdef ResidualHistogram new = ResidualHistogram.__new__(ResidualHistogram)
        if buckets_copy(&new.buckets, &self.buckets):
            raise MemoryError
        return new

    @property
    def count(self):
        """How many errors were counted."""
        with cython.critical_section(self):
            return self.buckets.total

    @property
    def zero_count(self):
        """How many were zero, or at most `zero_threshold` in magnitude."""
        return self.buckets.zero

    @property
    def zero_threshold(self):
        """The magnitude up to which an error counts as zero, 2^-64 of the largest bucket's bound.

        0.0 when nothing but zeros was counted.
        """
        if self.buckets.top == NO_TOP:
            return 0.0
        return bucket_bound(self.buckets.top - SPAN + 1)

    @cython.critical_section
    def positive(self):
        """(offset, counts) of the positive errors, as an OTLP data point has them.

        `counts[k]` are those in (base^(offset + k), base^(offset + k + 1)], base = 2^(1/8); none
        are (0, []).
        """
        cdef int low
        counts = counts_of(&self.buckets.sides[POSITIVE], &low)
        return low, counts

    @cython.critical_section
    def negative(self):
        """(offset, counts) of the negative errors, by magnitude; see `positive`."""
        cdef int low
        counts = counts_of(&self.buckets.sides[NEGATIVE], &low)
        return low, counts

    @cython.critical_section
    def quantile(self, double q):
        """The q-quantile of the errors, interpolated inside its bucket; NaN when empty.

        The sample of that rank lies in the same bucket, so the two differ by less than 9.1 %
        (2^(1/8) - 1); on smooth data usually by less than 1 %. ValueError unless 0 <= q <= 1.
        """
        return buckets_quantile(&self.buckets, checked_share(q))

    @cython.critical_section
    def abs_quantile(self, double q):
        """The q-quantile of the magnitudes of the errors; see `quantile`."""
        return buckets_abs_quantile(&self.buckets, checked_share(q))

    @cython.critical_section
    def share_above(self, double t):
        """The share of errors with |e| > t, log-linear inside t's bucket; NaN when empty.

        Exact where t is a bucket's bound, 8 log2(t) being whole; `share_above_bounds` tells what is
        certain elsewhere. ValueError when t is NaN.
        """
        if t != t:
            raise ValueError("the tolerance is NaN; a number is wanted")
        return buckets_samples_above(&self.buckets, t) / <double> self.buckets.total

    @cython.critical_section
    def share_above_bounds(self, double t):
        """(low, high) between which the share of errors with |e| > t lies for certain."""
        cdef double low, high, total = <double> self.buckets.total
        if t != t:
            raise ValueError("the tolerance is NaN; a number is wanted")
        buckets_above_bounds(&self.buckets, t, &low, &high)
        return low / total, high / total

    @cython.critical_section
    def square_kurtosis(self, double unit):
        """The kurtosis of e^2, every bucket being filled evenly; 1.0 where e^2 does not vary.

        It does not depend on `unit`, which keeps e^8 in range: about the errors' root mean square.
        NaN when empty. ValueError unless `unit` is positive and finite.
        """
        if not 0.0 < unit < INFINITY:
            raise ValueError(f"the unit of a kurtosis must be positive and finite, not {unit!r}")
        if not self.buckets.total:
            return NAN
        return buckets_square_kurtosis(&self.buckets, unit)

    @cython.critical_section
    def to_bytes(self):
        """The counts as canonical bytes: equal histograms, equal bytes (docs/wire.md)."""
        cdef Writer w
        if writer_open(&w):
            raise MemoryError
        try:
            put_byte(&w, FIRST_BYTE)
            put_buckets(&w, &self.buckets)
            if w.failed:
                raise MemoryError
            return PyBytes_FromStringAndSize(<char *> w.data, w.size)
        finally:
            writer_close(&w)

    @staticmethod
    def from_bytes(data):
        """The histogram that `to_bytes` wrote.

        Args:
            data: bytes or anything with a contiguous buffer.

        Raises:
            CorruptStateError: the bytes were cut or altered, or are something else.
            UnsupportedVersionError: a newer edgemse wrote them.
            TypeError: `data` has no buffer.
        """
        cdef ResidualHistogram new = ResidualHistogram.__new__(ResidualHistogram)
        cdef uint64_t counts[COUNTS_MAX]
        cdef Runs runs
        histogram_parse(data if type(data) is bytes else bytes(memoryview(data)), &runs, counts)
        if buckets_from_runs(&new.buckets, &runs, counts):
            raise MemoryError
        return new

    def __reduce__(self):
        return ResidualHistogram.from_bytes, (self.to_bytes(),)

    def __eq__(self, other):
        if not isinstance(other, ResidualHistogram):
            return NotImplemented
        cdef ResidualHistogram that = <ResidualHistogram> other
        with cython.critical_section(self, that):
            return buckets_same(&self.buckets, &that.buckets)

    __hash__ = None

    def __repr__(self):
        return f"ResidualHistogram(n={self.count}, zero={self.zero_count})"

    def __sizeof__(self):
        return object.__sizeof__(self) + buckets_bytes(&self.buckets)
