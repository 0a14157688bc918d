# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, freethreading_compatible=True
"""States and coverages in bytes taken to pieces, fully checked, for the columns of a table.

No object of a state is made, and histograms are passed on as they came.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t

from edgemse.stats.moments import Moments

from edgemse.stats._codec cimport (
    COUNTS_MAX, Runs, Writer, put_varint, writer_close, writer_open,
)
from edgemse.stats._coverage cimport COVERAGE_COUNTERS, COVERAGE_NUMBERS, read_coverage
from edgemse.stats._histogram cimport histogram_tail
from edgemse.stats._moments cimport State
from edgemse.stats._state cimport read_state, state_tuple

__all__ = ["join_coverage", "split_coverage", "split_state"]

cdef object NEW_TUPLE = tuple.__new__  # what Moments._make does, without its detour
cdef bytes NOTHING_COUNTED = b"\x41\x00\x00\x00"  # the bytes of an empty histogram


def split_state(data):
    """The two halves of a state's bytes: its `Moments`, and the bytes of its histogram.

    As thoroughly checked as `ErrorStats.from_bytes` does it, which reads the same. The second half
    is what `ErrorStats.histogram.to_bytes()` would be, of an empty state that of an empty
    histogram; b"" where a state of samples has none. `ErrorStats.from_moments` takes both back.

    Args:
        data: bytes or anything with a buffer.

    Raises:
        CorruptStateError: the bytes were cut or altered, or are something else.
        UnsupportedVersionError: a newer edgemse wrote them.
        TypeError: `data` has no buffer.
    """
    cdef bytes raw = data if type(data) is bytes else bytes(memoryview(data))
    cdef uint64_t counts[COUNTS_MAX]
    cdef State s
    cdef Runs runs
    cdef bytes histogram = b""
    cdef Py_ssize_t start = read_state(raw, &s, &runs, counts)
    if s.count == 0:
        histogram = NOTHING_COUNTED
    elif start:
        histogram = histogram_tail(raw, start)
    return NEW_TUPLE(Moments, state_tuple(s)), histogram


def split_coverage(data):
    """The columns of a coverage's bytes: a `CoverageRow`, checked, b"" being that of nothing.

    Raises:
        CorruptStateError: the bytes were cut or altered, do not fit each other, or are something
            else.
        TypeError: `data` has no buffer.
    """
    cdef bytes raw = data if type(data) is bytes else bytes(memoryview(data))
    cdef uint64_t numbers[COVERAGE_NUMBERS]
    cdef uint64_t counts[COUNTS_MAX]
    cdef Py_ssize_t start
    if not raw:
        return (0, 0, 0, 0, 0, 0, 0, 0, NOTHING_COUNTED)
    start = read_coverage(raw, numbers, counts)
    return (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6],
            numbers[7], raw[start:])


def join_coverage(row):
    """The bytes of a `CoverageRow`, which `split_coverage` takes to pieces; b"" of nothing.

    OverflowError where a count is below 0 or above 2^63 - 1.
    """
    cdef Writer w
    cdef long long number
    if not any(row[:COVERAGE_COUNTERS]):
        return b""
    if writer_open(&w):
        raise MemoryError
    try:
        for i in range(COVERAGE_NUMBERS):
            number = row[i]
            if number < 0:
                raise OverflowError(f"a count of {number}; counts are not negative")
            put_varint(&w, <uint64_t> number)
        if w.failed:
            raise MemoryError
        return PyBytes_FromStringAndSize(<char *> w.data, w.size) + <bytes> row[COVERAGE_NUMBERS]
    finally:
        writer_close(&w)
