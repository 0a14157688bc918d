# cython: language_level=3, cdivision=True
"""Samples into a state: blocks of weight 1 by the vector kernel, weighted ones by a plain loop."""
from libc.math cimport isfinite

from edgemse.stats._buckets cimport (
    LIMIT, Buckets, Tally, buckets_count_all, tally_block, tally_clear, tally_flush,
)
from edgemse.stats._columns cimport Column, column_load
from edgemse.stats._moments cimport (
    BLOCK, Block, State, block_sums, dd, dd_add, dd_divide, dd_negative, dd_not_below_zero, dd_of,
    dd_times, dd_times_double, fabs, state_canonical, state_clear, state_from_block, state_merge,
    two_prod, two_sum,
)

cdef enum:
    ACCEPTED = 0
    NONFINITE = 1
    OUT_OF_RANGE = 2
    WEIGHTLESS = 3
    NEGATIVE_WEIGHT = 4

cdef enum:
    TALLY_FROM = 4096  # samples of a batch from which on clearing and adding a tally pays


cdef inline int judge(double y, double pred) noexcept nogil:
    """What becomes of a sample of weight 1."""
    if fabs(pred - y) <= LIMIT and fabs(y) <= LIMIT:
        return ACCEPTED
    return OUT_OF_RANGE if isfinite(y) and isfinite(pred) else NONFINITE


cdef inline int judge_weight(double w) noexcept nogil:
    """A weight from 2^-100 to 2^100 is taken: sums of fourth powers stay finite and normal."""
    if not isfinite(w):
        return NONFINITE
    if w == 0.0:
        return WEIGHTLESS
    if w < 0.0:
        return NEGATIVE_WEIGHT
    return ACCEPTED if 2.0 ** -100 <= w <= 2.0 ** 100 else OUT_OF_RANGE


cdef inline void state_refuse(State *s, int why) noexcept nogil:
    if why == NONFINITE:
        s.nonfinite += 1
    elif why == OUT_OF_RANGE:
        s.out_of_range += 1


cdef inline void fold_plain(State *s, const double *y, double *errors, Py_ssize_t n) noexcept nogil:
    """Accepted samples of weight 1, given as labels and errors."""
    cdef Block b
    cdef State fresh
    block_sums(y, NULL, errors, n, &b)
    state_from_block(&fresh, &b, n)
    state_merge(s, &fresh)


cdef inline dd weighted_mean(const double *x, const double *w, Py_ssize_t n, dd weight,
                             double origin) noexcept nogil:
    """About one of the values, so that the mean of a constant is that constant."""
    cdef dd total = dd_of(0.0)
    cdef Py_ssize_t i
    for i in range(n):
        total = dd_add(total, dd_times_double(two_sum(x[i], -origin), w[i]))
    return dd_add(dd_of(origin), dd_divide(total, weight))


cdef inline dd less(dd total, dd a, dd b, dd weight) noexcept nogil:
    """total - a b weight."""
    return dd_add(total, dd_negative(dd_times(dd_times(a, b), weight)))


cdef inline void fold_weighted(State *s, const double *y, const double *errors, const double *w,
                               Py_ssize_t n) noexcept nogil:
    """Accepted samples, weighted."""
    cdef State fresh
    cdef dd weight = dd_of(0.0)
    cdef dd he, hy
    cdef double d, g, wd, total, d2 = 0.0
    cdef Py_ssize_t i, heaviest = 0
    state_clear(&fresh)
    for i in range(n):
        weight = dd_add(weight, dd_of(w[i]))
        fresh.weight2 += w[i] * w[i]
        heaviest = i if w[i] > w[heaviest] else heaviest  # an origin of no weight would cancel
    fresh.count = <unsigned long long> n
    fresh.weight = weight
    fresh.mean = weighted_mean(errors, w, n, weight, errors[heaviest])
    fresh.y_mean = weighted_mean(y, w, n, weight, y[heaviest])
    for i in range(n):
        d = errors[i] - fresh.mean.hi
        g = y[i] - fresh.y_mean.hi
        wd = w[i] * d
        fresh.m2 = dd_add(fresh.m2, two_prod(wd, d))
        fresh.y_m2 = dd_add(fresh.y_m2, two_prod(w[i] * g, g))
        fresh.y_e = dd_add(fresh.y_e, two_prod(wd, g))
        fresh.m3 += wd * (d * d)
        fresh.m4 += wd * d * (d * d)
        fresh.abs_sum += w[i] * fabs(errors[i])
        fresh.low = errors[i] if errors[i] < fresh.low else fresh.low
        fresh.high = errors[i] if errors[i] > fresh.high else fresh.high
    he = dd_of(fresh.mean.lo)
    hy = dd_of(fresh.y_mean.lo)
    d2 = fresh.m2.hi
    total = weight.hi
    d = he.hi
    fresh.m4 += -4.0 * d * fresh.m3 + 6.0 * (d * d) * d2 - 3.0 * total * ((d * d) * (d * d))
    fresh.m3 += -3.0 * d * d2 + 2.0 * total * (d * d * d)
    fresh.m4 = fresh.m4 if fresh.m4 > 0.0 else 0.0
    fresh.m2 = dd_not_below_zero(less(fresh.m2, he, he, weight))
    fresh.y_m2 = dd_not_below_zero(less(fresh.y_m2, hy, hy, weight))
    fresh.y_e = less(fresh.y_e, he, hy, weight)
    state_canonical(&fresh)
    state_merge(s, &fresh)


cdef inline int fold_checked(State *s, Buckets *buckets, const double *y, const double *pred,
                             const double *weights, double *errors, Py_ssize_t n) noexcept nogil:
    """One block, sample by sample: what must be refused is. 0, or -1 without memory."""
    cdef double kept_y[BLOCK]
    cdef double kept_w[BLOCK]
    cdef Py_ssize_t kept = 0
    cdef Py_ssize_t i
    cdef int why
    for i in range(n):
        why = judge_weight(weights[i]) if weights != NULL else ACCEPTED
        if why == ACCEPTED:
            why = judge(y[i], pred[i])
        if why != ACCEPTED:
            state_refuse(s, why)
            continue
        kept_y[kept] = y[i]
        errors[kept] = pred[i] - y[i]
        if weights != NULL:
            kept_w[kept] = weights[i]
        kept += 1
    if kept == 0:
        return 0
    if buckets_count_all(buckets, errors, kept):
        return -1
    if weights != NULL:
        fold_weighted(s, kept_y, errors, kept_w, kept)
    else:
        fold_plain(s, kept_y, errors, kept)
    return 0


cdef inline int fold_block(State *s, Buckets *buckets, Tally *tally, const double *y,
                           const double *pred, const double *weights, Py_ssize_t n) noexcept nogil:
    """One block of at most BLOCK samples; weights NULL: all 1. 0, or -1 without memory."""
    cdef double errors[BLOCK]
    cdef Block b
    cdef State fresh
    if weights != NULL:
        return fold_checked(s, buckets, y, pred, weights, errors, n)
    if not block_sums(y, pred, errors, n, &b):
        return fold_checked(s, buckets, y, pred, NULL, errors, n)
    if tally == NULL:
        if buckets_count_all(buckets, errors, n):
            return -1
    elif tally_block(tally, buckets, errors, n, max(b.high, -b.low)):
        return -1
    state_from_block(&fresh, &b, n)
    state_merge(s, &fresh)
    return 0


cdef inline int check_weights(Column *weights) except -1:
    """A negative weight is a mistake of the caller's: nothing of the batch is taken."""
    cdef double room[BLOCK]
    cdef const double *w
    cdef Py_ssize_t start = 0, n, i
    while start < weights.n:
        n = min(BLOCK, weights.n - start)
        w = column_load(weights, start, n, room)
        for i in range(n):
            if w[i] < 0.0:
                raise ValueError(f"weight[{start + i}] is {w[i]!r}; weights are not negative")
        start += n
    return 0


cdef inline int fold_columns(State *s, Buckets *buckets, const Column *y, const Column *pred,
                             const Column *weights) noexcept nogil:
    cdef double room_y[BLOCK]
    cdef double room_pred[BLOCK]
    cdef double room_w[BLOCK]
    cdef const double *w = NULL
    cdef const double *labels
    cdef Tally tally
    cdef bint long_ = y.n >= TALLY_FROM
    cdef Py_ssize_t start = 0, n
    if long_:
        tally_clear(&tally)
    while start < y.n:
        n = min(BLOCK, y.n - start)
        if weights.held:
            w = column_load(weights, start, n, room_w)
        labels = column_load(y, start, n, room_y)
        if fold_block(s, buckets, &tally if long_ else NULL, labels,
                      column_load(pred, start, n, room_pred), w, n):
            return -1
        start += n
    return tally_flush(&tally, buckets) if long_ else 0
