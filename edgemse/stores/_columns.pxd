# cython: language_level=3, cdivision=True
"""One column of a table in growable buffers, laid out as Arrow's format has it."""
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

cdef enum Kind:
    INTEGER  # int64
    REAL     # double
    TRUTH    # bits
    TEXT     # UTF-8
    BYTES

cdef enum Room:
    ROOMY
    MEMORYLESS
    OVERLONG  # more than 2^31 - 1 bytes in one column, which is what 32-bit offsets reach


cdef struct Column:
    Kind kind
    int64_t nulls
    uint8_t *valid      # a bit for each row
    void *values        # int64, double or bits; of text and bytes, behind a 0, where each ends
    char *data          # of text and bytes
    int64_t data_room


cdef inline void column_free(Column *c) noexcept nogil:
    PyMem_RawFree(c.valid)
    PyMem_RawFree(c.values)
    PyMem_RawFree(c.data)


cdef inline Room column_grow(Column *c, int64_t rows, int64_t old) noexcept nogil:
    """Room for so many rows; multiples of 8, all of them valid."""
    cdef size_t size = rows * sizeof(int64_t)
    cdef void *values
    cdef uint8_t *valid = <uint8_t *> PyMem_RawRealloc(c.valid, rows >> 3)
    if valid == NULL:
        return MEMORYLESS
    memset(valid + (old >> 3), 0xFF, (rows - old) >> 3)
    c.valid = valid
    if c.kind == TRUTH:
        size = rows >> 3
    elif c.kind in (TEXT, BYTES):
        size = (rows + 1) * sizeof(int32_t)
    values = PyMem_RawRealloc(c.values, size)
    if values == NULL:
        return MEMORYLESS
    c.values = values
    if old == 0:
        memset(values, 0, sizeof(int32_t))
    return ROOMY


cdef inline void column_valid(Column *c, int64_t row) noexcept nogil:
    if not c.valid[row >> 3] >> (row & 7) & 1:
        c.valid[row >> 3] |= 1 << (row & 7)
        c.nulls -= 1


cdef inline void column_null(Column *c, int64_t row) noexcept nogil:
    if c.valid[row >> 3] >> (row & 7) & 1:
        c.valid[row >> 3] &= ~(1 << (row & 7))
        c.nulls += 1
    if c.kind in (TEXT, BYTES):
        (<int32_t *> c.values)[row + 1] = (<int32_t *> c.values)[row]
    elif c.kind in (INTEGER, REAL):
        (<int64_t *> c.values)[row] = 0


cdef inline void column_integer(Column *c, int64_t row, int64_t value) noexcept nogil:
    column_valid(c, row)
    (<int64_t *> c.values)[row] = value


cdef inline void column_real(Column *c, int64_t row, double value) noexcept nogil:
    column_valid(c, row)
    (<double *> c.values)[row] = value


cdef inline void column_truth(Column *c, int64_t row, bint value) noexcept nogil:
    cdef uint8_t *bits = <uint8_t *> c.values + (row >> 3)
    column_valid(c, row)
    bits[0] = bits[0] & ~(1 << (row & 7)) | (value << (row & 7))


cdef inline Room column_bytes(Column *c, int64_t row, const char *first, int64_t first_size,
                              const char *rest, int64_t rest_size) noexcept nogil:
    """A text, or bytes, in two parts of which either may be empty."""
    cdef int32_t *ends = <int32_t *> c.values
    cdef int64_t start = ends[row]
    cdef int64_t end = start + first_size + rest_size
    cdef int64_t room = c.data_room
    cdef char *data
    if end > INT32_MAX:
        return OVERLONG
    if end > room:
        room = 2 * end + 64
        data = <char *> PyMem_RawRealloc(c.data, room)
        if data == NULL:
            return MEMORYLESS
        c.data = data
        c.data_room = room
    if first_size:
        memcpy(c.data + start, first, first_size)
    if rest_size:
        memcpy(c.data + start + first_size, rest, rest_size)
    ends[row + 1] = <int32_t> end
    column_valid(c, row)
    return ROOMY


cdef inline Room column_copy(Column *to, int64_t row, const Column *source,
                             int64_t at) noexcept nogil:
    cdef const int32_t *ends = <const int32_t *> source.values
    if not source.valid[at >> 3] >> (at & 7) & 1:
        column_null(to, row)
    elif source.kind == TRUTH:
        column_truth(to, row, (<const uint8_t *> source.values)[at >> 3] >> (at & 7) & 1)
    elif source.kind in (TEXT, BYTES):
        return column_bytes(to, row, source.data + ends[at], ends[at + 1] - ends[at], NULL, 0)
    else:
        column_integer(to, row, (<const int64_t *> source.values)[at])
    return ROOMY
