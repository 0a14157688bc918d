# cython: language_level=3, cdivision=True
"""A histogram as bytes of its own: what a state's bytes end in, behind one byte (docs/wire.md)."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from edgemse.stats._codec cimport Reader, Runs, get_runs

cdef enum:
    FIRST_BYTE = 0x41  # "histogram, version 1"; a whole state starts with 0x01
    LATER_VERSIONS = 0x80  # first bytes up to here are histograms of later versions

cdef enum Verdict:
    GOOD
    NO_BYTES
    OTHER_BYTES
    LATER
    CORRUPT


cdef inline Verdict histogram_read(const unsigned char *data, Py_ssize_t size, Runs *runs,
                                   uint64_t *counts) noexcept nogil:
    cdef Reader r
    if size == 0:
        return NO_BYTES
    if data[0] != FIRST_BYTE:
        return LATER if FIRST_BYTE < data[0] < LATER_VERSIONS else OTHER_BYTES
    memset(&r, 0, sizeof(Reader))
    r.data = data
    r.size = size
    r.at = 1
    return GOOD if get_runs(&r, runs, counts) else CORRUPT


cdef inline int histogram_refuse(Verdict verdict, int first_byte, str which) except -1:
    """Raises what `histogram_read` found; `which` begins the sentence."""
    from edgemse.errors import CorruptStateError, UnsupportedVersionError
    if verdict == LATER:
        raise UnsupportedVersionError(
            f"{which} is of version {first_byte - FIRST_BYTE + 1}; this edgemse reads version 1: "
            "upgrade it")
    if verdict == NO_BYTES:
        raise CorruptStateError(f"{which} has no bytes at all; one starts with 0x41")
    if verdict == OTHER_BYTES:
        raise CorruptStateError(f"{which} starts with 0x{first_byte:02x}; one starts with 0x41")
    raise CorruptStateError(f"{which} is none: cut short, altered, or something else")


cdef inline int histogram_parse(bytes raw, Runs *runs, uint64_t *counts) except -1:
    """The histogram in these bytes, or the error that says what they are."""
    cdef Verdict verdict = histogram_read(raw, len(raw), runs, counts)
    if verdict != GOOD:
        histogram_refuse(verdict, raw[0] if raw else 0, "a histogram")
    return 0


cdef inline bytes histogram_tail(bytes state, Py_ssize_t start):
    """The histogram that a state's bytes end in from `start` on, as bytes of its own."""
    cdef Py_ssize_t size = len(state) - start
    cdef bytes out = PyBytes_FromStringAndSize(NULL, size + 1)
    cdef char *data = PyBytes_AS_STRING(out)
    data[0] = FIRST_BYTE
    memcpy(data + 1, PyBytes_AS_STRING(state) + start, size)
    return out
