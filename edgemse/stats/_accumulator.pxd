# cython: language_level=3, cdivision=True
"""A state that grows: what `update` holds back, the numbers and the counts, as one struct.

The caller holds the lock of the object that it belongs to.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t

from edgemse.stats._buckets cimport (
    MAX_COUNT, Buckets, buckets_clear, buckets_copy, buckets_count, buckets_free, buckets_merge,
)
from edgemse.stats._codec cimport (
    COUNTS_MAX, Runs, Writer, buckets_from_runs, runs_of, writer_close, writer_open,
)
from edgemse.stats._fold cimport fold_plain, fold_weighted
from edgemse.stats._histogram cimport histogram_parse
from edgemse.stats._moments cimport State, state_clear, state_merge
from edgemse.stats._state cimport put_state, read_moments, read_state

cdef enum:
    # Samples that `update` holds back, so that most calls only store two numbers.
    WAITING = 24
    WAITING_WEIGHTED = 16
    WAITING_ROOM = 48  # doubles: two columns of 24, or three of 16

cdef enum:  # what keeps `update` from its short way
    WEIGHTED = 1  # samples wait that carry weights
    BARE = 2      # there are samples and no histogram of all of them: none is kept

cdef enum:
    TOO_MANY = 1  # more than MAX_COUNT samples
    NO_MEMORY = -1

cdef struct Accumulator:
    State state               # without the waiting samples
    Buckets buckets           # with them: counting is exact in any order; empty when BARE
    int waiting
    int detour
    double room[WAITING_ROOM]  # labels, errors, weights


cdef inline void acc_clear(Accumulator *a) noexcept nogil:
    state_clear(&a.state)
    buckets_clear(&a.buckets)
    a.waiting = a.detour = 0


cdef inline void acc_fold(const Accumulator *a, State *into) noexcept nogil:
    if a.detour & WEIGHTED:
        fold_weighted(into, a.room, a.room + WAITING_WEIGHTED, a.room + 2 * WAITING_WEIGHTED,
                      a.waiting)
    elif a.waiting:
        fold_plain(into, a.room, <double *> &a.room[WAITING], a.waiting)


cdef inline void acc_flush(Accumulator *a) noexcept nogil:
    """The waiting samples, in the state."""
    acc_fold(a, &a.state)
    a.waiting = 0
    a.detour &= BARE


cdef inline const State *acc_view(const Accumulator *a, State *room) noexcept nogil:
    """The state with the waiting samples; it changes no later bit."""
    if a.waiting == 0:
        return &a.state
    room[0] = a.state
    acc_fold(a, room)
    return room


cdef inline int acc_add(Accumulator *a, double y, double e, double weight) noexcept nogil:
    """The long way of an accepted sample: weighted, after a weighted one, or without histogram."""
    cdef int at
    if not a.detour & BARE and buckets_count(&a.buckets, e):
        return NO_MEMORY
    if weight != 1.0 and not a.detour & WEIGHTED:
        acc_flush(a)
        a.detour |= WEIGHTED
    at = a.waiting
    a.room[at] = y
    a.waiting = at + 1
    if a.detour & WEIGHTED:
        a.room[WAITING_WEIGHTED + at] = e
        a.room[2 * WAITING_WEIGHTED + at] = weight
        if a.waiting == WAITING_WEIGHTED:
            acc_flush(a)
    else:
        a.room[WAITING + at] = e
        if a.waiting == WAITING:
            acc_flush(a)
    return 0


cdef inline void acc_forget_histogram(Accumulator *a) noexcept nogil:
    buckets_free(&a.buckets)
    a.detour |= BARE


cdef inline int acc_merge(Accumulator *a, const Accumulator *b) noexcept nogil:
    """a := a + b, which may be one. 0, TOO_MANY or NO_MEMORY."""
    cdef State room
    cdef const State *theirs = acc_view(b, &room)
    if (a.state.count + <unsigned long long> a.waiting + theirs.count > MAX_COUNT
            or a.state.nonfinite + theirs.nonfinite > MAX_COUNT
            or a.state.out_of_range + theirs.out_of_range > MAX_COUNT):
        return TOO_MANY
    if (a.detour | b.detour) & BARE:
        if theirs.count:  # a histogram of some samples would pretend to have counted all
            acc_forget_histogram(a)
    elif buckets_merge(&a.buckets, &b.buckets):
        return NO_MEMORY
    acc_flush(a)
    state_merge(&a.state, theirs)
    return 0


cdef inline int acc_copy(Accumulator *to, const Accumulator *source) noexcept nogil:
    cdef Buckets counts
    if buckets_copy(&counts, &source.buckets):
        return NO_MEMORY
    to[0] = source[0]
    to.buckets = counts
    return 0


cdef inline bytes acc_to_bytes(const Accumulator *a, bint histogram):
    cdef State room
    cdef Writer w
    cdef const Buckets *counts = NULL
    if histogram and not a.detour & BARE:
        counts = &a.buckets
    if writer_open(&w):
        raise MemoryError
    try:
        put_state(&w, acc_view(a, &room), counts)
        if w.failed:
            raise MemoryError
        return PyBytes_FromStringAndSize(<char *> w.data, w.size)
    finally:
        writer_close(&w)


cdef inline int acc_from_bytes(Accumulator *a, bytes raw) except -1:
    """Of a cleared one."""
    cdef uint64_t counts[COUNTS_MAX]
    cdef Runs runs
    if read_state(raw, &a.state, &runs, counts) == 0:
        acc_forget_histogram(a)
    elif buckets_from_runs(&a.buckets, &runs, counts):
        raise MemoryError
    return 0


cdef inline int acc_from_moments(Accumulator *a, object moments, const Buckets *counts) except -1:
    """Of a cleared one; `counts` is NULL where no histogram is known."""
    cdef Runs runs
    if counts == NULL:
        read_moments(moments, &a.state, NULL)
        if a.state.count:
            acc_forget_histogram(a)
        return 0
    runs_of(&runs, counts)
    read_moments(moments, &a.state, &runs)
    if buckets_copy(&a.buckets, counts):
        raise MemoryError
    return 0


cdef inline int acc_from_halves(Accumulator *a, object moments, bytes histogram) except -1:
    """Of a cleared one, from its moments and the bytes of its histogram."""
    cdef uint64_t counts[COUNTS_MAX]
    cdef Runs runs
    histogram_parse(histogram, &runs, counts)
    read_moments(moments, &a.state, &runs)
    if buckets_from_runs(&a.buckets, &runs, counts):
        raise MemoryError
    return 0
