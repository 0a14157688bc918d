# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, freethreading_compatible=True
"""Histograms in bytes merged by group in one compiled loop, from an Arrow stream or an iterable.

A stream of several batches is read by two threads.
"""
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock,
    PyThread_type_lock, WAIT_LOCK,
)
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset, strcmp

from edgemse.stats._arrow cimport (
    ArrowArray, ArrowArrayStream, ArrowSchema, arrow_binary, arrow_int64, arrow_is_null,
)
from edgemse.stats._buckets cimport buckets_clear
from edgemse.stats._groups cimport (
    MEMORYLESS, MERGED, OVERFULL, REFUSED, Group, Groups, Merged, counts_merge, groups_free,
    groups_get, groups_merge,
)
from edgemse.stats._histogram cimport histogram_refuse
from edgemse.stats.histogram cimport ResidualHistogram

from threading import Thread

__all__ = ["merge_histograms"]

cdef enum:
    NUMBERLESS = MEMORYLESS + 1  # a row whose group is null

cdef struct Shared:  # by the threads that read one stream
    ArrowArrayStream *stream
    PyThread_type_lock lock
    int64_t rows     # handed out
    int code         # of the stream
    bint large
    bint over        # it has ended, or a thread has failed


def merge_histograms(source):
    """The histograms of each group, merged: exactly what merging them one by one gives.

    Args:
        source: an object with `__arrow_c_stream__` (a relation of DuckDB, a table of Arrow or
            Polars; no library of Arrow is needed here) of two columns, the group's number (int64)
            and the histogram's bytes (binary or large_binary), read without the GIL, of several
            batches by two threads; or an iterable
            of (group, bytes), the group being anything that a dict takes as a key.

    Bytes are those of `ResidualHistogram.to_bytes` or the second half of `split_state`. Null or no
    bytes at all are samples without a histogram.

    Returns:
        {group: ResidualHistogram}, in the order of their first rows; None for a group of which a
        part came without histogram. Empty for no rows.

    Raises:
        CorruptStateError: the bytes of a row are no histogram; UnsupportedVersionError: they are of
            a newer edgemse. Rows are counted from 0.
        OverflowError: more than 2^53 samples in a group.
        TypeError: the columns are of other types.
        ValueError: a row has no group.
        RuntimeError: the stream failed, with its words.

    Examples:
        >>> from edgemse import ResidualHistogram
        >>> h = ResidualHistogram()
        >>> h.update(0.5)
        >>> merge_histograms([("a", h.to_bytes()), ("b", h.to_bytes()), ("a", h.to_bytes())])
        {'a': ResidualHistogram(n=2, zero=0), 'b': ResidualHistogram(n=1, zero=0)}
        >>> merge_histograms([("a", h.to_bytes()), ("a", b"")])
        {'a': None}
    """
    if hasattr(source, "__arrow_c_stream__"):
        return merge_stream(source.__arrow_c_stream__())
    return merge_pairs(source)


cdef int check(const Outcome *o, object group) except -1:
    if o.result == MERGED:
        return 0
    if o.result == MEMORYLESS:
        raise MemoryError
    if o.result == NUMBERLESS:
        raise ValueError(f"row {o.row} has no group number; a query must give one to each row")
    if o.result == OVERFULL:
        raise OverflowError(f"more than 2**53 samples in group {group!r}")
    histogram_refuse(o.verdict, o.first_byte,
                     f"the histogram of group {group!r} in row {o.row}")


cdef dict merge_pairs(object pairs):
    cdef dict merged = {}
    cdef ResidualHistogram counts
    cdef Outcome o
    cdef bint bare
    cdef bytes raw
    o.row = 0
    for group, data in pairs:
        raw = b"" if data is None else data if type(data) is bytes else bytes(memoryview(data))
        held = merged.get(group, merged)  # itself: there is no such group yet
        bare = held is None
        counts = (ResidualHistogram.__new__(ResidualHistogram)
                  if held is None or held is merged else held)
        o.first_byte = raw[0] if raw else 0
        o.result = counts_merge(&counts.buckets, raw, len(raw), &bare, &o.verdict)
        check(&o, group)
        merged[group] = None if bare else counts
        o.row += 1
    return merged


cdef void merge_batch(Groups *groups, const ArrowArray *batch, bint large,
                      Outcome *o) noexcept nogil:
    cdef const ArrowArray *numbers = batch.children[0]
    cdef const ArrowArray *column = batch.children[1]
    cdef const uint8_t *data
    cdef Group *group
    cdef int64_t i, at, size
    for i in range(batch.length):
        at = batch.offset + i + numbers.offset
        if arrow_is_null(numbers, at):
            o.result = NUMBERLESS
            return
        o.group = arrow_int64(numbers, at)
        group = groups_get(groups, o.group, o.row)
        if group == NULL:
            o.result = MEMORYLESS
            return
        at = batch.offset + i + column.offset
        size = 0
        data = NULL
        if not arrow_is_null(column, at):
            data = arrow_binary(column, at, large, &size)
        o.result = counts_merge(&group.counts, data, <Py_ssize_t> size, &group.bare, &o.verdict)
        if o.result != MERGED:
            o.first_byte = data[0]
            return
        o.row += 1


cdef bint is_large(ArrowArrayStream *stream) except -1:
    """Whether the binary column is a large one; TypeError for other columns than are wanted."""
    cdef ArrowSchema schema
    cdef bint fits
    check_stream(stream, stream.get_schema(stream, &schema))
    formats = []
    fits = strcmp(schema.format, b"+s") == 0
    if fits:
        for i in range(schema.n_children):
            formats.append((<bytes> schema.children[i].format).decode())
            fits = fits and schema.children[i].dictionary == NULL
    schema.release(&schema)
    if not fits or len(formats) != 2 or formats[0] != "l" or formats[1] not in ("z", "Z"):
        raise TypeError("wanted are two columns, int64 (l) and binary (z) or large_binary (Z), "
                        f"without dictionaries, not columns of Arrow's formats {formats}")
    return formats[1] == "Z"


cdef int check_stream(ArrowArrayStream *stream, int code) except -1:
    cdef const char *words
    if code:
        words = stream.get_last_error(stream)
        said = words.decode("utf-8", "replace") if words != NULL else f"error {code}"
        raise RuntimeError(f"the Arrow stream failed: {said}")
    return 0


cdef bint merge_next(Shared *shared, Groups *groups, Outcome *o) noexcept nogil:
    """Take the next batch of the stream and merge it; False if there is none."""
    cdef ArrowArray batch
    cdef bint got = False
    PyThread_acquire_lock(shared.lock, WAIT_LOCK)
    if not shared.over:
        shared.code = shared.stream.get_next(shared.stream, &batch)
        got = shared.code == 0 and batch.release != NULL
        if got:
            o.row = shared.rows
            shared.rows += batch.length
        else:
            shared.over = True
    PyThread_release_lock(shared.lock)
    if not got:  # what was got is merged, whatever the other thread has found by now
        return False
    merge_batch(groups, &batch, shared.large, o)
    batch.release(&batch)
    if o.result != MERGED:
        shared.over = True
    return True


cdef class Helper:
    """A second thread of a stream, with groups of its own."""

    cdef Shared *shared
    cdef Groups groups
    cdef Outcome outcome
    cdef object thread

    def __dealloc__(self):
        groups_free(&self.groups)

    def run(self):
        with nogil:
            while merge_next(self.shared, &self.groups, &self.outcome):
                pass


cdef dict merge_stream(object capsule):
    cdef Shared shared
    cdef Groups groups
    cdef Outcome o
    cdef Helper helper = None
    cdef bint more = True
    memset(&groups, 0, sizeof(Groups))
    memset(&o, 0, sizeof(Outcome))
    memset(&shared, 0, sizeof(Shared))
    shared.stream = <ArrowArrayStream *> PyCapsule_GetPointer(
        capsule, "arrow_array_stream")  # the capsule frees it
    shared.large = is_large(shared.stream)
    shared.lock = PyThread_allocate_lock()
    if shared.lock == NULL:
        raise MemoryError
    try:
        while more:
            with nogil:
                more = merge_next(&shared, &groups, &o)
            PyErr_CheckSignals()
            if helper is None and more and not shared.over:
                helper = helped(&shared)
        if helper is not None:
            helper.thread.join()
            if helper.outcome.result != MERGED and (
                    o.result == MERGED or helper.outcome.row < o.row):
                o = helper.outcome
            elif o.result == MERGED:
                with nogil:
                    o.result = groups_merge(&groups, &helper.groups, &o.group)
        if o.result == MERGED:
            check_stream(shared.stream, shared.code)
        check(&o, o.group)
        return as_dict(&groups)
    finally:
        shared.over = True
        if helper is not None:
            helper.thread.join()
        PyThread_free_lock(shared.lock)
        groups_free(&groups)


cdef Helper helped(Shared *shared):
    """Start a second thread: there is more than one batch. None where no thread is to be had."""
    cdef Helper helper = Helper.__new__(Helper)
    helper.shared = shared
    helper.thread = Thread(target=helper.run, name="edgemse histograms", daemon=True)
    try:
        helper.thread.start()
    except RuntimeError:
        return None
    return helper


cdef dict as_dict(Groups *groups):
    cdef dict merged = {}
    cdef ResidualHistogram counts
    cdef Group *group
    cdef Py_ssize_t i
    for _, i in sorted([(groups.each[i].first, i) for i in range(groups.size)]):
        group = &groups.each[i]
        counts = None
        if not group.bare:
            counts = ResidualHistogram.__new__(ResidualHistogram)
            counts.buckets = group.counts  # moved, not copied
            buckets_clear(&group.counts)
        merged[group.number] = counts
    return merged
