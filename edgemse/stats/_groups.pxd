# cython: language_level=3, cdivision=True
"""Histograms by group number: a hash table of counts, grown without the GIL."""
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from edgemse.stats._buckets cimport (
    MAX_COUNT, Buckets, buckets_clear, buckets_free, buckets_merge,
)
from edgemse.stats._codec cimport COUNTS_MAX, Runs
from edgemse.stats._histogram cimport GOOD, NO_BYTES, Verdict, histogram_read

cdef enum Merged:
    MERGED
    REFUSED    # the bytes are no histogram
    OVERFULL   # more than MAX_COUNT samples in a group
    MEMORYLESS

cdef enum:
    FIRST_BITS = 6  # of the table's size to begin with

cdef struct Group:
    int64_t number
    int64_t first    # its first row
    bint bare        # a part had samples and no histogram
    Buckets counts


cdef struct Groups:
    Group *each      # in the order of their first rows
    uint32_t size
    uint32_t *table  # places in `each`, and 1; 0 where there is none. Half of it stays free
    int bits         # of the table's size


cdef inline void groups_free(Groups *g) noexcept nogil:
    cdef uint32_t i
    for i in range(g.size):
        buckets_free(&g.each[i].counts)
    PyMem_RawFree(g.each)
    PyMem_RawFree(g.table)
    memset(g, 0, sizeof(Groups))


cdef inline uint32_t *groups_slot(const Groups *g, int64_t number) noexcept nogil:
    """Where the table names the group, or would."""
    cdef uint64_t mask = (1ULL << g.bits) - 1
    # 2^64 over the golden ratio: Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4)
    cdef uint64_t at = <uint64_t> number * 0x9E3779B97F4A7C15ULL >> (64 - g.bits)
    while g.table[at] and g.each[g.table[at] - 1].number != number:
        at = (at + 1) & mask
    return &g.table[at]


cdef inline int groups_grow(Groups *g) noexcept nogil:
    """Room for as many groups again. 0, or -1 without memory."""
    cdef int bits = g.bits + 1 if g.bits else FIRST_BITS
    cdef uint32_t *table
    cdef Group *each
    cdef uint32_t i
    if bits > 32:
        return -1
    each = <Group *> PyMem_RawRealloc(g.each, (<size_t> 1 << (bits - 1)) * sizeof(Group))
    if each == NULL:
        return -1
    g.each = each
    table = <uint32_t *> PyMem_RawCalloc(<size_t> 1 << bits, sizeof(uint32_t))
    if table == NULL:
        return -1
    PyMem_RawFree(g.table)
    g.table = table
    g.bits = bits
    for i in range(g.size):
        groups_slot(g, g.each[i].number)[0] = i + 1
    return 0


cdef inline Group *groups_get(Groups *g, int64_t number, int64_t row) noexcept nogil:
    """The group of that number, a new one if this is its first row; NULL without memory."""
    cdef uint32_t *slot
    if g.size and g.each[g.size - 1].number == number:  # rows often come group by group
        return &g.each[g.size - 1]
    if (g.bits == 0 or g.size == 1U << (g.bits - 1)) and groups_grow(g):
        return NULL
    slot = groups_slot(g, number)
    if slot[0] == 0:
        g.each[g.size].number = number
        g.each[g.size].first = row
        g.each[g.size].bare = False
        buckets_clear(&g.each[g.size].counts)
        g.size += 1
        slot[0] = g.size
    return &g.each[slot[0] - 1]


cdef inline Merged groups_merge(Groups *into, const Groups *other, int64_t *number) noexcept nogil:
    """Adds the groups of a part of the rows; `number` is the group that could not be added."""
    cdef const Group *part
    cdef Group *group
    cdef uint32_t i
    for i in range(other.size):
        part = &other.each[i]
        number[0] = part.number
        group = groups_get(into, part.number, part.first)
        if group == NULL:
            return MEMORYLESS
        group.first = min(group.first, part.first)
        if part.bare:
            group.bare = True
            buckets_free(&group.counts)
        elif not group.bare:
            if group.counts.total + part.counts.total > MAX_COUNT:
                return OVERFULL
            if buckets_merge(&group.counts, &part.counts):
                return MEMORYLESS
    return MERGED


cdef inline Merged counts_merge(Buckets *into, const unsigned char *data, Py_ssize_t size,
                                bint *bare, Verdict *verdict) noexcept nogil:
    """Adds a histogram in bytes; none at all make `into` bare, which it stays."""
    cdef uint64_t counts[COUNTS_MAX]
    cdef Runs runs
    cdef Buckets view
    cdef int side
    verdict[0] = histogram_read(data, size, &runs, counts)
    if verdict[0] == NO_BYTES:
        bare[0] = True
        buckets_free(into)
        return MERGED
    if verdict[0] != GOOD:
        return REFUSED
    if bare[0]:
        return MERGED
    if into.total + runs.total > MAX_COUNT:
        return OVERFULL
    buckets_clear(&view)
    view.zero = runs.zero
    view.total = runs.total
    view.top = runs.top
    for side in range(2):
        view.sides[side].low = runs.low[side]
        view.sides[side].size = runs.size[side]
        view.sides[side].wide = True
        view.sides[side].counts = counts + (runs.size[0] if side else 0)
    return MEMORYLESS if buckets_merge(into, &view) else MERGED
