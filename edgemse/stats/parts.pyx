# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, freethreading_compatible=True
"""States and coverages in bytes taken to pieces, fully checked, for the columns of a table.

No object of a state is made, and histograms are passed on as they came.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memset

from edgemse.errors import CorruptStateError
from edgemse.stats.moments import Moments

from edgemse.stats._buckets cimport MAX_COUNT, NEGATIVE, NO_TOP, bucket_index
from edgemse.stats._codec cimport (
    COUNTS_MAX, Reader, Runs, Writer, get_varint, put_varint, writer_close, writer_open,
)
from edgemse.stats._histogram cimport GOOD, histogram_read, histogram_tail
from edgemse.stats._moments cimport State
from edgemse.stats._state cimport read_state, state_tuple

__all__ = ["join_coverage", "split_coverage", "split_state"]

cdef object NEW_TUPLE = tuple.__new__  # what Moments._make does, without its detour
cdef bytes NOTHING_COUNTED = b"\x41\x00\x00\x00"  # the bytes of an empty histogram

cdef enum:
    COVERAGE_NUMBERS = 8
    COVERAGE_COUNTERS = 6
    COVERAGE_MATCHED = 1
    COVERAGE_LAG_SUM = 6
    COVERAGE_LAG_MAX = 7


def split_state(data):
    """The two halves of a state's bytes: its `Moments`, and the bytes of its histogram.

    As thoroughly checked as `ErrorStats.from_bytes` does it, which reads the same. The second half
    is what `ErrorStats.histogram.to_bytes()` would be, of an empty state that of an empty
    histogram; b"" where a state of samples has none. `ErrorStats.from_moments` takes both back.

    Args:
        data: bytes or anything with a buffer.

    Raises:
        CorruptStateError: the bytes were cut or altered, or are something else.
        UnsupportedVersionError: a newer edgemse wrote them.
        TypeError: `data` has no buffer.
    """
    cdef bytes raw = data if type(data) is bytes else bytes(memoryview(data))
    cdef uint64_t counts[COUNTS_MAX]
    cdef State s
    cdef Runs runs
    cdef bytes histogram = b""
    cdef Py_ssize_t start = read_state(raw, &s, &runs, counts)
    if s.count == 0:
        histogram = NOTHING_COUNTED
    elif start:
        histogram = histogram_tail(raw, start)
    return NEW_TUPLE(Moments, state_tuple(s)), histogram


cdef bint good_lags(const uint64_t *n, const Runs *lags) noexcept:
    """The histogram holds each matched label's lag, and the longest one is the longest."""
    cdef uint64_t longest = n[COVERAGE_LAG_MAX]
    cdef uint64_t total = n[COVERAGE_LAG_SUM]
    if lags.total != n[COVERAGE_MATCHED] or lags.size[NEGATIVE] or longest > total:
        return False
    if longest == 0:
        return total == 0 and lags.top == NO_TOP
    if (total - 1) // longest + 1 > n[COVERAGE_MATCHED]:
        return False
    # Above 2^53 ms, and who would wait so long, the division by 1000 is rounded twice.
    return longest > MAX_COUNT or lags.top == bucket_index(<double> longest / 1000.0)


def split_coverage(data):
    """The columns of a coverage's bytes: a `CoverageRow`, checked, b"" being that of nothing.

    Raises:
        CorruptStateError: the bytes were cut or altered, do not fit each other, or are something
            else.
        TypeError: `data` has no buffer.
    """
    cdef bytes raw = data if type(data) is bytes else bytes(memoryview(data))
    cdef uint64_t numbers[COVERAGE_NUMBERS]
    cdef uint64_t counts[COUNTS_MAX]
    cdef uint64_t anything = 0
    cdef Runs lags
    cdef Reader r
    cdef const unsigned char *start = raw
    cdef int i
    if not raw:
        return (0, 0, 0, 0, 0, 0, 0, 0, NOTHING_COUNTED)
    memset(&r, 0, sizeof(Reader))
    r.data = start
    r.size = len(raw)
    for i in range(COVERAGE_NUMBERS):
        numbers[i] = get_varint(&r)
        anything |= numbers[i] if i < COVERAGE_COUNTERS else 0
    if (r.failed or not anything
            or histogram_read(start + r.at, r.size - r.at, &lags, counts) != GOOD
            or not good_lags(numbers, &lags)):
        raise CorruptStateError(
            f"{len(raw)} bytes that are no coverage: wanted are 8 counts and the histogram of "
            "as many lags as labels matched, which fit each other")
    return (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6],
            numbers[7], raw[r.at:])


def join_coverage(row):
    """The bytes of a `CoverageRow`, which `split_coverage` takes to pieces; b"" of nothing.

    OverflowError where a count is below 0 or above 2^63 - 1.
    """
    cdef Writer w
    cdef long long number
    if not any(row[:COVERAGE_COUNTERS]):
        return b""
    if writer_open(&w):
        raise MemoryError
    try:
        for i in range(COVERAGE_NUMBERS):
            number = row[i]
            if number < 0:
                raise OverflowError(f"a count of {number}; counts are not negative")
            put_varint(&w, <uint64_t> number)
        if w.failed:
            raise MemoryError
        return PyBytes_FromStringAndSize(<char *> w.data, w.size) + <bytes> row[COVERAGE_NUMBERS]
    finally:
        writer_close(&w)
