# cython: language_level=3, cdivision=True
"""A state as bytes, and what every state that is read must satisfy (docs/wire.md, "The state")."""
from libc.stdint cimport uint64_t
from libc.string cimport memset

from edgemse.stats._buckets cimport (
    MAX_COUNT, NEGATIVE, NO_TOP, POSITIVE, SPAN, Buckets, bucket_index,
)
from edgemse.stats._codec cimport (
    Reader, Runs, Writer, get_byte, get_double, get_runs, get_varint, put_buckets, put_byte,
    put_double, put_varint,
)
from edgemse.stats._consistency cimport good_state
from edgemse.stats._moments cimport State, dd_of, dd_same, state_clear

cdef enum:
    STATE_VERSION = 1
    HAS_NONFINITE = 1
    HAS_OUT_OF_RANGE = 2
    IS_WEIGHTED = 4
    FIRST_FIELD = 3   # the bit of `mean`; the other fields follow in their order
    FIELDS = 15
    WITHOUT_HISTOGRAM = 1 << (FIRST_FIELD + FIELDS)

cdef enum:
    MERGED_SLACK = 2  # a table's sums round a single cell too, whose count does not grow

cdef inline void list_fields(const State *s, const double **fields) noexcept nogil:
    """The numbers that are left out of the bytes when zero, in the order of their bits."""
    fields[0] = &s.mean.hi
    fields[1] = &s.mean.lo
    fields[2] = &s.m2.hi
    fields[3] = &s.m2.lo
    fields[4] = &s.m3
    fields[5] = &s.m4
    fields[6] = &s.abs_sum
    fields[7] = &s.low
    fields[8] = &s.high
    fields[9] = &s.y_mean.hi
    fields[10] = &s.y_mean.lo
    fields[11] = &s.y_m2.hi
    fields[12] = &s.y_m2.lo
    fields[13] = &s.y_e.hi
    fields[14] = &s.y_e.lo


cdef inline bint state_same(const State *a, const State *b) noexcept nogil:
    cdef const double *mine[FIELDS]
    cdef const double *theirs[FIELDS]
    cdef int i
    list_fields(a, mine)
    list_fields(b, theirs)
    for i in range(FIELDS):
        if mine[i][0] != theirs[i][0]:
            return False
    return (a.count == b.count and a.nonfinite == b.nonfinite and a.out_of_range == b.out_of_range
            and a.weight2 == b.weight2 and dd_same(a.weight, b.weight))


cdef inline bint is_weighted(const State *s) noexcept nogil:
    cdef double n = <double> s.count
    return s.weight.hi != n or s.weight.lo != 0.0 or s.weight2 != n


cdef inline void put_state(Writer *w, const State *s, const Buckets *b) noexcept nogil:
    """Of a settled, canonical state; without histogram where b is NULL."""
    cdef const double *fields[FIELDS]
    cdef uint64_t mask = 0
    cdef int i
    list_fields(s, fields)
    mask |= HAS_NONFINITE if s.nonfinite else 0
    mask |= HAS_OUT_OF_RANGE if s.out_of_range else 0
    if s.count:
        mask |= IS_WEIGHTED if is_weighted(s) else 0
        mask |= WITHOUT_HISTOGRAM if b == NULL else 0
        for i in range(FIELDS):
            if fields[i][0] != 0.0:
                mask |= 1ULL << (FIRST_FIELD + i)
    put_byte(w, STATE_VERSION)
    put_varint(w, s.count)
    put_varint(w, mask)
    if s.nonfinite:
        put_varint(w, s.nonfinite)
    if s.out_of_range:
        put_varint(w, s.out_of_range)
    if mask & IS_WEIGHTED:
        put_double(w, s.weight.hi)
        put_double(w, s.weight.lo)
        put_double(w, s.weight2)
    for i in range(FIELDS):
        if mask >> (FIRST_FIELD + i) & 1:
            put_double(w, fields[i][0])
    if s.count and b != NULL:
        put_buckets(w, b)


cdef inline bint good_end(const Runs *h, int side, double largest) noexcept nogil:
    """The highest bucket of a sign is the one that its largest magnitude lies in."""
    if largest > 0.0 and bucket_index(largest) > h.top - SPAN:
        return h.size[side] > 0 and h.low[side] + h.size[side] - 1 == bucket_index(largest)
    return h.size[side] == 0


cdef inline bint good_runs(const Runs *h, const State *s) noexcept nogil:
    """The histogram belongs to the state: the same samples, the same range."""
    cdef int top = NO_TOP
    if s.high > 0.0:
        top = bucket_index(s.high)
    if s.low < 0.0:
        top = max(top, bucket_index(-s.low))
    return (h.top == top and h.total == s.count and good_end(h, POSITIVE, s.high)
            and good_end(h, NEGATIVE, -s.low))


cdef inline uint64_t get_counter(Reader *r) noexcept nogil:
    """One that is only written when it is not zero."""
    cdef uint64_t v = get_varint(r)
    if v == 0 or v > MAX_COUNT:
        r.failed = True
    return v


cdef inline bint get_state(Reader *r, State *s, bint *bare) noexcept nogil:
    """The numbers, after the version and checked; False if they are none."""
    cdef const double *fields[FIELDS]
    cdef uint64_t mask
    cdef int i
    state_clear(s)
    s.count = get_varint(r)
    mask = get_varint(r)
    bare[0] = mask & WITHOUT_HISTOGRAM != 0
    if r.failed or s.count > MAX_COUNT or mask >= 2 * WITHOUT_HISTOGRAM:
        return False
    if mask & HAS_NONFINITE:
        s.nonfinite = get_counter(r)
    if mask & HAS_OUT_OF_RANGE:
        s.out_of_range = get_counter(r)
    if s.count == 0:
        return not r.failed and mask < IS_WEIGHTED and r.at == r.size
    s.low = s.high = 0.0
    s.weight = dd_of(<double> s.count)
    s.weight2 = <double> s.count
    if mask & IS_WEIGHTED:
        s.weight.hi = get_double(r)
        s.weight.lo = get_double(r)
        s.weight2 = get_double(r)
        if not is_weighted(s):
            return False
    list_fields(s, fields)
    for i in range(FIELDS):
        if mask >> (FIRST_FIELD + i) & 1:
            (<double *> fields[i])[0] = get_double(r)
            if fields[i][0] == 0.0:
                return False
    return not r.failed and good_state(s, 1.0) and (not bare[0] or r.at == r.size)


cdef inline int refuse_version(bytes raw) except -1:
    from edgemse.errors import CorruptStateError, UnsupportedVersionError
    if not raw:
        raise CorruptStateError("no bytes at all; a state starts with its version, 1")
    if raw[0] == 0:
        raise CorruptStateError("the first byte is 0; a state starts with its version, 1")
    raise UnsupportedVersionError(f"a state of version {raw[0]}; this edgemse reads versions up to "
                                  f"{STATE_VERSION}: upgrade it")


cdef inline Py_ssize_t read_state(bytes raw, State *s, Runs *runs, uint64_t *counts) except -1:
    """The state in these bytes, or the error that says what they are.

    Returns where in them the histogram begins; 0 where a state of samples comes without. That of an
    empty state is not in its bytes: then their length is returned, and `runs` is empty.
    """
    cdef Reader r
    cdef bint bare
    cdef Py_ssize_t start
    if not raw or raw[0] != STATE_VERSION:
        refuse_version(raw)
    memset(&r, 0, sizeof(Reader))
    memset(runs, 0, sizeof(Runs))
    runs.top = NO_TOP
    r.data = raw
    r.size = len(raw)
    get_byte(&r)
    if get_state(&r, s, &bare):
        start = r.at
        if bare:
            return 0
        if s.count == 0 or (get_runs(&r, runs, counts) and good_runs(runs, s)):
            return start
    from edgemse.errors import CorruptStateError
    raise CorruptStateError(f"{len(raw)} bytes that are no state: cut short, altered, or "
                            "something else")


cdef inline tuple state_tuple(State s):
    """In the order of `Moments`."""
    return (s.count, s.weight.hi, s.weight.lo, s.weight2, s.mean.hi, s.mean.lo, s.m2.hi, s.m2.lo,
            s.m3, s.m4, s.abs_sum, s.low, s.high, s.y_mean.hi, s.y_mean.lo, s.y_m2.hi, s.y_m2.lo,
            s.y_e.hi, s.y_e.lo, s.nonfinite, s.out_of_range)


cdef inline int read_moments(object moments, State *s, const Runs *runs) except -1:
    """The inverse of `state_tuple`, checked; against the histogram too unless `runs` is NULL."""
    cdef State empty
    cdef bint good
    try:
        (s.count, s.weight.hi, s.weight.lo, s.weight2, s.mean.hi, s.mean.lo, s.m2.hi, s.m2.lo,
         s.m3, s.m4, s.abs_sum, s.low, s.high, s.y_mean.hi, s.y_mean.lo, s.y_m2.hi, s.y_m2.lo,
         s.y_e.hi, s.y_e.lo, s.nonfinite, s.out_of_range) = moments
        good = s.nonfinite <= MAX_COUNT and s.out_of_range <= MAX_COUNT
    except OverflowError:
        good = False
    if good and s.count == 0:
        state_clear(&empty)
        empty.nonfinite = s.nonfinite
        empty.out_of_range = s.out_of_range
        good = state_same(&empty, s)
    elif good:
        good = good_state(s, MERGED_SLACK)
    if not good or (runs != NULL and not good_runs(runs, s)):
        from edgemse.errors import CorruptStateError
        raise CorruptStateError("these moments do not fit each other or the histogram")
    return 0
