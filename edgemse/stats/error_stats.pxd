# cython: language_level=3
"""The class of one series' error statistics."""
from edgemse.stats._accumulator cimport Accumulator
from edgemse.stats._columns cimport Column
from edgemse.stats._moments cimport State


cdef class ErrorStats:
    cdef Accumulator acc

    cdef int add(self, double y_true, double y_pred, double weight) except -1
    cdef int add_one(self, double y_true, double y_pred, double weight) except -1
    cdef int add_columns(self, const Column *y, const Column *pred, const Column *w) except -1
    cdef State settled(self) noexcept
