# cython: language_level=3, cdivision=True
"""Columns lent out over Arrow's C interfaces: buffers lie where they are, their owner stays."""
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t
from libc.string cimport memset

from edgemse.stats._arrow cimport ArrowArray, ArrowArrayStream, ArrowSchema
from edgemse.stores._columns cimport BYTES, INTEGER, REAL, TEXT, TRUTH, Column, Kind

cdef enum:
    BUFFERS_MAX = 3
    NULLABLE = 2  # ARROW_FLAG_NULLABLE


cdef struct Lent:                # what is lent, for as long as its owner is held
    PyObject *owner
    int64_t rows
    int columns
    Column *column
    const char **name
    bint given                   # of a stream: its one batch


cdef struct Loan:                # of one array or schema
    PyObject *owner
    const void *buffers[BUFFERS_MAX]


cdef inline const char *format_of(Kind kind) noexcept nogil:
    if kind == INTEGER:
        return "l"
    if kind == REAL:
        return "g"
    if kind == TRUTH:
        return "b"
    return "u" if kind == TEXT else "z"


cdef inline Loan *loan_of(PyObject *owner) noexcept with gil:
    cdef Loan *loan = <Loan *> PyMem_RawCalloc(1, sizeof(Loan))
    if loan != NULL:
        loan.owner = owner
        Py_INCREF(<object> owner)
    return loan


cdef inline void loan_end(void *private) noexcept with gil:
    Py_DECREF(<object> (<Loan *> private).owner)
    PyMem_RawFree(private)


cdef inline void schema_release(ArrowSchema *schema) noexcept nogil:
    cdef int64_t i
    for i in range(schema.n_children):
        if schema.children[i].release != NULL:
            schema.children[i].release(schema.children[i])
    if schema.n_children:
        PyMem_RawFree(schema.children[0])
        PyMem_RawFree(schema.children)
    loan_end(schema.private_data)
    schema.release = NULL


cdef inline void array_release(ArrowArray *array) noexcept nogil:
    cdef int64_t i
    for i in range(array.n_children):
        if array.children[i].release != NULL:
            array.children[i].release(array.children[i])
    if array.n_children:
        PyMem_RawFree(array.children[0])
        PyMem_RawFree(array.children)
    loan_end(array.private_data)
    array.release = NULL


cdef inline int schema_lend(ArrowSchema *schema, const Lent *lent) noexcept nogil:
    """A struct of all columns; ENOMEM without memory."""
    cdef ArrowSchema *child
    cdef int i
    memset(schema, 0, sizeof(ArrowSchema))
    schema.private_data = loan_of(lent.owner)
    if schema.private_data == NULL:
        return ENOMEM
    schema.format = "+s"
    schema.name = ""
    schema.release = schema_release
    child = <ArrowSchema *> PyMem_RawCalloc(lent.columns, sizeof(ArrowSchema))
    schema.children = <ArrowSchema **> PyMem_RawCalloc(lent.columns, sizeof(ArrowSchema *))
    if child == NULL or schema.children == NULL:
        PyMem_RawFree(child)
        PyMem_RawFree(schema.children)
        schema.release(schema)
        return ENOMEM
    schema.n_children = lent.columns
    for i in range(lent.columns):
        schema.children[i] = &child[i]
    for i in range(lent.columns):
        child[i].private_data = loan_of(lent.owner)
        if child[i].private_data == NULL:
            schema.release(schema)
            return ENOMEM
        child[i].format = format_of(lent.column[i].kind)
        child[i].name = lent.name[i]
        child[i].flags = NULLABLE
        child[i].release = schema_release
    return 0


cdef inline int column_lend(ArrowArray *array, const Lent *lent, int place) noexcept nogil:
    cdef const Column *column = &lent.column[place]
    cdef Loan *loan = loan_of(lent.owner)
    memset(array, 0, sizeof(ArrowArray))
    if loan == NULL:
        return ENOMEM
    loan.buffers[0] = column.valid if column.nulls else NULL
    loan.buffers[1] = column.values
    loan.buffers[2] = column.data
    array.length = lent.rows
    array.null_count = column.nulls
    array.n_buffers = 3 if column.kind in (TEXT, BYTES) else 2
    array.buffers = loan.buffers
    array.release = array_release
    array.private_data = loan
    return 0


cdef inline int array_lend(ArrowArray *array, const Lent *lent) noexcept nogil:
    """A struct of all columns; ENOMEM without memory."""
    cdef ArrowArray *child
    cdef Loan *loan
    cdef int i
    memset(array, 0, sizeof(ArrowArray))
    loan = loan_of(lent.owner)
    if loan == NULL:
        return ENOMEM
    array.private_data = loan
    array.length = lent.rows
    array.n_buffers = 1  # validity, which a NULL says is given to all
    array.buffers = loan.buffers
    array.release = array_release
    child = <ArrowArray *> PyMem_RawCalloc(lent.columns, sizeof(ArrowArray))
    array.children = <ArrowArray **> PyMem_RawCalloc(lent.columns, sizeof(ArrowArray *))
    if child == NULL or array.children == NULL:
        PyMem_RawFree(child)
        PyMem_RawFree(array.children)
        array.release(array)
        return ENOMEM
    array.n_children = lent.columns
    for i in range(lent.columns):
        array.children[i] = &child[i]
    for i in range(lent.columns):
        if column_lend(&child[i], lent, i):
            array.release(array)
            return ENOMEM
    return 0


cdef inline int stream_schema(ArrowArrayStream *stream, ArrowSchema *out) noexcept nogil:
    return schema_lend(out, <const Lent *> stream.private_data)


cdef inline int stream_next(ArrowArrayStream *stream, ArrowArray *out) noexcept nogil:
    cdef Lent *lent = <Lent *> stream.private_data
    if lent.given:
        memset(out, 0, sizeof(ArrowArray))
        return 0
    lent.given = True
    return array_lend(out, lent)


cdef inline const char *stream_words(ArrowArrayStream *stream) noexcept nogil:
    return NULL  # nothing fails here but for memory, which the code says


cdef inline void stream_release(ArrowArrayStream *stream) noexcept with gil:
    cdef Lent *lent = <Lent *> stream.private_data
    Py_DECREF(<object> lent.owner)
    PyMem_RawFree(lent)
    stream.release = NULL


cdef inline ArrowArrayStream *stream_lend(const Lent *lent) except NULL:
    """A stream of one batch, which the capsule that it goes into frees."""
    cdef ArrowArrayStream *stream = <ArrowArrayStream *> PyMem_RawMalloc(sizeof(ArrowArrayStream))
    cdef Lent *own = <Lent *> PyMem_RawMalloc(sizeof(Lent))
    if stream == NULL or own == NULL:
        PyMem_RawFree(stream)
        PyMem_RawFree(own)
        raise MemoryError
    own[0] = lent[0]
    own.given = False
    Py_INCREF(<object> own.owner)
    stream.get_schema = stream_schema
    stream.get_next = stream_next
    stream.get_last_error = stream_words
    stream.release = stream_release
    stream.private_data = own
    return stream


cdef inline void capsule_free(object capsule) noexcept:
    cdef ArrowArrayStream *stream = <ArrowArrayStream *> PyCapsule_GetPointer(
        capsule, "arrow_array_stream")
    if stream.release != NULL:  # nobody has taken it
        stream.release(stream)
    PyMem_RawFree(stream)
