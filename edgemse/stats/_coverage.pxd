# cython: language_level=3, cdivision=True
"""A coverage as bytes: eight counts and the histogram of lags (docs/wire.md, "The coverage")."""
from libc.stdint cimport uint64_t
from libc.string cimport memset

from edgemse.stats._buckets cimport MAX_COUNT, NEGATIVE, NO_TOP, bucket_index
from edgemse.stats._codec cimport Reader, Runs, get_varint
from edgemse.stats._histogram cimport GOOD, histogram_read

cdef enum:
    COVERAGE_NUMBERS = 8
    COVERAGE_COUNTERS = 6
    COVERAGE_MATCHED = 1
    COVERAGE_LAG_SUM = 6
    COVERAGE_LAG_MAX = 7


cdef inline bint good_lags(const uint64_t *n, const Runs *lags) noexcept nogil:
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


cdef inline Py_ssize_t read_coverage(bytes raw, uint64_t *numbers, uint64_t *counts) except -1:
    """The eight numbers in these bytes, or the error that says what they are.

    Returns where in them the histogram of lags begins. `counts` has room for COUNTS_MAX of them.
    """
    cdef uint64_t anything = 0
    cdef Runs lags
    cdef Reader r
    cdef const unsigned char *start = raw
    cdef int i
    memset(&r, 0, sizeof(Reader))
    r.data = start
    r.size = len(raw)
    for i in range(COVERAGE_NUMBERS):
        numbers[i] = get_varint(&r)
        anything |= numbers[i] if i < COVERAGE_COUNTERS else 0
    if (r.failed or not anything
            or histogram_read(start + r.at, r.size - r.at, &lags, counts) != GOOD
            or not good_lags(numbers, &lags)):
        from edgemse.errors import CorruptStateError
        raise CorruptStateError(
            f"{len(raw)} bytes that are no coverage: wanted are 8 counts and the histogram of "
            "as many lags as labels matched, which fit each other")
    return r.at
