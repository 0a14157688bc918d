# cython: language_level=3
"""The class of one series' error statistics."""
from edgemse.stats._buckets cimport Buckets
from edgemse.stats._columns cimport Column
from edgemse.stats._moments cimport State

cdef enum:
    # Samples that `update` holds back, so that most calls only store two numbers.
    WAITING = 24
    WAITING_WEIGHTED = 16


cdef class ErrorStats:
    cdef State state              # without the waiting samples
    cdef Buckets buckets          # with them: counting is exact in any order
    cdef int waiting
    cdef bint waiting_weighted    # they carry weights: three columns of 16 instead of two of 24
    cdef double room[48]          # labels, errors, weights

    cdef int add_one(self, double y_true, double y_pred, double weight) except -1
    cdef int add_columns(self, const Column *y, const Column *pred, const Column *w) except -1
    cdef void fold_waiting(self, State *into) noexcept nogil
    cdef void flush(self) noexcept nogil
    cdef const State *view(self, State *room) noexcept nogil
    cdef State settled(self) noexcept
