# cython: language_level=3, boundscheck=False, wraparound=False
"""What a benchmark wants to see apart: an empty method, and the moments without the histogram.

Compiled when a benchmark runs (apart.py); no part of the package.
"""
from edgemse.stats._moments cimport (
    BLOCK, Block, State, block_sums, state_clear, state_from_block, state_merge, dd_value,
)


cdef class Empty:
    def update(self, double y_true, double y_pred):
        pass


def moments(const double[::1] y, const double[::1] pred):
    """All that `update_many` does with a long batch, but for the histogram; the sum of squares."""
    cdef double errors[BLOCK]
    cdef State total, fresh
    cdef Block b
    cdef Py_ssize_t start = 0, n
    state_clear(&total)
    with nogil:
        while start < y.shape[0]:
            n = min(BLOCK, y.shape[0] - start)
            if block_sums(&y[start], &pred[start], errors, n, &b):
                state_from_block(&fresh, &b, n)
                state_merge(&total, &fresh)
            start += n
    return dd_value(total.m2) + dd_value(total.mean) ** 2 * total.count
