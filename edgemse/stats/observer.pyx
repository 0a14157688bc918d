# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
# cython: embedsignature=True, freethreading_compatible=True
"""The short way of a sample into an open window, for one that many threads hand samples to.

`OpenStats` is what a growing cell is made of, `Guard` the lock that its holders share, `Observer`
the call: whatever is not the common case (a window that is over, a new series, a loss, somebody
else who has the lock) goes the long way, which a subclass defines.
"""
cimport cython
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.pythread cimport (
    NOWAIT_LOCK, PY_LOCK_ACQUIRED, WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock,
    PyThread_free_lock, PyThread_release_lock, PyThread_type_lock,
)

from edgemse.stats.error_stats cimport ErrorStats

__all__ = ["Guard", "Observer", "OpenStats"]

cdef extern from "_observer.h":
    bint wall_within(double start, double end)
    bint boot_within(double ahead, double start, double end)
    bint enter(PyThread_type_lock lock, const int *held)
    void leave(PyThread_type_lock lock)

cdef enum:
    EARLIEST_SECONDS = 1000000000  # times from 2001 to 2242 need no further look
    LATEST_SECONDS = 8589934592
    NOW = -1  # no time that anybody gives


cdef class OpenStats:
    """Statistics of [start, end) seconds since 1970 that grow until they are `final`.

    `grown` says that something came since the holder looked last; `counted` is what became of
    predictions and labels, None where samples came whole. Whoever reads or changes more than one of
    these holds the lock of the holder.
    """

    def __init__(self, double start, double end):
        self.stats = ErrorStats()
        self.start, self.end = start, end
        self.grown, self.final = True, False


@cython.final
cdef class Guard:
    """A lock as threading.Lock, which compiled code takes without a call of Python."""

    cdef PyThread_type_lock lock
    cdef int held  # written by who has the lock, with the GIL

    def __cinit__(self):
        self.held = 0
        self.lock = PyThread_allocate_lock()
        if self.lock is NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.lock is not NULL:
            PyThread_acquire_lock(self.lock, NOWAIT_LOCK)  # one that is held must not be freed
            PyThread_release_lock(self.lock)
            PyThread_free_lock(self.lock)

    def acquire(self, bint blocking=True):
        """Take it; False if somebody has it and we are not to wait."""
        if PyThread_acquire_lock(self.lock, NOWAIT_LOCK) != PY_LOCK_ACQUIRED:
            if not blocking:
                return False
            with nogil:
                PyThread_acquire_lock(self.lock, WAIT_LOCK)
        self.held = 1
        return True

    def release(self):
        """Give it back; only who has it may."""
        self.held = 0
        PyThread_release_lock(self.lock)

    def __enter__(self):
        self.acquire()
        return self

    def __exit__(self, *_error):
        self.release()


cdef class Observer:
    """Hands samples to the open window of their output and segment.

    A subclass sets `guard`, `latest` (by output and segment, what its last sample went to),
    `closed`, and `ticking` or `counting`: whether time is the system's clock, or the boot's and
    `ahead` seconds; and defines `_observe`, the long way, which takes what `observe` takes.
    """

    cdef public Guard guard
    cdef dict open_stats
    cdef public bint closed, ticking, counting
    cdef public double ahead
    cdef OpenStats last  # of these two names, if not None: nearly always the next sample's too
    cdef str last_output, last_segment

    def __cinit__(self):
        self.guard, self.open_stats = Guard(), {}

    @property
    def latest(self):
        return self.open_stats

    @latest.setter
    def latest(self, dict latest not None):
        self.open_stats = latest
        self.last = None  # of a forked child's parent, say

    def observe(
        self, y_true, y_pred, segment="", weight=1.0, ts=None, *, output="", loss="",
        latency=None, features=None, lower=None, upper=None,
    ):
        """Count one sample, of the time `ts` (seconds since 1970; default: now).

        Beside the error, each as a measure of its own: `loss` (`huber(delta=1)`), `latency`
        (seconds), `features` (a number by name, `feature:<name>`), and of the interval from
        `lower` to `upper` that the model gave whether the label lies in it (`interval:covered`, 1
        or 0) and its width (`interval:width`). NaN, infinite and huge values are counted as
        refused, as by ErrorStats.update.

        Raises:
            TypeError: a name is no text, or a number no number.
            ValueError: a name, a time, a weight, a loss or an interval that there cannot be; or
                after `close`.
        """
        cdef double at = NOW, y, p, w
        if (
            loss == "" and latency is None and features is None and lower is None
            and upper is None and type(segment) is str and type(output) is str
        ):
            if ts is not None and type(ts) is float:
                at = ts
            if EARLIEST_SECONDS <= at < LATEST_SECONDS or (
                ts is None and (self.ticking or self.counting)
            ):
                try:
                    y, p, w = y_true, y_pred, weight
                    if self.added(output, segment, at, y, p, w):
                        return
                except OverflowError:  # a whole number that no float64 holds: refused as too large
                    pass
        self._observe(
            y_true, y_pred, segment, weight, ts, output, loss, latency, features, lower, upper
        )

    cdef bint added(
        self, str output, str segment, double at, double y, double p, double weight
    ) except -1:
        """Add the sample where the last one of its names went; False, and nothing, if it cannot.

        Nobody else may have the lock, and it is not waited for: no thread can close, seal or send
        that window meanwhile. No Python runs in here, so neither a thread nor a signal's handler
        comes between.
        """
        cdef Guard guard = self.guard
        if not enter(guard.lock, &guard.held):
            return False
        try:
            return not self.closed and self.added_alone(output, segment, at, y, p, weight)
        finally:
            leave(guard.lock)

    cdef inline bint added_alone(
        self, str output, str segment, double at, double y, double p, double weight
    ) except -1:
        cdef OpenStats cell = self.last
        if cell is None or segment is not self.last_segment or output is not self.last_output:
            cell = self.found(output, segment)
            if cell is None:
                return False
        if cell.final or not self.within(cell.start, cell.end, at):
            self.last = None  # another one may stand there soon
            return False
        cell.stats.add(y, p, weight)
        cell.grown = True
        return True

    cdef inline bint within(self, double start, double end, double at) noexcept:
        if at != NOW:
            return start <= at < end
        return wall_within(start, end) if self.ticking else boot_within(self.ahead, start, end)

    cdef OpenStats found(self, str output, str segment):
        """What the last sample of these names went to, kept for the next call; None if nothing."""
        cdef PyObject *found = PyDict_GetItemWithError(self.open_stats, output)
        if found is not NULL:
            found = PyDict_GetItemWithError(<dict?> found, segment)
        if found is NULL:
            return None
        self.last = <OpenStats?> found
        self.last_output, self.last_segment = output, segment
        return self.last
