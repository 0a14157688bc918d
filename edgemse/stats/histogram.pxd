# cython: language_level=3
"""The class of one histogram; its counts are `Buckets` of _buckets.h."""
from edgemse.stats._buckets cimport Buckets


cdef class ResidualHistogram:
    cdef Buckets buckets
