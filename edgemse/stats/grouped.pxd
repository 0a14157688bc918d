# cython: language_level=3, cdivision=True
"""What else merges histograms by group raises, and hands over."""
from libc.stdint cimport int64_t

from edgemse.stats._groups cimport Groups
from edgemse.stats._histogram cimport Verdict

cdef struct Outcome:  # of a batch, for who raises
    int result
    Verdict verdict
    int first_byte
    int64_t row
    int64_t group

cdef int check(const Outcome *o, object group) except -1
cdef dict as_dict(Groups *groups)
