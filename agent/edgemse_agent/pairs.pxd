# cython: language_level=3
"""The table of what waits for its other half, as compiled code of this package uses it."""
from edgemse.stats.observer cimport OpenStats
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "_slots.h":
    enum:
        NO_SLOT
        LIST_WAITING
        LIST_MATCHED
        LIST_CHANGED
        KIND_FREE
        KIND_EMPTY
        KIND_PENDING
        KIND_MATCHED
        KIND_OTHER

    ctypedef struct Slot:
        void *names
        void *where
        double born, time, y, beside
        uint32_t after, changed_after
        uint16_t key_bytes
        uint8_t kind, list, changed, stored, unwritable

    ctypedef struct SlotList:
        uint32_t first, last, count

    ctypedef struct Slots:
        Slot *slots
        uint32_t made
        SlotList *lists
        const char *gone
        size_t gone_bytes


cdef class Named:
    cdef readonly object names  # a tuple, or a Series
    cdef bytes packed
    cdef bint anything
    cdef OpenStats cell, other


cdef class Pairs:
    cdef Slots table
    cdef dict known, latest
    cdef char *room
    cdef size_t room_bytes
    cdef public uint32_t pending_max, matched_max

    cpdef Named named(self, names)
    cdef OpenStats cell_of(self, Named series, double time)
    cdef bint predicted(
        self, const char *key, size_t size, Named series,
        double y_pred, double weight, double time, double born
    ) except -1
    cdef bint labelled(
        self, const char *key, size_t size, Named where, double y_true, double time
    ) except -1
    cdef uint32_t slot_of(self, str key)
    cdef object entry_of(self, uint32_t slot)
    cdef int fill(self, uint32_t slot, object entry) except -1
    cdef int empty(self, uint32_t slot) except -1
    cdef int let_go(self, uint32_t slot) except -1
    cdef str key_of(self, uint32_t slot)
    cdef object packed(self, uint32_t slot)
    cdef bytes packed_of(self, uint32_t slot)
    cdef char *with_room(self, size_t size) except NULL
