# cython: language_level=3, cdivision=True
"""The histogram's counts (see _buckets.h), its bounds, and what can be read off them."""
from libc.stdint cimport uint64_t

cdef extern from "_buckets.h" nogil:
    ctypedef struct Side "edgemse_side":
        int low
        int size
        int room

    ctypedef struct Buckets "edgemse_buckets":
        uint64_t zero
        uint64_t total
        int top
        Side sides[2]

    const int SPAN "EDGEMSE_SPAN"
    const int NO_TOP "EDGEMSE_NO_TOP"
    const double LIMIT "EDGEMSE_LIMIT"
    const uint64_t MAX_COUNT "EDGEMSE_MAX_COUNT"
    int bucket_index "edgemse_index"(double magnitude) noexcept
    void buckets_clear "edgemse_buckets_clear"(Buckets *b) noexcept
    void buckets_free "edgemse_buckets_free"(Buckets *b) noexcept
    uint64_t get "edgemse_get"(const Side *s, int j) noexcept
    size_t side_bytes "edgemse_bytes"(const Side *s, int buckets) noexcept
    int buckets_fill "edgemse_fill"(
        Buckets *b, const uint64_t *counts, uint64_t total, const int *low,
        const int *size) noexcept
    int count_one "edgemse_count"(Buckets *b, double e) noexcept
    int count_all "edgemse_count_all"(Buckets *b, const double *errors, Py_ssize_t n) noexcept
    int buckets_merge "edgemse_buckets_merge"(Buckets *a, const Buckets *b) noexcept
    int buckets_copy "edgemse_buckets_copy"(Buckets *to, const Buckets *source) noexcept

cdef extern from "_tally.h" nogil:
    ctypedef struct Tally "edgemse_tally":
        pass

    void tally_clear "edgemse_tally_clear"(Tally *t) noexcept
    int tally_block "edgemse_tally_block"(
        Tally *t, Buckets *b, const double *errors, Py_ssize_t n, double largest) noexcept
    int tally_flush "edgemse_tally_flush"(Tally *t, Buckets *b) noexcept

cdef extern from "math.h" nogil:
    double fabs(double x) noexcept
    double ldexp(double x, int exponent) noexcept
    double nextafter(double x, double towards) noexcept
    double exp(double x) noexcept
    double log(double x) noexcept
    double fmin(double a, double b) noexcept
    double fmax(double a, double b) noexcept
    double INFINITY
    double NAN

# 2^(j/8), rounded to nearest; the counting itself never uses them (_buckets.h).
cdef extern from *:
    """
    static const double edgemse_eighths[8] = {
        0x1.0000000000000p+0, 0x1.172b83c7d517bp+0, 0x1.306fe0a31b715p+0, 0x1.4bfdad5362a27p+0,
        0x1.6a09e667f3bcdp+0, 0x1.8ace5422aa0dbp+0, 0x1.ae89f995ad3adp+0, 0x1.d5818dcfba487p+0,
    };
    """
    const double eighths "edgemse_eighths"[8]

cdef enum:
    POSITIVE = 0
    NEGATIVE = 1
    LOWEST = -8593  # the bucket of the smallest double, 2^-1074


cdef inline double bound(int i) noexcept nogil:
    """The double nearest to 2^(i/8): bucket i is (bound(i), bound(i + 1)]."""
    return ldexp(eighths[i & 7], i >> 3)


cdef inline uint64_t side_total(const Side *s) noexcept nogil:
    cdef uint64_t total = 0
    cdef int j
    for j in range(s.size):
        total += get(s, j)
    return total


cdef inline size_t buckets_bytes(const Buckets *b) noexcept nogil:
    """What the counts take of memory."""
    return (side_bytes(&b.sides[POSITIVE], b.sides[POSITIVE].room)
            + side_bytes(&b.sides[NEGATIVE], b.sides[NEGATIVE].room))


cdef inline uint64_t at(const Side *s, int index) noexcept nogil:
    """The count of one bucket; 0 outside the run."""
    if index < s.low or index >= s.low + s.size:
        return 0
    return get(s, index - s.low)


cdef inline void trim(const Side *s, int *low, int *size) noexcept nogil:
    """The run without empty ends."""
    cdef int first = 0
    cdef int last = s.size
    while first < last and get(s, first) == 0:
        first += 1
    while last > first and get(s, last - 1) == 0:
        last -= 1
    low[0] = s.low + first if last > first else 0
    size[0] = last - first


cdef inline bint same_side(const Side *a, const Side *b) noexcept nogil:
    cdef int low_a, size_a, low_b, size_b, i
    trim(a, &low_a, &size_a)
    trim(b, &low_b, &size_b)
    if low_a != low_b or size_a != size_b:
        return False
    for i in range(low_a, low_a + size_a):
        if at(a, i) != at(b, i):
            return False
    return True


cdef inline bint same_buckets(const Buckets *a, const Buckets *b) noexcept nogil:
    return (a.zero == b.zero and a.top == b.top
            and same_side(&a.sides[POSITIVE], &b.sides[POSITIVE])
            and same_side(&a.sides[NEGATIVE], &b.sides[NEGATIVE]))


cdef inline double inside(int index, double share) noexcept nogil:
    """The point of a bucket below which `share` of it lies, were it filled evenly."""
    cdef double low = bound(index)
    return low + (bound(index + 1) - low) * share


cdef inline double magnitude_at(const Side *a, const Side *b, uint64_t zero,
                                double rank) noexcept nogil:
    """The magnitude that `rank` samples of the two sides and the zero bucket do not exceed."""
    cdef double before = <double> zero
    cdef double here
    cdef int low = min(a.low if a.size else b.low, b.low if b.size else a.low)
    cdef int end = max(a.low + a.size if a.size else low, b.low + b.size if b.size else low)
    cdef int i
    if rank <= before and zero:
        return 0.0
    for i in range(low, end):
        here = <double> (at(a, i) + at(b, i))
        if here > 0.0 and before + here >= rank:
            return inside(i, (rank - before) / here)
        before += here
    return bound(end)


cdef inline double signed_quantile(const Buckets *b, double q) noexcept nogil:
    """Of e. NaN when empty."""
    cdef Side none
    cdef double total = <double> b.total
    cdef double below = <double> side_total(&b.sides[NEGATIVE])
    cdef double rank = q * total
    none.size = none.low = 0
    if total == 0.0:
        return NAN
    if rank < below:
        return -magnitude_at(&b.sides[NEGATIVE], &none, 0, below - rank)
    return magnitude_at(&b.sides[POSITIVE], &none, b.zero, rank - below)


cdef inline double absolute_quantile(const Buckets *b, double q) noexcept nogil:
    """Of |e|. NaN when empty."""
    cdef double total = <double> b.total
    if total == 0.0:
        return NAN
    return magnitude_at(&b.sides[POSITIVE], &b.sides[NEGATIVE], b.zero, q * total)


cdef inline uint64_t above(const Buckets *b, int index) noexcept nogil:
    """How many |e| lie above bucket `index`."""
    cdef uint64_t total = 0
    cdef int side, j
    cdef const Side *s
    for side in range(2):
        s = &b.sides[side]
        for j in range(max(0, index + 1 - s.low), s.size):
            total += get(s, j)
    return total


cdef inline void above_bounds(const Buckets *b, double t, double *low, double *high) noexcept nogil:
    """How many |e| exceed t: between N(> upper bound) and N(> lower bound) of t's bucket."""
    cdef int cut = b.top - SPAN if b.top != NO_TOP else NO_TOP
    cdef int index
    if t < 0.0 or b.top == NO_TOP:
        low[0] = high[0] = <double> b.total if t < 0.0 else 0.0
        return
    index = bucket_index(t) if t > 0.0 else LOWEST
    low[0] = high[0] = <double> above(b, max(index, cut))
    if index >= cut and bucket_index(nextafter(t, INFINITY)) > index:
        return  # t is the largest double below the bucket's bound: nothing of it exceeds t
    if index > cut:
        high[0] = <double> above(b, index - 1)
    else:
        high[0] += <double> b.zero  # what was folded into the zero bucket may or may not exceed t


cdef inline double samples_above(const Buckets *b, double t) noexcept nogil:
    """N(|e| > t), log-linear inside t's bucket; exact where t is a bound."""
    cdef double low, high, start, f, estimate
    cdef int index
    above_bounds(b, t, &low, &high)
    if low == high or t <= bound(b.top - SPAN + 1):
        return low
    index = bucket_index(t)
    start = bound(index)
    f = (t - start) / (bound(index + 1) - start)
    # An empty tail counts as half a sample: its logarithm must exist.
    estimate = exp((1.0 - f) * log(fmax(high, 0.5)) + f * log(fmax(low, 0.5)))
    return fmin(fmax(estimate, low), high)


cdef inline double power_mean(const Buckets *b, int p, double unit) noexcept nogil:
    """The mean of (|e| / unit)^p, p even, every bucket being filled evenly."""
    cdef double r = eighths[1]
    cdef double rp = 1.0
    cdef double total = 0.0
    cdef double samples = <double> b.zero
    cdef double x, power
    cdef int i, side, j
    cdef const Side *s
    for j in range(p + 1):
        rp *= r
    for side in range(2):
        s = &b.sides[side]
        for j in range(s.size):
            x = bound(s.low + j) / unit
            power = 1.0
            for i in range(p):
                power *= x
            total += <double> get(s, j) * power
            samples += <double> get(s, j)
    return total * (rp - 1.0) / ((p + 1) * (r - 1.0)) / samples


cdef inline double checked_share(double q) except? -1.0:
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile is asked for by a share from 0 to 1, not {q!r}")
    return q
