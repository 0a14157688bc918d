# cython: language_level=3
"""What a growing cell is made of, as compiled code adds to it."""
from edgemse.stats.coverage_counts cimport CoverageCounts
from edgemse.stats.error_stats cimport ErrorStats


cdef class OpenStats:
    cdef public ErrorStats stats
    cdef public CoverageCounts counted
    cdef public double start, end
    cdef public bint grown, final
