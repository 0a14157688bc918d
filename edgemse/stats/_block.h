/* One block of (y, error) pairs -> its sums, in eight fixed lanes.

   Element i belongs to lane i % 8 on every CPU: the lanes, not the width of the vector unit,
   define the result. IEEE double arithmetic only; build with -ffp-contract=off, never with
   -ffast-math. docs/numerics.md has the error bounds. */
#ifndef EDGEMSE_BLOCK_H
#define EDGEMSE_BLOCK_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EDGEMSE_LANES 8
#define EDGEMSE_BLOCK 1024 /* pairs; errors and labels of one block are 16 KiB, inside every L1 */

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define EDGEMSE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EDGEMSE_CLONES
#endif
#define EDGEMSE_INLINE static inline __attribute__((always_inline))

typedef double edgemse_lanes __attribute__((vector_size(64)));
typedef double edgemse_loose __attribute__((vector_size(64), aligned(8), may_alias));
typedef long long edgemse_mask __attribute__((vector_size(64)));

/* An unevaluated sum of two doubles, |lo| <= ulp(hi) / 2. */
typedef struct {
    double hi, lo;
} edgemse_dd;

typedef struct {
    edgemse_dd e, y;           /* sums, practically exact */
    double low, high, abs_sum; /* of the errors */
    edgemse_dd d2, g2, dg;     /* sums of d^2, g^2, d g;  d = e - pivot_e, g = y - pivot_y */
    double d3, d4;
    double pivot_e, pivot_y;
} edgemse_block;

/* Knuth's TwoSum: hi + lo == a + b exactly. */
static inline edgemse_dd edgemse_two_sum(double a, double b)
{
    double s = a + b, t = s - a;
    edgemse_dd r = {s, (a - (s - t)) + (b - t)};
    return r;
}

/* Dekker's FastTwoSum, for |a| >= |b| or a == 0. */
static inline edgemse_dd edgemse_fast_two_sum(double a, double b)
{
    double s = a + b;
    edgemse_dd r = {s, b - (s - a)};
    return r;
}

/* Dekker's TwoProduct; Veltkamp's constant 2^27 + 1. Never fma(): not every board has one. */
static inline edgemse_dd edgemse_two_prod(double a, double b)
{
    const double split = 134217729.0;
    double p = a * b, ta = split * a, tb = split * b;
    double ah = ta - (ta - a), al = a - ah, bh = tb - (tb - b), bl = b - bh;
    edgemse_dd r = {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
    return r;
}

EDGEMSE_INLINE edgemse_lanes edgemse_pick(edgemse_mask where, edgemse_lanes a, edgemse_lanes b)
{
    return (edgemse_lanes)((where & (edgemse_mask)a) | (~where & (edgemse_mask)b));
}

EDGEMSE_INLINE edgemse_lanes edgemse_fabs(edgemse_lanes a)
{
    const long long m = INT64_MAX;
    const edgemse_mask magnitude = {m, m, m, m, m, m, m, m};
    return (edgemse_lanes)((edgemse_mask)a & magnitude);
}

EDGEMSE_INLINE edgemse_lanes edgemse_all(double v)
{
    edgemse_lanes r = {v, v, v, v, v, v, v, v};
    return r;
}

/* 1.5 * 2^k with 2^k >= 2 * rows * largest: adding up to `rows` values that large never leaves the
   binade, so each addition onto it splits its term exactly (Rump, Ogita, Oishi 2008). */
static inline double edgemse_preset(double largest, ptrdiff_t rows)
{
    int exponent;
    double bound = 2.0 * (double)(rows + 1) * largest; /* + 1: products were rounded */
    if (!(bound > 0x1p-1000)) /* keeps the preset's own ulp a normal number */
        bound = 0x1p-900;
    frexp(bound, &exponent);
    return ldexp(1.5, exponent);
}

/* Accumulator += x, exactly: the part above the preset's ulp goes into `sum`, the rest into `rest`. */
#define EDGEMSE_SPLIT(sum, rest, x)            \
    do {                                       \
        edgemse_lanes total_ = (sum) + (x);    \
        (rest) = (x) - (total_ - (sum));       \
        (sum) = total_;                        \
    } while (0)

/* Eight accumulators in lane order, their preset taken off, and what fell below it. */
static inline edgemse_dd edgemse_fold(edgemse_lanes sum, double preset, edgemse_lanes rest)
{
    edgemse_dd acc = {0.0, 0.0};
    double low = 0.0;
    for (int i = 0; i < EDGEMSE_LANES; i++) {
        acc = edgemse_two_sum(acc.hi, sum[i] - preset);
        low += acc.lo;
        edgemse_dd tail = edgemse_two_sum(acc.hi, rest[i]);
        acc.hi = tail.hi;
        low += tail.lo;
    }
    return edgemse_fast_two_sum(acc.hi, low);
}

/* errors[i] = pred[i] - y[i], their range, and the largest |y|. NaN is not seen here: the sums show
   it. `errors` has room for whole rows; its last row is filled up with errors[0]. */
EDGEMSE_CLONES
static void edgemse_subtract(const double *y, const double *pred, double *errors, ptrdiff_t n,
                             edgemse_block *out, double *largest_y)
{
    ptrdiff_t whole = n - n % EDGEMSE_LANES, i;
    double first = pred[0] - y[0], big;
    edgemse_lanes low = edgemse_all(first), high = low, top = edgemse_all(0.0);
    for (i = 0; i < whole; i += EDGEMSE_LANES) {
        edgemse_lanes label = *(const edgemse_loose *)(y + i);
        edgemse_lanes e = *(const edgemse_loose *)(pred + i) - label;
        *(edgemse_loose *)(errors + i) = e;
        label = edgemse_fabs(label);
        low = edgemse_pick(e < low, e, low);
        high = edgemse_pick(e > high, e, high);
        top = edgemse_pick(label > top, label, top);
    }
    out->low = out->high = first;
    big = fabs(y[0]);
    for (i = 0; i < EDGEMSE_LANES && whole; i++) {
        out->low = low[i] < out->low ? low[i] : out->low;
        out->high = high[i] > out->high ? high[i] : out->high;
        big = top[i] > big ? top[i] : big;
    }
    for (i = whole; i < n; i++) {
        double e = errors[i] = pred[i] - y[i];
        out->low = e < out->low ? e : out->low;
        out->high = e > out->high ? e : out->high;
        big = fabs(y[i]) > big ? fabs(y[i]) : big;
    }
    *largest_y = big;
}

/* Sums of e, |e| and y. The last row is filled up with zeros; y's last row is tail_y. */
EDGEMSE_INLINE void edgemse_first_sums(const double *y, const double *errors, const double *tail_y,
                                       ptrdiff_t whole, ptrdiff_t rows_end, double preset_e,
                                       double preset_y, edgemse_block *out)
{
    const edgemse_lanes zero = edgemse_all(0.0);
    edgemse_lanes se = edgemse_all(preset_e), sy = edgemse_all(preset_y);
    const double preset_fine = ldexp(preset_e, -45); /* residues are below ulp(preset)/2, times rows */
    edgemse_lanes fine = edgemse_all(preset_fine), dust = zero, rest_y = zero, absolute = zero;
    for (ptrdiff_t i = 0; i < rows_end; i += EDGEMSE_LANES) {
        const double *from = i < whole ? y + i : tail_y;
        edgemse_lanes e = *(const edgemse_loose *)(errors + i), label = *(const edgemse_loose *)from;
        edgemse_lanes rest, less;
        EDGEMSE_SPLIT(se, rest, e);
        EDGEMSE_SPLIT(fine, less, rest);
        dust += less;
        EDGEMSE_SPLIT(sy, rest, label);
        rest_y += rest;
        absolute += edgemse_fabs(e);
    }
    edgemse_dd coarse = edgemse_fold(se, preset_e, zero);
    edgemse_dd small = edgemse_fold(fine, preset_fine, dust);
    edgemse_dd sum = edgemse_two_sum(coarse.hi, small.hi);
    edgemse_dd low = edgemse_two_sum(coarse.lo, small.lo);
    edgemse_dd mid = edgemse_two_sum(sum.lo, low.hi);
    sum = edgemse_fast_two_sum(sum.hi, mid.hi);
    out->e = edgemse_fast_two_sum(sum.hi, sum.lo + (mid.lo + low.lo));
    out->y = edgemse_fold(sy, preset_y, rest_y);
    out->abs_sum = edgemse_fold(absolute, 0.0, zero).hi;
}

/* Sums about the pivots. The last row is filled up with the pivots themselves. */
EDGEMSE_INLINE void edgemse_second_sums(const double *y, const double *errors, const double *tail_y,
                                        ptrdiff_t whole, ptrdiff_t rows_end, double largest_d,
                                        double largest_g, edgemse_block *out)
{
    const edgemse_lanes zero = edgemse_all(0.0);
    const edgemse_lanes pe = edgemse_all(out->pivot_e), py = edgemse_all(out->pivot_y);
    const ptrdiff_t rows = rows_end / EDGEMSE_LANES;
    const double dd = edgemse_preset(largest_d * largest_d, rows);
    const double gg = edgemse_preset(largest_g * largest_g, rows);
    const double dg = edgemse_preset(largest_d * largest_g, rows);
    edgemse_lanes sdd = edgemse_all(dd), sgg = edgemse_all(gg), sdg = edgemse_all(dg);
    edgemse_lanes rdd = zero, rgg = zero, rdg = zero, cubes = zero, fourths = zero;
    for (ptrdiff_t i = 0; i < rows_end; i += EDGEMSE_LANES) {
        const double *from = i < whole ? y + i : tail_y;
        edgemse_lanes d = *(const edgemse_loose *)(errors + i) - pe;
        edgemse_lanes g = *(const edgemse_loose *)from - py, square = d * d, rest;
        EDGEMSE_SPLIT(sdd, rest, square);
        rdd += rest;
        cubes += square * d;
        fourths += square * square;
        EDGEMSE_SPLIT(sgg, rest, g * g);
        rgg += rest;
        EDGEMSE_SPLIT(sdg, rest, d * g);
        rdg += rest;
    }
    out->d2 = edgemse_fold(sdd, dd, rdd);
    out->g2 = edgemse_fold(sgg, gg, rgg);
    out->dg = edgemse_fold(sdg, dg, rdg);
    out->d3 = edgemse_fold(cubes, 0.0, zero).hi;
    out->d4 = edgemse_fold(fourths, 0.0, zero).hi;
}

static inline void edgemse_fill(double *tail, ptrdiff_t used, double value)
{
    for (; used < EDGEMSE_LANES; used++)
        tail[used] = value;
}

/* Sums of 1..EDGEMSE_BLOCK pairs after edgemse_subtract. Returns 0 if a NaN was among them. */
EDGEMSE_CLONES
static int edgemse_sums(const double *y, double *errors, ptrdiff_t n, double largest_y,
                        edgemse_block *out)
{
    const ptrdiff_t used = n % EDGEMSE_LANES, whole = n - used;
    const ptrdiff_t rows_end = used ? whole + EDGEMSE_LANES : whole;
    const ptrdiff_t rows = rows_end / EDGEMSE_LANES;
    double largest_e = fmax(fabs(out->low), fabs(out->high)), reach;
    double tail_y[EDGEMSE_LANES];
    memcpy(tail_y, y + whole, (size_t)used * sizeof *y);
    if (used) {
        edgemse_fill(tail_y, used, 0.0);
        edgemse_fill(errors + whole, used, 0.0);
    }
    edgemse_first_sums(y, errors, tail_y, whole, rows_end, edgemse_preset(largest_e, rows),
                       edgemse_preset(largest_y, rows), out);
    if (!(out->e.hi == out->e.hi && out->y.hi == out->y.hi))
        return 0;
    out->pivot_e = (out->e.hi + out->e.lo) / (double)n;
    out->pivot_y = (out->y.hi + out->y.lo) / (double)n;
    if (used) {
        edgemse_fill(tail_y, used, out->pivot_y);
        edgemse_fill(errors + whole, used, out->pivot_e);
    }
    reach = fmax(out->high - out->pivot_e, out->pivot_e - out->low);
    edgemse_second_sums(y, errors, tail_y, whole, rows_end, reach, largest_y + fabs(out->pivot_y),
                        out);
    return 1;
}

#endif
