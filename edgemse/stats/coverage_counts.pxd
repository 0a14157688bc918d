# cython: language_level=3
"""The counts of one coverage, as compiled code adds to them."""
from edgemse.stats.histogram cimport ResidualHistogram


cdef class CoverageCounts:
    cdef public long long predictions, matched, expired, orphan, duplicate, conflicting
    cdef public long long lag_ms_sum, lag_ms_max
    cdef public ResidualHistogram lag_histogram

    cdef int add_match(self, long long lag_ms) except -1
