# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True
"""What a Coverage is made of: counts that a device adds to with every prediction and label."""
from edgemse.stats._buckets cimport buckets_count
from edgemse.stats.histogram cimport ResidualHistogram

__all__ = ["CoverageCounts"]


cdef class CoverageCounts:
    """The counts, all 0 at first; `Coverage` says what each is."""

    def __cinit__(self):
        self.lag_histogram = ResidualHistogram.__new__(ResidualHistogram)

    def match(self, lag_ms):
        """Count one label that met its prediction `lag_ms` milliseconds after it (below 0: 0)."""
        self.add_match(lag_ms)

    cdef int add_match(self, long long lag_ms) except -1:
        cdef long long lag = lag_ms if lag_ms > 0 else 0
        if buckets_count(&self.lag_histogram.buckets, <double> lag / 1000.0):
            raise MemoryError
        self.matched += 1
        self.lag_ms_sum += lag
        if lag > self.lag_ms_max:
            self.lag_ms_max = lag
        return 0
