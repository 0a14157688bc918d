# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, freethreading_compatible=True
"""Rows on their way into a store, column by column: no object is kept of a value, none is copied.

What reads Arrow reads them where they lie (DuckDB, pyarrow, Polars); nothing of Arrow is needed.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from edgemse.stats._codec cimport COUNTS_MAX, Runs
from edgemse.stats._coverage cimport COVERAGE_COUNTERS, COVERAGE_NUMBERS, read_coverage
from edgemse.stats._histogram cimport FIRST_BYTE
from edgemse.stats._moments cimport State
from edgemse.stats._state cimport read_state
from edgemse.stores._columns cimport (
    BYTES, INTEGER, MEMORYLESS, OVERLONG, REAL, ROOMY, TEXT, TRUTH, Column, Kind, Room,
    column_bytes, column_copy, column_free, column_grow, column_integer, column_null, column_real,
    column_truth, column_valid,
)
from edgemse.stores._lending cimport Lent, capsule_free, stream_lend

__all__ = ["Columns"]

KINDS = {
    "BIGINT": INTEGER, "DOUBLE PRECISION": REAL, "BOOLEAN": TRUTH, "TEXT": TEXT, "BYTEA": BYTES,
}

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef enum:
    ROWS_MIN = 64
    MOMENTS = 21
    CELL_COLUMNS = MOMENTS + 1 + COVERAGE_NUMBERS + 1  # the moments, histogram, coverage, lags

cdef bytes EMPTY = b"\x41\x00\x00\x00"  # the bytes of an empty histogram
cdef char FIRST = FIRST_BYTE
cdef str STATE_KINDS = "i" + "r" * 18 + "iis" + "i" * COVERAGE_NUMBERS + "s"


cdef int made(Room room) except -1:
    if room == MEMORYLESS:
        raise MemoryError
    if room == OVERLONG:
        raise OverflowError("more than 2^31 - 1 bytes")
    return 0


cdef int put(Column *c, int64_t row, object value) except -1:
    cdef Py_ssize_t size
    cdef const char *text
    if value is None:
        column_null(c, row)
    elif c.kind == INTEGER:
        column_integer(c, row, value)
    elif c.kind == REAL:
        column_real(c, row, value)
    elif c.kind == TRUTH:
        if type(value) is not bool:
            raise TypeError(f"{value!r:.80} is neither true nor false")
        column_truth(c, row, value)
    elif c.kind == TEXT:
        text = PyUnicode_AsUTF8AndSize(value, &size)
        made(column_bytes(c, row, text, size, NULL, 0))
    else:
        if type(value) is not bytes:
            raise TypeError(f"{value!r:.80} is no bytes")
        made(column_bytes(c, row, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), NULL, 0))
    return 0


cdef object taken(const Column *c, int64_t row):
    cdef const int32_t *ends = <const int32_t *> c.values
    if not c.valid[row >> 3] >> (row & 7) & 1:
        return None
    if c.kind == INTEGER:
        return (<const int64_t *> c.values)[row]
    if c.kind == REAL:
        return (<const double *> c.values)[row]
    if c.kind == TRUTH:
        return bool((<const uint8_t *> c.values)[row >> 3] >> (row & 7) & 1)
    if c.kind == TEXT:
        return PyUnicode_DecodeUTF8(c.data + ends[row], ends[row + 1] - ends[row], NULL)
    return PyBytes_FromStringAndSize(c.data + ends[row], ends[row + 1] - ends[row])


@cython.final
cdef class Columns:
    """Rows of one table, which grow by `append` until they are handed over.

    Iterating yields each row as a tuple. With `__arrow_c_stream__` another library reads all of
    them in one batch, without a copy, as often as it likes; from the first time on no row can be
    added or dropped.

    Thread safety: one thread at a time, until they are handed over.

    Args:
        columns: the name of each column and its SQL type, one of BIGINT, DOUBLE PRECISION, BOOLEAN,
            TEXT and BYTEA. Every one may hold None.
        rows: what to begin with.

    Examples:
        >>> columns = Columns({"device": "TEXT", "count": "BIGINT"}, [("pi-1", 3)])
        >>> columns.append(("pi-2", None))
        >>> len(columns), list(columns)
        (2, [('pi-1', 3), ('pi-2', None)])
    """

    cdef readonly tuple names
    cdef list encoded
    cdef const char **name
    cdef Column *column
    cdef int width
    cdef int64_t size
    cdef int64_t room
    cdef int head      # columns before those of a state; -1 where there are none of a state
    cdef bint lent

    def __cinit__(self, columns, rows=()):
        cdef int i
        self.names = tuple(columns)
        self.encoded = [name.encode() for name in self.names]
        self.width = len(self.names)
        self.name = <const char **> PyMem_RawCalloc(self.width + 1, sizeof(const char *))
        self.column = <Column *> PyMem_RawCalloc(self.width + 1, sizeof(Column))
        if self.name == NULL or self.column == NULL:
            raise MemoryError
        kinds = [KINDS[kind] for kind in columns.values()]
        for i in range(self.width):
            self.name[i] = PyBytes_AS_STRING(self.encoded[i])
            self.column[i].kind = kinds[i]
        self.head = self.width - CELL_COLUMNS
        if "".join("irbts"[kind] for kind in kinds)[max(0, self.head):] != STATE_KINDS:
            self.head = -1
        for row in rows:
            self.append(row)

    def __dealloc__(self):
        cdef int i
        if self.column != NULL:
            for i in range(self.width):
                column_free(&self.column[i])
        PyMem_RawFree(self.column)
        PyMem_RawFree(self.name)

    def __len__(self):
        return self.size

    def __iter__(self):
        cdef int64_t row
        for row in range(self.size):
            yield tuple([taken(&self.column[i], row) for i in range(self.width)])

    def append(self, tuple row not None):
        """Add a row; ValueError, with nothing added, where a value does not fit its column."""
        if len(row) != self.width:
            raise ValueError(f"a row of {len(row)} values; wanted one for each of {self.names}")
        self.begin()
        try:
            self.fill(row)
        except BaseException:
            self.forget()
            raise
        self.size += 1

    def append_cell(self, tuple head not None, bytes state not None, bytes coverage not None):
        """Add a cell: the first columns, and what the bytes of its state and coverage hold.

        The columns after `head` are those of `Moments`, the histogram's bytes (None: the state has
        none) and those of `CoverageRow`. Bytes are checked as `split_state` and `split_coverage`
        check them; no coverage is b"".

        Returns:
            The highest of everything that the cell counts.

        Raises:
            StateError: the bytes were cut or altered, do not fit each other, or are something else;
                nothing is added.
            ValueError: the table is not one of cells, or a value of `head` does not fit its column.
        """
        cdef uint64_t largest
        if self.head != len(head):
            raise ValueError(f"{len(head)} values before a state; wanted {self.head}")
        self.begin()
        try:
            largest = max(self.add_state(state), self.add_coverage(coverage))
            self.fill(head)
        except BaseException:
            self.forget()
            raise
        self.size += 1
        return largest

    def drop_last(self):
        """Take the last row out again."""
        if self.size == 0 or self.lent:
            raise ValueError("no row that could be dropped")
        self.size -= 1
        self.forget()

    def only(self, places, replaced=None):
        """Columns of these rows, by their places from 0, in the order given.

        Args:
            places: of the rows.
            replaced: other values for some columns, by name: one for each of the new rows.
        """
        cdef Columns new = Columns.__new__(
            Columns, {n: list(KINDS)[self.column[i].kind] for i, n in enumerate(self.names)})
        cdef int64_t at
        cdef int i
        for at in places:
            if not 0 <= at < self.size:
                raise IndexError(f"row {at} of {self.size}")
            new.begin()
            for i in range(self.width):
                made(column_copy(&new.column[i], new.size, &self.column[i], at))
            new.size += 1
        for name, values in (replaced or {}).items():
            i = self.names.index(name)
            for at, value in enumerate(values):
                if at >= new.size:
                    raise ValueError(f"more values of {name} than rows")
                put(&new.column[i], at, value)
            if len(values) < new.size:
                raise ValueError(f"fewer values of {name} than rows")
        return new

    def __arrow_c_stream__(self, requested_schema=None):
        """An ArrowArrayStream in a capsule, as Arrow's PyCapsule interface has it."""
        cdef Lent lent
        if self.room == 0:
            self.make_room()  # so that there is a buffer where no row is
        self.lent = True
        lent.owner = <PyObject *> self
        lent.rows = self.size
        lent.columns = self.width
        lent.column = self.column
        lent.name = self.name
        return PyCapsule_New(stream_lend(&lent), "arrow_array_stream", capsule_free)

    cdef int begin(self) except -1:
        if self.lent:
            raise ValueError("these rows were handed over; further ones go into new Columns")
        if self.size == self.room:
            self.make_room()
        return 0

    cdef int make_room(self) except -1:
        cdef int64_t rows = 2 * self.room if self.room else ROWS_MIN
        cdef int i
        for i in range(self.width):
            made(column_grow(&self.column[i], rows, self.room))
        self.room = rows
        return 0

    cdef int forget(self) except -1:
        """What a row has left that was not added."""
        cdef int i
        for i in range(self.width):
            column_valid(&self.column[i], self.size)
        return 0

    cdef int fill(self, tuple values) except -1:
        cdef int i = 0
        for value in values:
            try:
                put(&self.column[i], self.size, value)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"column {self.names[i]}: {error}") from None
            i += 1
        return 0

    cdef uint64_t add_state(self, bytes raw) except? 0:
        cdef uint64_t counts[COUNTS_MAX]
        cdef State s
        cdef Runs runs
        cdef Py_ssize_t start = read_state(raw, &s, &runs, counts)
        cdef double[18] numbers = [
            s.weight.hi, s.weight.lo, s.weight2, s.mean.hi, s.mean.lo, s.m2.hi, s.m2.lo, s.m3, s.m4,
            s.abs_sum, s.low, s.high, s.y_mean.hi, s.y_mean.lo, s.y_m2.hi, s.y_m2.lo, s.y_e.hi,
            s.y_e.lo]
        cdef Column *c = &self.column[self.head]
        cdef int64_t row = self.size
        cdef int i
        column_integer(c, row, <int64_t> s.count)
        for i in range(18):
            column_real(&c[1 + i], row, numbers[i])
        column_integer(&c[19], row, <int64_t> s.nonfinite)
        column_integer(&c[20], row, <int64_t> s.out_of_range)
        if s.count == 0:
            made(column_bytes(&c[21], row, EMPTY, len(EMPTY), NULL, 0))
        elif start:
            made(column_bytes(&c[21], row, &FIRST, 1, PyBytes_AS_STRING(raw) + start,
                              len(raw) - start))
        else:
            column_null(&c[21], row)
        return max(s.count, s.nonfinite, s.out_of_range)

    cdef uint64_t add_coverage(self, bytes raw) except? 0:
        cdef uint64_t numbers[COVERAGE_NUMBERS]
        cdef uint64_t counts[COUNTS_MAX]
        cdef uint64_t largest = 0
        cdef Py_ssize_t start
        cdef Column *c = &self.column[self.head + MOMENTS + 1]
        cdef int i
        if not raw:
            for i in range(COVERAGE_NUMBERS):
                column_integer(&c[i], self.size, 0)
            made(column_bytes(&c[COVERAGE_NUMBERS], self.size, EMPTY, len(EMPTY), NULL, 0))
            return 0
        start = read_coverage(raw, numbers, counts)
        for i in range(COVERAGE_NUMBERS):
            column_integer(&c[i], self.size, <int64_t> numbers[i])
            if i < COVERAGE_COUNTERS:
                largest = max(largest, numbers[i])
        made(column_bytes(&c[COVERAGE_NUMBERS], self.size, PyBytes_AS_STRING(raw) + start,
                          len(raw) - start, NULL, 0))
        return largest
