# cython: language_level=3, cdivision=True
"""Leaf maths of the state: one block's moments, and merging as Chan and Pebay do it.

Every function is written symmetrically, so that merging commutes to the bit. The error bounds of
double-double arithmetic stand in _dd.h, those of what is built from it in docs/numerics.md.
"""
from libc.math cimport copysign, isfinite
from libc.stdint cimport uint64_t

cdef extern from "_block.h" nogil:
    ctypedef struct dd "edgemse_dd":
        double hi
        double lo

    ctypedef struct Block "edgemse_block":
        dd e
        double pivot_y
        double shift_y
        double low
        double high
        double abs_sum
        dd d2
        double d3
        double d4
        double g2
        double dg

    enum:
        BLOCK "EDGEMSE_BLOCK"
    dd two_sum "edgemse_two_sum"(double a, double b) noexcept
    dd fast_two_sum "edgemse_fast_two_sum"(double a, double b) noexcept
    dd two_prod "edgemse_two_prod"(double a, double b) noexcept
    dd dd_add "edgemse_dd_add"(dd a, dd b) noexcept
    dd dd_times "edgemse_dd_times"(dd a, dd b) noexcept
    dd dd_times_double "edgemse_dd_times_double"(dd a, double b) noexcept
    dd dd_divide "edgemse_dd_divide"(dd a, dd b) noexcept
    int block_sums "edgemse_block_sums"(
        const double *y, const double *pred, double *errors, Py_ssize_t n, Block *out) noexcept

cdef extern from "math.h" nogil:
    double fabs(double x) noexcept
    double INFINITY


cdef struct State:
    uint64_t count        # accepted samples
    dd weight             # W, the sum of their weights
    double weight2        # sum of w^2
    dd mean               # of e = y_pred - y_true, weighted, as all that follows
    dd m2                 # sum of w (e - mean)^2
    double m3
    double m4
    double abs_sum        # sum of w |e|
    double low            # smallest e
    double high           # largest e
    dd y_mean             # of y_true
    dd y_m2
    dd y_e                # sum of w (y - y_mean)(e - mean)
    uint64_t nonfinite    # refused samples
    uint64_t out_of_range


cdef inline dd dd_of(double hi) noexcept nogil:
    cdef dd r
    r.hi = hi
    r.lo = 0.0
    return r


cdef inline dd dd_negative(dd a) noexcept nogil:
    a.hi = -a.hi
    a.lo = -a.lo
    return a


cdef inline dd dd_scaled(dd a, double power_of_two) noexcept nogil:
    """Exact while nothing underflows."""
    a.hi *= power_of_two
    a.lo *= power_of_two
    return a


cdef inline double dd_value(dd a) noexcept nogil:
    return a.hi + a.lo


cdef inline bint dd_good(dd a, double limit) noexcept nogil:
    """Finite, in range, no negative zero, and lo no more than the rounding of hi."""
    if not fabs(a.hi) <= limit or not isfinite(a.lo) or a.hi + a.lo != a.hi:
        return False
    return good_number(a.hi, limit) and good_number(a.lo, limit)


cdef inline bint good_number(double x, double limit) noexcept nogil:
    return fabs(x) <= limit and not (x == 0.0 and copysign(1.0, x) < 0.0)


cdef inline void state_clear(State *s) noexcept nogil:
    cdef dd zero = dd_of(0.0)
    s.count = s.nonfinite = s.out_of_range = 0
    s.weight = s.mean = s.m2 = s.y_mean = s.y_m2 = s.y_e = zero
    s.weight2 = s.m3 = s.m4 = s.abs_sum = 0.0
    s.low = INFINITY
    s.high = -INFINITY


cdef inline dd dd_positive_zeros(dd a) noexcept nogil:
    a.hi += 0.0
    a.lo += 0.0
    return a


cdef inline void state_canonical(State *s) noexcept nogil:
    """-0.0 becomes 0.0, so that equal states have equal bytes."""
    s.mean = dd_positive_zeros(s.mean)
    s.y_mean = dd_positive_zeros(s.y_mean)
    s.m2 = dd_positive_zeros(s.m2)
    s.y_m2 = dd_positive_zeros(s.y_m2)
    s.y_e = dd_positive_zeros(s.y_e)
    s.weight = dd_positive_zeros(s.weight)
    s.m3 += 0.0
    s.m4 += 0.0
    s.low += 0.0
    s.high += 0.0


cdef inline bint dd_above(dd a, dd b) noexcept nogil:
    return a.hi > b.hi or (a.hi == b.hi and a.lo > b.lo)


cdef inline bint dd_same(dd a, dd b) noexcept nogil:
    return a.hi == b.hi and a.lo == b.lo


cdef inline dd pooled_mean(dd big, dd small, dd delta, dd share, bint equal) noexcept nogil:
    """Of two equal weights neither may be the origin, or merging would not commute."""
    if equal:
        return dd_scaled(dd_add(big, small), 0.5)
    return dd_add(big, dd_times(delta, share))


cdef inline void state_combine(State *a, const State *b) noexcept nogil:
    """Fold b's accepted samples into a (Chan, Golub, LeVeque 1983; Pebay 2008, eq. 3.1)."""
    cdef const State *big = a
    cdef const State *small = b
    cdef bint equal = dd_same(a.weight, b.weight)
    if dd_above(b.weight, a.weight):
        big = b
        small = a
    cdef dd weight = dd_add(a.weight, b.weight)
    cdef dd share = dd_divide(small.weight, weight)
    # Not big.weight * share: two divisions at a time are done sooner than one after the other.
    cdef dd factor = dd_divide(dd_times(a.weight, b.weight), weight)
    cdef dd de = dd_add(small.mean, dd_negative(big.mean))
    cdef dd dy = dd_add(small.y_mean, dd_negative(big.y_mean))
    cdef dd m2 = dd_add(dd_add(a.m2, b.m2), dd_times(dd_times(de, de), factor))
    cdef dd y_m2 = dd_add(dd_add(a.y_m2, b.y_m2), dd_times(dd_times(dy, dy), factor))
    cdef dd y_e = dd_add(dd_add(a.y_e, b.y_e), dd_times(dd_times(de, dy), factor))

    cdef double d = de.hi
    cdef double rs = share.hi
    cdef double rb = big.weight.hi / weight.hi
    cdef double f = factor.hi
    cdef double m2b = rb * small.m2.hi
    cdef double m2s = rs * big.m2.hi
    cdef double m4 = (a.m4 + b.m4) + f * (rb * rb + rs * rs - rb * rs) * ((d * d) * (d * d))
    m4 += 6.0 * (d * d) * (rb * m2b + rs * m2s)
    m4 += 4.0 * d * (rb * small.m3 - rs * big.m3)
    cdef double m3 = (a.m3 + b.m3) + f * (rb - rs) * (d * d) * d
    m3 += 3.0 * d * (m2b - m2s)

    a.mean = pooled_mean(big.mean, small.mean, de, share, equal)
    a.y_mean = pooled_mean(big.y_mean, small.y_mean, dy, share, equal)
    a.count += b.count
    a.weight = weight
    a.weight2 += b.weight2
    a.m2 = m2
    a.m3 = m3
    a.m4 = m4
    a.abs_sum += b.abs_sum
    a.low = b.low if b.low < a.low else a.low
    a.high = b.high if b.high > a.high else a.high
    a.y_m2 = y_m2
    a.y_e = y_e
    state_canonical(a)


cdef inline void state_merge(State *a, const State *b) noexcept nogil:
    """a := a + b; the empty state is the identity."""
    cdef uint64_t nonfinite = a.nonfinite + b.nonfinite
    cdef uint64_t out_of_range = a.out_of_range + b.out_of_range
    if a.count == 0:
        a[0] = b[0]
    elif b.count:
        state_combine(a, b)
    a.nonfinite = nonfinite
    a.out_of_range = out_of_range


cdef inline dd about_mean(dd about_pivot, double n, double h, double k) noexcept nogil:
    """sum (d - h)(g - k) from sum d g, where sum d = n h and sum g = n k."""
    return dd_add(about_pivot, dd_negative(dd_times_double(two_prod(h, k), n)))


cdef inline dd dd_not_below_zero(dd a) noexcept nogil:
    return a if a.hi > 0.0 else dd_of(0.0)


cdef inline void state_from_block(State *s, const Block *b, Py_ssize_t samples) noexcept nogil:
    """The state of one block of samples of weight 1: the pivots' rounding is taken out exactly."""
    cdef double n = <double> samples
    cdef double h = b.e.lo
    state_clear(s)
    s.count = <uint64_t> samples
    s.weight = dd_of(n)
    s.weight2 = n
    s.mean = b.e
    s.y_mean = two_sum(b.pivot_y, b.shift_y)
    s.m2 = dd_not_below_zero(about_mean(b.d2, n, h, h))
    s.y_m2 = dd_not_below_zero(about_mean(dd_of(b.g2), n, b.shift_y, b.shift_y))
    s.y_e = about_mean(dd_of(b.dg), n, h, b.shift_y)
    s.m3 = b.d3 - 3.0 * h * b.d2.hi + 2.0 * n * (h * h * h)
    s.m4 = b.d4 - 4.0 * h * b.d3 + 6.0 * (h * h) * b.d2.hi - 3.0 * n * ((h * h) * (h * h))
    if s.m4 < 0.0:
        s.m4 = 0.0
    s.abs_sum = b.abs_sum
    s.low = b.low
    s.high = b.high
    state_canonical(s)
