# cython: language_level=3
"""The class of one series' error statistics."""
from edgemse.stats._buckets cimport Buckets
from edgemse.stats._columns cimport Column
from edgemse.stats._moments cimport State

cdef enum:
    WAITING = 16  # samples that `update` holds back, so that most calls only store


cdef class ErrorStats:
    cdef State state              # without the waiting samples
    cdef Buckets buckets          # with them: counting is exact in any order
    cdef int waiting
    cdef bint waiting_weighted    # one of them has another weight than 1
    cdef double y[WAITING]
    cdef double e[WAITING]
    cdef double w[WAITING]

    cdef int add_one(self, double y_true, double y_pred, double weight) except -1
    cdef int add_columns(self, const Column *y, const Column *pred, const Column *w) except -1
    cdef void flush(self) noexcept nogil
    cdef const State *view(self, State *room) noexcept nogil
    cdef State settled(self) noexcept
