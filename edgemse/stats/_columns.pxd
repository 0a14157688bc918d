# cython: language_level=3, cdivision=True
"""Columns of numbers through the buffer protocol, whoever made them; numpy is never imported."""
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.string cimport memcpy

cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define EDGEMSE_FOREIGN '<'
    #else
    #define EDGEMSE_FOREIGN '>'
    #endif
    """
    const char FOREIGN "EDGEMSE_FOREIGN"

cdef enum:
    FLOAT = 0
    SIGNED = 16
    UNSIGNED = 32

cdef struct Column:
    Py_buffer view
    Py_ssize_t n
    Py_ssize_t stride     # bytes
    int kind              # FLOAT, SIGNED or UNSIGNED, plus the item's size in bytes
    bint held


cdef inline int column_kind(const Py_buffer *view) noexcept:
    """0 if the items are no real numbers of the machine's own byte order."""
    cdef const char *f = view.format
    if f == NULL:  # plain bytes, says the protocol
        return UNSIGNED + <int> view.itemsize
    if f[0] == FOREIGN or (f[0] == b"!" and FOREIGN == b">"):
        return 0
    if f[0] in b"@=<>!":
        f += 1
    if f[0] == 0 or f[1] != 0:
        return 0
    if f[0] in b"df":
        return FLOAT + <int> view.itemsize
    if f[0] in b"bhilqn":
        return SIGNED + <int> view.itemsize
    if f[0] in b"BHILQN?":
        return UNSIGNED + <int> view.itemsize
    return 0


cdef inline void column_release(Column *c) noexcept:
    if c.held:
        PyBuffer_Release(&c.view)
        c.held = False


cdef inline int column_acquire(Column *c, object source, str name) except -1:
    """Opens a column; the caller releases it in every case."""
    if not PyObject_CheckBuffer(source):
        source = column_doubles(source, name)
    try:
        PyObject_GetBuffer(source, &c.view, PyBUF_STRIDES | PyBUF_FORMAT)
    except ValueError as error:  # numpy's, of dates
        raise TypeError(f"{name} holds no numbers: {error}") from None
    c.held = True
    if c.view.ndim != 1:
        raise ValueError(f"{name} has {c.view.ndim} dimensions; one is wanted")
    c.kind = column_kind(&c.view)
    if c.kind == 0:
        form = (<bytes> c.view.format).decode() if c.view.format != NULL else "none"
        raise TypeError(f"{name} holds items of format {form!r}; wanted are float64, float32, "
                        "integers or bool in the machine's byte order")
    c.n = c.view.shape[0]
    c.stride = c.view.strides[0]
    return 0


cdef inline object column_doubles(object source, str name):
    """What a library's column or tensor shows; else a sequence or iterable as array('d')."""
    if hasattr(source, "to_numpy") or hasattr(source, "numpy"):
        from edgemse.stats.columns import as_buffer
        return as_buffer(source, name)
    from array import array
    try:
        return array("d", source)
    except TypeError as error:
        raise TypeError(f"{name} must be a buffer, a sequence or an iterable of numbers: "
                        f"{error}") from None


cdef inline const double *column_direct(const Column *c) noexcept nogil:
    """The doubles themselves where they lie one after the other, else NULL."""
    if c.kind == FLOAT + 8 and c.stride == 8 and (<size_t> c.view.buf) % 8 == 0:
        return <const double *> c.view.buf
    return NULL


cdef inline double column_item(const char *p, int kind) noexcept nogil:
    cdef float f4
    cdef double f8
    cdef int8_t i1
    cdef int16_t i2
    cdef int32_t i4
    cdef int64_t i8
    cdef uint16_t u2
    cdef uint32_t u4
    cdef uint64_t u8
    if kind == FLOAT + 8:
        memcpy(&f8, p, 8)
        return f8
    if kind == FLOAT + 4:
        memcpy(&f4, p, 4)
        return f4
    if kind == SIGNED + 8:
        memcpy(&i8, p, 8)
        return <double> i8
    if kind == SIGNED + 4:
        memcpy(&i4, p, 4)
        return i4
    if kind == SIGNED + 2:
        memcpy(&i2, p, 2)
        return i2
    if kind == SIGNED + 1:
        memcpy(&i1, p, 1)
        return i1
    if kind == UNSIGNED + 8:
        memcpy(&u8, p, 8)
        return <double> u8
    if kind == UNSIGNED + 4:
        memcpy(&u4, p, 4)
        return u4
    if kind == UNSIGNED + 2:
        memcpy(&u2, p, 2)
        return u2
    return (<const uint8_t *> p)[0]


cdef inline const double *column_load(const Column *c, Py_ssize_t start, Py_ssize_t n,
                               double *room) noexcept nogil:
    """Items start .. start + n as doubles: where they lie if possible, else copied into `room`."""
    cdef const double *whole = column_direct(c)
    cdef const char *p = <const char *> c.view.buf + start * c.stride
    cdef Py_ssize_t i
    if whole != NULL:
        return whole + start
    for i in range(n):
        room[i] = column_item(p + i * c.stride, c.kind)
    return room
