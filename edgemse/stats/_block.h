/* One block of (y, error) pairs -> its sums, in eight fixed lanes.

   Element i belongs to lane i % 8 on every CPU: the lanes, not the width of the vector unit,
   define the result. IEEE double arithmetic only; build with -ffp-contract=off, never with
   -ffast-math. docs/numerics.md has the error bounds. */
#ifndef EDGEMSE_BLOCK_H
#define EDGEMSE_BLOCK_H

#include "_dd.h"

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

typedef double edgemse_lanes __attribute__((vector_size(64)));
typedef double edgemse_loose __attribute__((vector_size(64), aligned(8), may_alias));
typedef long long edgemse_mask __attribute__((vector_size(64)));

typedef struct {
    edgemse_dd e, y;           /* sums, practically exact */
    double low, high, abs_sum; /* of the errors */
    edgemse_dd d2, g2, dg;     /* sums of d^2, g^2, d g;  d = e - pivot_e, g = y - pivot_y */
    double d3, d4;
    double pivot_e, pivot_y;
} edgemse_block;

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

/* 1.5 * 2^k with 2^k >= 2 * terms * largest: adding so many values, to one accumulator or to eight
   that are added up later, never leaves the binade, so each addition splits its term exactly
   (Rump, Ogita, Oishi 2008). */
static inline double edgemse_preset(double largest, ptrdiff_t terms)
{
    uint64_t bits;
    double bound = 2.0 * (double)(terms + 1) * largest; /* + 1: products were rounded */
    if (!(bound > 0x1p-900)) /* keeps the preset's own ulp a normal number */
        bound = 0x1p-900;
    memcpy(&bits, &bound, sizeof bits);
    bits = ((bits >> 52) + 1) << 52 | UINT64_C(1) << 51;
    memcpy(&bound, &bits, sizeof bits);
    return bound;
}

/* Accumulator += x, exactly: the part above the preset's ulp goes into `sum`, the rest into `rest`. */
#define EDGEMSE_SPLIT(sum, rest, x)            \
    do {                                       \
        edgemse_lanes total_ = (sum) + (x);    \
        (rest) = (x) - (total_ - (sum));       \
        (sum) = total_;                        \
    } while (0)

/* The eight lanes in one fixed order. */
EDGEMSE_INLINE double edgemse_total(edgemse_lanes a)
{
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

/* Accumulators without their preset, exactly, and what fell below it. */
EDGEMSE_INLINE edgemse_dd edgemse_fold(edgemse_lanes sum, double preset, edgemse_lanes rest)
{
    return edgemse_two_sum(edgemse_total(sum - edgemse_all(preset)), edgemse_total(rest));
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
    const double preset_fine = preset_e * 0x1p-40; /* 2^-53 a residue, 2 * 1024 of them, and room */
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
    edgemse_dd small = edgemse_fold(fine, preset_fine, dust);
    edgemse_dd sum = edgemse_two_sum(edgemse_total(se - edgemse_all(preset_e)), small.hi);
    out->e = edgemse_fast_two_sum(sum.hi, sum.lo + small.lo);
    out->y = edgemse_fold(sy, preset_y, rest_y);
    out->abs_sum = edgemse_total(absolute);
}

/* Sums about the pivots. The last row is filled up with the pivots themselves. */
EDGEMSE_INLINE void edgemse_second_sums(const double *y, const double *errors, const double *tail_y,
                                        ptrdiff_t whole, ptrdiff_t rows_end, double largest_d,
                                        double largest_g, edgemse_block *out)
{
    const edgemse_lanes zero = edgemse_all(0.0);
    const edgemse_lanes pe = edgemse_all(out->pivot_e), py = edgemse_all(out->pivot_y);
    const double dd = edgemse_preset(largest_d * largest_d, rows_end);
    const double gg = edgemse_preset(largest_g * largest_g, rows_end);
    const double dg = edgemse_preset(largest_d * largest_g, rows_end);
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
    out->d3 = edgemse_total(cubes);
    out->d4 = edgemse_total(fourths);
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
    double largest_e = fmax(fabs(out->low), fabs(out->high)), reach;
    double tail_y[EDGEMSE_LANES];
    memcpy(tail_y, y + whole, (size_t)used * sizeof *y);
    if (used) {
        edgemse_fill(tail_y, used, 0.0);
        edgemse_fill(errors + whole, used, 0.0);
    }
    edgemse_first_sums(y, errors, tail_y, whole, rows_end, edgemse_preset(largest_e, rows_end),
                       edgemse_preset(largest_y, rows_end), out);
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
