# cython: language_level=3, cdivision=True
"""Arrow's C interfaces, and the two kinds of column that are read from them.

edgemse.stores.arrow writes them.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef extern from "_arrow.h" nogil:
    cdef struct ArrowSchema:
        const char *format
        const char *name
        int64_t flags
        int64_t n_children
        ArrowSchema **children
        ArrowSchema *dictionary
        void (*release)(ArrowSchema *) noexcept nogil
        void *private_data

    cdef struct ArrowArray:
        int64_t length
        int64_t null_count
        int64_t offset
        int64_t n_buffers
        int64_t n_children
        const void **buffers
        ArrowArray **children
        void (*release)(ArrowArray *) noexcept nogil
        void *private_data

    cdef struct ArrowArrayStream:
        int (*get_schema)(ArrowArrayStream *, ArrowSchema *) noexcept nogil
        int (*get_next)(ArrowArrayStream *, ArrowArray *) noexcept nogil
        const char *(*get_last_error)(ArrowArrayStream *) noexcept nogil
        void (*release)(ArrowArrayStream *) noexcept nogil
        void *private_data


cdef inline bint arrow_is_null(const ArrowArray *column, int64_t row) noexcept nogil:
    """`row` counts from the start of the buffers, `offset` included."""
    cdef const uint8_t *valid = <const uint8_t *> column.buffers[0]
    return column.null_count != 0 and valid != NULL and not valid[row >> 3] >> (row & 7) & 1


cdef inline int64_t arrow_int64(const ArrowArray *column, int64_t row) noexcept nogil:
    return (<const int64_t *> column.buffers[1])[row]


cdef inline const uint8_t *arrow_binary(const ArrowArray *column, int64_t row, bint large,
                                        int64_t *size) noexcept nogil:
    """Of a binary column, or a large one, whose offsets have 64 bits."""
    cdef int64_t start, end
    if large:
        start = (<const int64_t *> column.buffers[1])[row]
        end = (<const int64_t *> column.buffers[1])[row + 1]
    else:
        start = (<const int32_t *> column.buffers[1])[row]
        end = (<const int32_t *> column.buffers[1])[row + 1]
    size[0] = end - start
    return <const uint8_t *> column.buffers[2] + start
