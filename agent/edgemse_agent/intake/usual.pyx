# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True
"""The short way of usual lines: from bytes into cells and pairs, without an object a line.

A line that is anything else, or whose cell has to be opened first, goes the long way, by
`lines.parse` and `Agent.take`; both ways do the same with a line that both can take.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcpy

from edgemse.stats.observer cimport OpenStats
from edgemse_agent.pairs cimport Named, Pairs

from edgemse.cells import Series

__all__ = ["UsualLines", "read"]

cdef extern from "_usual.h":
    enum:
        NAME_CHARACTERS_MAX
        USUAL_NAMES
        USUAL_SAMPLE
        USUAL_PREDICTION
        USUAL_LABEL

    ctypedef struct Span:
        const char *at
        Py_ssize_t size

    ctypedef struct Usual:
        double y_true, y_pred, weight, ts
        Span id
        Span *names
        int64_t n
        int has_ts

    int read_usual(const char *at, const char *end, Usual *out)

cdef enum:
    KNOWN_MAX = 4096  # names kept by how lines spell them; past that they are learnt anew
    WORDS_BYTES = 1100  # four names and their lengths


def read(bytes line not None):
    """What the short way makes of a line, None if it leaves it to the long one.

    The kind ("sample", "prediction", "label"), id, the four names, y_true, y_pred, weight, ts, n;
    None for what the line does not say, but 1.0 for the weight.
    """
    cdef Usual usual
    cdef const char *at = PyBytes_AS_STRING(line)
    cdef int kind = read_usual(at, at + PyBytes_GET_SIZE(line), &usual)
    if not kind:
        return None
    return (
        ("sample", "prediction", "label")[kind - 1],
        text_of(&usual.id),
        names_of(&usual),
        None if kind == USUAL_PREDICTION else usual.y_true,
        None if kind == USUAL_LABEL else usual.y_pred,
        usual.weight,
        usual.ts if usual.has_ts else None,
        None if usual.n < 0 else usual.n,
    )


cdef str text_of(const Span *span):
    return None if span.at is NULL else PyUnicode_DecodeASCII(span.at, span.size, NULL)


cdef tuple names_of(const Usual *usual):
    return tuple([text_of(&usual.names[i]) for i in range(USUAL_NAMES)])


cdef class UsualLines:
    """Works off usual lines for one agent; `samples` of the last call reached a window.

    `default` is the series of a line that names nothing.
    """

    cdef Pairs pairs
    cdef object default
    cdef dict series, wheres
    cdef readonly long samples, lines

    def __init__(self, Pairs pairs not None, default):
        self.pairs = pairs
        self.follow(default)

    def follow(self, default):
        """Go on with another series for lines that name nothing."""
        self.default, self.series, self.wheres = default, {}, {}

    def take(self, bytes data not None, Py_ssize_t at, long long number, double time, double born):
        """Work off the lines from `at` on, and return where the first begins that is left.

        Args:
            data: lines, and perhaps the beginning of one.
            number: of the next line in the client's session; -1 if it has none.
            time: of a line that does not say one.
            born: seconds that the agent has run, for new ids.
        """
        cdef const char *start = PyBytes_AS_STRING(data)
        cdef const char *end = start + PyBytes_GET_SIZE(data)
        cdef const char *line = start + at
        cdef const char *stop
        cdef Usual usual
        cdef int kind
        self.lines = self.samples = 0
        while True:
            stop = <const char *> memchr(line, c"\n", end - line)
            if stop is NULL:
                break
            kind = read_usual(line, stop, &usual)
            if not kind or (number >= 0 and usual.n != number + self.lines):
                break
            if not self.taken(kind, &usual, usual.ts if usual.has_ts else time, born):
                break
            self.lines += 1
            line = stop + 1
        return line - start

    cdef bint taken(self, int kind, const Usual *usual, double time, double born) except -1:
        cdef Named names
        cdef OpenStats cell
        if kind == USUAL_LABEL:
            names = self.named(usual, self.wheres)
            if not self.pairs.labelled(usual.id.at, usual.id.size, names, usual.y_true, time):
                return False
            self.samples += 1
            return True
        names = self.named(usual, self.series)
        if kind == USUAL_PREDICTION:
            return self.pairs.predicted(
                usual.id.at, usual.id.size, names, usual.y_pred, usual.weight, time, born)
        cell = self.pairs.cell_of(names, time)
        if cell is None:
            return False
        cell.stats.add(usual.y_true, usual.y_pred, usual.weight)
        cell.grown = True
        self.samples += 1
        return True

    cdef Named named(self, const Usual *usual, dict known):
        """The series that a line names, or what a label does, by how the line spells it."""
        cdef char words[WORDS_BYTES]
        cdef char *at = words
        cdef int i, size
        cdef PyObject *found
        for i in range(USUAL_NAMES):
            size = -1 if usual.names[i].at is NULL else <int> usual.names[i].size
            memcpy(at, &size, sizeof(size))
            at += sizeof(size)
            if size > 0:
                memcpy(at, usual.names[i].at, size)
                at += size
        key = PyBytes_FromStringAndSize(words, at - words)
        found = PyDict_GetItemWithError(known, key)
        if found is not NULL:
            return <Named> found
        names = names_of(usual)
        if known is self.series:
            model, version, output, segment = names
            names = Series(
                self.default.model if model is None else model,
                self.default.version if version is None else version,
                output or "",
                segment or "",
            )
        if len(known) >= KNOWN_MAX:
            known.clear()
        known[key] = self.pairs.named(names)
        return known[key]
