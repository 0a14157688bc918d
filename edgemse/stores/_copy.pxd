# cython: language_level=3, cdivision=True
"""PostgreSQL's binary COPY format, row by row (its manual, COPY, Binary Format).

A header, then rows: the number of fields (int16), and for each its size (int32, -1: null) and
bytes; -1 where a row would begin is the end. All integers are big-endian.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

cdef extern from *:
    """
    static const char edgemse_copy_head[] = "PGCOPY\\n\\377\\r\\n\\0\\0\\0\\0\\0\\0\\0\\0";
    """
    const char *COPY_HEAD "edgemse_copy_head"

cdef enum:
    HEAD_SIZE = 19      # the signature, no flags, no extension
    FIELDS_MAX = 64
    NULL_SIZE = -1

cdef enum Found:
    ROW
    NO_ROW    # the bytes are used up
    HEADLESS  # they do not begin as the format does
    ODD       # a row of another number of fields
    CUT       # a row that ends after its message
    BEYOND    # rows after the end

cdef struct Field:
    int32_t size
    const uint8_t *data

cdef struct Copy:  # what is being read
    bint begun
    bint over
    const uint8_t *at
    const uint8_t *end


cdef inline uint32_t big32(const uint8_t *d) noexcept nogil:
    return <uint32_t> d[0] << 24 | <uint32_t> d[1] << 16 | <uint32_t> d[2] << 8 | d[3]


cdef inline uint64_t big64(const uint8_t *d) noexcept nogil:
    return <uint64_t> big32(d) << 32 | big32(d + 4)


cdef inline Found copy_row(Copy *c, Field *fields, int wanted) noexcept nogil:
    """The next row of the bytes from `at` to `end`, which hold whole rows."""
    cdef int i
    cdef uint16_t count
    if not c.begun:
        if c.end - c.at < HEAD_SIZE or memcmp(c.at, COPY_HEAD, HEAD_SIZE) != 0:
            return HEADLESS
        c.begun = True
        c.at += HEAD_SIZE
    if c.at == c.end:
        return NO_ROW
    if c.over:
        return BEYOND
    if c.end - c.at < 2:
        return CUT
    count = <uint16_t> (c.at[0] << 8 | c.at[1])
    c.at += 2
    if count == 0xFFFF:
        c.over = True
        return NO_ROW if c.at == c.end else BEYOND
    if count != wanted:
        return ODD
    for i in range(wanted):
        if c.end - c.at < 4:
            return CUT
        fields[i].size = <int32_t> big32(c.at)
        c.at += 4
        fields[i].data = c.at
        if fields[i].size == NULL_SIZE:
            continue
        if fields[i].size < 0 or c.end - c.at < fields[i].size:
            return CUT
        c.at += fields[i].size
    return ROW
