# cython: language_level=3, cdivision=True
"""The histogram's counts (see _buckets.h), its bounds, and what can be read off them."""
from libc.stdint cimport uint64_t

cdef extern from "_buckets.h" nogil:
    ctypedef struct Side "edgemse_side":
        int low
        int size
        int room
        int wide
        void *counts

    ctypedef struct Buckets "edgemse_buckets":
        uint64_t zero
        uint64_t total
        int top
        Side sides[2]

    enum:
        SPAN "EDGEMSE_SPAN"
    const int NO_TOP "EDGEMSE_NO_TOP"
    const double LIMIT "EDGEMSE_LIMIT"
    const double eighths "edgemse_eighths"[8]
    const uint64_t MAX_COUNT "EDGEMSE_MAX_COUNT"
    int bucket_index "edgemse_bucket_index"(double magnitude) noexcept
    void buckets_clear "edgemse_buckets_clear"(Buckets *b) noexcept
    void buckets_free "edgemse_buckets_free"(Buckets *b) noexcept
    uint64_t side_get "edgemse_side_get"(const Side *s, int j) noexcept
    size_t side_bytes "edgemse_side_bytes"(const Side *s, int buckets) noexcept
    int buckets_fill "edgemse_buckets_fill"(
        Buckets *b, const uint64_t *counts, uint64_t total, const int *low,
        const int *size) noexcept
    int buckets_count "edgemse_buckets_count"(Buckets *b, double e) noexcept
    int buckets_count_all "edgemse_buckets_count_all"(
        Buckets *b, const double *errors, Py_ssize_t n) noexcept
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

cdef enum:
    POSITIVE = 0
    NEGATIVE = 1
    LOWEST = -8593           # the bucket of the smallest double, 2^-1074
    LOWEST_NORMAL = -8 * 1022  # bounds from here on are normal numbers
    EIGHTH = 7               # the low bits of an index: which eighth of its octave


cdef inline double bucket_bound(int i) noexcept nogil:
    """The largest double <= 2^(i/8): bucket i is (bucket_bound(i), bucket_bound(i + 1)]."""
    cdef double x = ldexp(eighths[i & EIGHTH], i >> 3)
    if i < LOWEST_NORMAL and ldexp(x, -(i >> 3)) > eighths[i & EIGHTH]:
        return nextafter(x, 0.0)  # ldexp rounds subnormals to nearest
    return x


cdef inline uint64_t side_total(const Side *s) noexcept nogil:
    cdef uint64_t total = 0
    cdef int j
    for j in range(s.size):
        total += side_get(s, j)
    return total


cdef inline size_t buckets_bytes(const Buckets *b) noexcept nogil:
    """What the counts take of memory."""
    return (side_bytes(&b.sides[POSITIVE], b.sides[POSITIVE].room)
            + side_bytes(&b.sides[NEGATIVE], b.sides[NEGATIVE].room))


cdef inline uint64_t side_at(const Side *s, int index) noexcept nogil:
    """The count of one bucket; 0 outside the run."""
    if index < s.low or index >= s.low + s.size:
        return 0
    return side_get(s, index - s.low)


cdef inline void side_trim(const Side *s, int *low, int *size) noexcept nogil:
    """The run without empty ends."""
    cdef int first = 0
    cdef int last = s.size
    while first < last and side_get(s, first) == 0:
        first += 1
    while last > first and side_get(s, last - 1) == 0:
        last -= 1
    low[0] = s.low + first if last > first else 0
    size[0] = last - first


cdef inline bint side_same(const Side *a, const Side *b) noexcept nogil:
    cdef int low_a, size_a, low_b, size_b, i
    side_trim(a, &low_a, &size_a)
    side_trim(b, &low_b, &size_b)
    if low_a != low_b or size_a != size_b:
        return False
    for i in range(low_a, low_a + size_a):
        if side_at(a, i) != side_at(b, i):
            return False
    return True


cdef inline bint buckets_same(const Buckets *a, const Buckets *b) noexcept nogil:
    return (a.zero == b.zero and a.top == b.top
            and side_same(&a.sides[POSITIVE], &b.sides[POSITIVE])
            and side_same(&a.sides[NEGATIVE], &b.sides[NEGATIVE]))


cdef inline double bucket_inside(int index, double share) noexcept nogil:
    """The point of a bucket below which `share` of it lies, were it filled evenly."""
    cdef double low = bucket_bound(index)
    return low + (bucket_bound(index + 1) - low) * share


cdef inline double buckets_magnitude(const Side *a, const Side *b, uint64_t zero,
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
        here = <double> (side_at(a, i) + side_at(b, i))
        if here > 0.0 and before + here >= rank:
            return bucket_inside(i, (rank - before) / here)
        before += here
    return bucket_bound(end)


cdef inline double buckets_quantile(const Buckets *b, double q) noexcept nogil:
    """Of e. NaN when empty."""
    cdef Side none
    cdef double total = <double> b.total
    cdef double below = <double> side_total(&b.sides[NEGATIVE])
    cdef double rank = q * total
    none.size = none.low = 0
    if total == 0.0:
        return NAN
    if rank < below:
        return -buckets_magnitude(&b.sides[NEGATIVE], &none, 0, below - rank)
    return buckets_magnitude(&b.sides[POSITIVE], &none, b.zero, rank - below)


cdef inline double buckets_abs_quantile(const Buckets *b, double q) noexcept nogil:
    """Of |e|. NaN when empty."""
    cdef double total = <double> b.total
    if total == 0.0:
        return NAN
    return buckets_magnitude(&b.sides[POSITIVE], &b.sides[NEGATIVE], b.zero, q * total)


cdef inline uint64_t buckets_above(const Buckets *b, int index) noexcept nogil:
    """How many |e| lie above bucket `index`."""
    cdef uint64_t total = 0
    cdef int side, j
    cdef const Side *s
    for side in range(2):
        s = &b.sides[side]
        for j in range(max(0, index + 1 - s.low), s.size):
            total += side_get(s, j)
    return total


cdef inline void buckets_above_bounds(const Buckets *b, double t, double *low,
                                      double *high) noexcept nogil:
    """How many |e| exceed t: between N(> upper bound) and N(> lower bound) of t's bucket."""
    cdef int cut = b.top - SPAN if b.top != NO_TOP else NO_TOP
    cdef int index
    if t < 0.0 or b.top == NO_TOP:
        low[0] = high[0] = <double> b.total if t < 0.0 else 0.0
        return
    index = bucket_index(t) if t > 0.0 else LOWEST
    low[0] = high[0] = <double> buckets_above(b, max(index, cut))
    if index >= cut and bucket_index(nextafter(t, INFINITY)) > index:
        return  # t is the largest double below the bucket's bound: nothing of it exceeds t
    if index > cut:
        high[0] = <double> buckets_above(b, index - 1)
    else:
        high[0] += <double> b.zero  # what was folded into the zero bucket may or may not exceed t


cdef inline double buckets_samples_above(const Buckets *b, double t) noexcept nogil:
    """N(|e| > t), log-linear inside t's bucket; exact where t is a bound."""
    cdef double low, high, start, f, estimate
    cdef int index
    buckets_above_bounds(b, t, &low, &high)
    if low == high or t <= bucket_bound(b.top - SPAN + 1):
        return low
    index = bucket_index(t)
    start = bucket_bound(index)
    f = (t - start) / (bucket_bound(index + 1) - start)
    # An empty tail counts as half a sample: its logarithm must exist.
    estimate = exp((1.0 - f) * log(fmax(high, 0.5)) + f * log(fmax(low, 0.5)))
    return fmin(fmax(estimate, low), high)


cdef inline double buckets_power_mean(const Buckets *b, int p, double unit) noexcept nogil:
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
            x = bucket_bound(s.low + j) / unit
            power = 1.0
            for i in range(p):
                power *= x
            total += <double> side_get(s, j) * power
            samples += <double> side_get(s, j)
    return total * (rp - 1.0) / ((p + 1) * (r - 1.0)) / samples


cdef inline double buckets_square_kurtosis(const Buckets *b, double unit) noexcept nogil:
    """The kurtosis of e^2, from the histogram; `unit`, the rmse, keeps e^8 in range."""
    cdef double e2 = buckets_power_mean(b, 2, unit)
    cdef double e4 = buckets_power_mean(b, 4, unit)
    cdef double e6 = buckets_power_mean(b, 6, unit)
    cdef double e8 = buckets_power_mean(b, 8, unit)
    cdef double variance = e4 - e2 * e2
    if not variance > 0.0:
        return 1.0
    return ((e8 - 4.0 * e6 * e2) + 6.0 * e4 * e2 * e2 - 3.0 * e2 * e2 * e2 * e2) / (
        variance * variance)


cdef inline double checked_share(double q) except? -1.0:
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile is asked for by a share from 0 to 1, not {q!r}")
    return q
