# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, freethreading_compatible=True
"""What PostgreSQL copies out in its binary format, read in compiled loops: no object a value."""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memset

from edgemse.stats._groups cimport MERGED, Group, Groups, counts_merge, groups_free, groups_get
from edgemse.stats.grouped cimport Outcome, as_dict, check
from edgemse.stores._copy cimport (
    BEYOND, CUT, FIELDS_MAX, HEADLESS, NO_ROW, NULL_SIZE, ODD, ROW, Copy, Field, Found, big32,
    big64, copy_row,
)

__all__ = ["copied_histograms", "copied_numbers"]

cdef enum:
    ROWS_MIN = 1024
    NUMBER_SIZE = 8
    SIZE_SIZE = 4

WRONG = {
    HEADLESS: "do not begin with the header of PostgreSQL's binary COPY format",
    ODD: "have a row of another number of columns than were asked for",
    CUT: "are cut off inside a row",
    BEYOND: "go on after their end",
}


cdef int copy_more(Copy *c, const Py_buffer *view) except -1:
    c.at = <const uint8_t *> view.buf
    c.end = c.at + view.len
    return 0


cdef int check_found(Found found) except -1:
    """Of what ends a message, only that it is used up is right."""
    if found != NO_ROW:
        raise ValueError(f"the bytes of a COPY {WRONG[found]}")
    return 0


cdef int check_ended(const Copy *c) except -1:
    if not c.over:
        raise ValueError("the bytes of a COPY end before their end mark")
    return 0


cdef tuple key_of(bytes raw, int keys):
    """The values of a group's columns, each as its bytes."""
    cdef Py_ssize_t at = 0
    cdef int size
    values = []
    for _ in range(keys):
        size = <int> big32(<const uint8_t *> PyBytes_AS_STRING(raw) + at)
        at += SIZE_SIZE
        values.append(None if size == NULL_SIZE else raw[at:at + size])
        at += max(size, 0)
    return tuple(values)


cdef class Merging:
    """Groups by the bytes of what names them."""

    cdef int keys
    cdef Groups groups
    cdef Outcome outcome
    cdef dict numbers
    cdef bytes key  # of the last row

    def __cinit__(self, int keys):
        self.keys = keys
        self.numbers = {}

    def __dealloc__(self):
        groups_free(&self.groups)

    cdef int take(self, const Field *fields) except -1:
        """Add the histogram of a row."""
        cdef Outcome *o = &self.outcome
        cdef const Field *last = &fields[self.keys]
        cdef const uint8_t *start = last.data
        cdef Py_ssize_t size = 0
        cdef Group *group
        if self.keys:  # from the size of the first column to that of the histogram
            start = fields[0].data - SIZE_SIZE
            size = last.data - SIZE_SIZE - start
        if (self.key is None or PyBytes_GET_SIZE(self.key) != size
                or memcmp(PyBytes_AS_STRING(self.key), start, size) != 0):
            self.key = PyBytes_FromStringAndSize(<const char *> start, size)
            o.group = self.numbers.setdefault(self.key, len(self.numbers))
        group = groups_get(&self.groups, o.group, o.row)
        if group == NULL:
            raise MemoryError
        o.result = counts_merge(&group.counts, last.data, max(last.size, 0), &group.bare,
                                &o.verdict)
        if o.result != MERGED:
            o.first_byte = last.data[0] if last.size > 0 else 0
            check(o, key_of(self.key, self.keys))
        o.row += 1
        return 0

    cdef dict merged(self):
        cdef list names = [key_of(key, self.keys) for key in self.numbers]
        return {names[number]: each for number, each in as_dict(&self.groups).items()}


def copied_histograms(messages, int keys):
    """The histograms of each group merged, as `merge_histograms` merges them.

    Args:
        messages: bytes, or what has a buffer, with whole rows: `keys` columns that name the group
            (of any type) and the histogram's bytes, or null.
        keys: the number of columns before the histogram; with 0 all rows are one group.

    Returns:
        {the bytes of the group's columns, None for null: ResidualHistogram}, in the order of their
        first rows; None for a group of which a part came without histogram. Empty for no rows.

    Raises:
        ValueError: the messages are not in the format, or were cut; CorruptStateError,
            UnsupportedVersionError and OverflowError as of `merge_histograms`.
    """
    cdef Merging merging
    cdef Copy c
    cdef Field[FIELDS_MAX] fields
    cdef Py_buffer view
    cdef Found found
    if not 0 <= keys < FIELDS_MAX:
        raise ValueError(f"{keys} columns of a group; wanted 0 to {FIELDS_MAX - 1}")
    merging = Merging(keys)
    memset(&c, 0, sizeof(Copy))
    for message in messages:
        PyObject_GetBuffer(message, &view, PyBUF_SIMPLE)
        try:
            copy_more(&c, &view)
            found = copy_row(&c, fields, keys + 1)
            while found == ROW:
                merging.take(fields)
                found = copy_row(&c, fields, keys + 1)
            check_found(found)
        finally:
            PyBuffer_Release(&view)
    check_ended(&c)
    return merging.merged()


cdef class Numbers:
    """Columns of 8 bytes a row."""

    cdef int columns
    cdef int64_t rows
    cdef int64_t room
    cdef uint64_t *values[FIELDS_MAX]

    def __cinit__(self, int columns):
        self.columns = columns

    def __dealloc__(self):
        cdef int i
        for i in range(self.columns):
            PyMem_RawFree(self.values[i])

    cdef int take(self, const Field *fields) except -1:
        """Add a row."""
        cdef uint64_t *grown
        cdef int i
        if self.rows == self.room:
            self.room = 2 * self.room if self.room else ROWS_MIN
            for i in range(self.columns):
                grown = <uint64_t *> PyMem_RawRealloc(self.values[i], self.room * NUMBER_SIZE)
                if grown == NULL:
                    raise MemoryError
                self.values[i] = grown
        for i in range(self.columns):
            if fields[i].size != NUMBER_SIZE:
                raise ValueError(
                    f"column {i} of row {self.rows} is null, or no number of 8 bytes")
            self.values[i][self.rows] = big64(fields[i].data)
        self.rows += 1
        return 0


def copied_numbers(messages, int columns):
    """The columns of rows of numbers, int64 or doubles, each as the bytes of this machine.

    Args:
        messages: bytes, or what has a buffer, with whole rows of that many columns.
        columns: at most 64.

    Returns:
        For each column 8 bytes a row; b"" for no rows.

    Raises:
        ValueError: the messages are not in the format or were cut; a value is null or is not one
            of 8 bytes.
    """
    cdef Numbers numbers
    cdef Copy c
    cdef Field[FIELDS_MAX] fields
    cdef Py_buffer view
    cdef Found found
    if not 0 < columns <= FIELDS_MAX:
        raise ValueError(f"{columns} columns; wanted 1 to {FIELDS_MAX}")
    numbers = Numbers(columns)
    memset(&c, 0, sizeof(Copy))
    for message in messages:
        PyObject_GetBuffer(message, &view, PyBUF_SIMPLE)
        try:
            copy_more(&c, &view)
            found = copy_row(&c, fields, columns)
            while found == ROW:
                numbers.take(fields)
                found = copy_row(&c, fields, columns)
            check_found(found)
        finally:
            PyBuffer_Release(&view)
    check_ended(&c)
    return [PyBytes_FromStringAndSize(<const char *> numbers.values[i],
                                      numbers.rows * NUMBER_SIZE) for i in range(columns)]
