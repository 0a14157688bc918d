# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, freethreading_compatible=True
"""The signed exponential histogram of errors, by itself."""
cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memset

from edgemse.errors import CorruptStateError, UnsupportedVersionError

from edgemse.stats._buckets cimport (
    LIMIT, NEGATIVE, NO_TOP, POSITIVE, SPAN, Side, above_bounds, absolute_quantile, bound,
    buckets_bytes, buckets_clear, buckets_copy, buckets_free, buckets_merge, checked_share,
    count_one, fabs, get, samples_above, same_buckets, signed_quantile, trim,
)
from edgemse.stats._codec cimport (
    Reader, Writer, get_buckets, get_byte, put_buckets, put_byte, writer_close, writer_open,
)

__all__ = ["ResidualHistogram"]

cdef enum:
    FIRST_BYTE = 0x41  # "histogram, version 1"; a whole state starts with 0x01


cdef list counts_of(const Side *s, int *low):
    cdef int size, i
    trim(s, low, &size)
    return [get(s, low[0] - s.low + i) for i in range(size)]


cdef int check_first_byte(bytes raw) except -1:
    if not raw:
        raise CorruptStateError("no bytes at all; a histogram starts with 0x41")
    if 0x41 < raw[0] < 0x80:
        raise UnsupportedVersionError(
            f"a histogram of version {raw[0] - 0x40}; this edgemse reads version 1: upgrade it")
    if raw[0] != FIRST_BYTE:
        raise CorruptStateError(f"the first byte is 0x{raw[0]:02x}; a histogram starts with 0x41")
    return 0


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

    def __dealloc__(self):
        buckets_free(&self.buckets)

    @cython.critical_section
    def update(self, double e):
        """Count one error. ValueError when it is NaN, infinite or above 2^200 in magnitude."""
        if not fabs(e) <= LIMIT:
            raise ValueError(f"an error must be finite and at most 2**200 in magnitude, not {e!r}")
        if count_one(&self.buckets, e):
            raise MemoryError

    def merge(self, ResidualHistogram other not None):
        """Add the counts of another histogram; exact, associative and commutative."""
        with cython.critical_section(self, other):
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
        """The magnitude up to which an error counts as zero: 2^-64 of the largest bucket or so."""
        if self.buckets.top == NO_TOP:
            return 0.0
        return bound(self.buckets.top - SPAN + 1)

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
        return signed_quantile(&self.buckets, checked_share(q))

    @cython.critical_section
    def abs_quantile(self, double q):
        """The q-quantile of the magnitudes of the errors; see `quantile`."""
        return absolute_quantile(&self.buckets, checked_share(q))

    @cython.critical_section
    def share_above(self, double t):
        """The share of errors with |e| > t, log-linear inside t's bucket; NaN when empty.

        Exact where t is a bucket's bound, 8 log2(t) being whole; `share_above_bounds` tells what is
        certain elsewhere. ValueError when t is NaN.
        """
        if t != t:
            raise ValueError("the tolerance is NaN; a number is wanted")
        return samples_above(&self.buckets, t) / <double> self.buckets.total

    @cython.critical_section
    def share_above_bounds(self, double t):
        """(low, high) between which the share of errors with |e| > t lies for certain."""
        cdef double low, high, total = <double> self.buckets.total
        if t != t:
            raise ValueError("the tolerance is NaN; a number is wanted")
        above_bounds(&self.buckets, t, &low, &high)
        return low / total, high / total

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
        cdef bytes raw = bytes(memoryview(data))
        cdef Reader r
        cdef int result
        memset(&r, 0, sizeof(Reader))
        r.data = raw
        r.size = len(raw)
        check_first_byte(raw)
        get_byte(&r)
        result = get_buckets(&r, &new.buckets)
        if result < 0:
            raise MemoryError
        if result > 0 or r.at != r.size:
            raise CorruptStateError("these bytes are not a histogram: cut short, altered, or "
                                    "something else")
        return new

    def __reduce__(self):
        return ResidualHistogram.from_bytes, (self.to_bytes(),)

    def __eq__(self, other):
        if not isinstance(other, ResidualHistogram):
            return NotImplemented
        cdef ResidualHistogram that = <ResidualHistogram> other
        with cython.critical_section(self, that):
            return same_buckets(&self.buckets, &that.buckets)

    __hash__ = None

    def __repr__(self):
        return f"ResidualHistogram(n={self.count}, zero={self.zero_count})"

    def __sizeof__(self):
        return object.__sizeof__(self) + buckets_bytes(&self.buckets)
