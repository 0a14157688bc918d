/* One block of (y, error) pairs -> its sums, in eight fixed lanes.

   Element i belongs to lane i % 8 on every CPU: the lanes, not the width of the vector unit,
   define the result. IEEE double arithmetic only; build with -ffp-contract=off, never with
   -ffast-math. docs/numerics.md has the error bounds. */
#ifndef EDGEMSE_BLOCK_H

#include "_dd.h"
#include "_lanes.h"

#include <math.h>
#include <string.h>


typedef struct {
    edgemse_dd e, y;           /* means, practically exact; their hi are the pivots */
    double low, high, abs_sum; /* of the errors */
    edgemse_dd d2, g2, dg;     /* sums of d^2, g^2, d g;  d = error - e.hi, g = label - y.hi */
    double d3, d4;
} edgemse_block;

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

/* sum += x, exactly: what lies below the accumulator's ulp is `rest`. */
#define EDGEMSE_SPLIT(sum, rest, x)            \
    do {                                       \
        edgemse_lanes total_ = (sum) + (x);    \
        (rest) = (x) - (total_ - (sum));       \
        (sum) = total_;                        \
    } while (0)

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

/* Means of e and y, the sum of |e|. The last row is filled up with zeros; y's is tail_y. */
EDGEMSE_INLINE void edgemse_first_sums(const double *y, const double *errors, const double *tail_y,
                                       ptrdiff_t whole, ptrdiff_t rows_end, double preset_e,
                                       double preset_y, edgemse_dd n, edgemse_block *out)
{
    const edgemse_lanes zero = edgemse_all(0.0);
    edgemse_lanes se = edgemse_all(preset_e), sy = edgemse_all(preset_y);
    const double preset_fine = preset_e * 0x1p-40; /* 2^-53 a residue, 2 * 1024 of them, and room */
    edgemse_lanes fine = edgemse_all(preset_fine), dust = zero, rest_y = zero, absolute = zero;
    for (ptrdiff_t i = 0; i < rows_end; i += EDGEMSE_LANES) {
        const double *from = i < whole ? y + i : tail_y;
        edgemse_lanes e = *(const edgemse_loose *)(errors + i), rest, less;
        edgemse_lanes label = *(const edgemse_loose *)from;
        EDGEMSE_SPLIT(se, rest, e);
        EDGEMSE_SPLIT(fine, less, rest);
        dust += less;
        EDGEMSE_SPLIT(sy, rest, label);
        rest_y += rest;
        absolute += edgemse_fabs(e);
    }
    edgemse_dd small = edgemse_fold(fine, preset_fine, dust);
    edgemse_dd sum = edgemse_two_sum(edgemse_total(se - edgemse_all(preset_e)), small.hi);
    sum = edgemse_fast_two_sum(sum.hi, sum.lo + small.lo);
    out->e = edgemse_divide(sum, n);
    out->y = edgemse_divide(edgemse_fold(sy, preset_y, rest_y), n);
    out->abs_sum = edgemse_total(absolute);
}

/* What runs over the rows: an exact part and a rest for each second moment. */
typedef struct {
    edgemse_lanes d2, g2, dg, rest_d2, rest_g2, rest_dg, d3, d4;
} edgemse_sums_state;

/* Up to four rows added up plainly (three roundings), then split onto the accumulators. */
EDGEMSE_INLINE void edgemse_rows(edgemse_sums_state *s, const double *y, const double *errors,
                                 int rows, edgemse_lanes pivot_e, edgemse_lanes pivot_y)
{
    edgemse_lanes d2, g2, dg, d3, d4, rest;
    for (int r = 0; r < rows; r++) {
        edgemse_lanes d = *(const edgemse_loose *)(errors + r * EDGEMSE_LANES) - pivot_e;
        edgemse_lanes g = *(const edgemse_loose *)(y + r * EDGEMSE_LANES) - pivot_y;
        edgemse_lanes square = d * d;
        d2 = r ? d2 + square : square;
        g2 = r ? g2 + g * g : g * g;
        dg = r ? dg + d * g : d * g;
        d3 = r ? d3 + square * d : square * d;
        d4 = r ? d4 + square * square : square * square;
    }
    EDGEMSE_SPLIT(s->d2, rest, d2);
    s->rest_d2 += rest;
    EDGEMSE_SPLIT(s->g2, rest, g2);
    s->rest_g2 += rest;
    EDGEMSE_SPLIT(s->dg, rest, dg);
    s->rest_dg += rest;
    s->d3 += d3;
    s->d4 += d4;
}

/* Sums about the pivots. The last row is filled up with the pivots themselves. Of `pred` only what
   follows this block is touched, to have it near. */
EDGEMSE_INLINE void edgemse_second_sums(const double *y, const double *pred, const double *errors,
                                        const double *tail_y, ptrdiff_t whole, ptrdiff_t rows_end,
                                        double largest_d, double largest_g, edgemse_block *out)
{
    const edgemse_lanes zero = {0}, pe = edgemse_all(out->e.hi), py = edgemse_all(out->y.hi);
    const double d2 = edgemse_preset(largest_d * largest_d, rows_end);
    const double g2 = edgemse_preset(largest_g * largest_g, rows_end);
    const double dg = edgemse_preset(largest_d * largest_g, rows_end);
    edgemse_sums_state s = {edgemse_all(d2), edgemse_all(g2), edgemse_all(dg), zero,
                            zero, zero, zero, zero};
    ptrdiff_t i = 0;
    for (; i + 4 * EDGEMSE_LANES <= whole; i += 4 * EDGEMSE_LANES) {
        for (int r = 0; r < 4; r++) { /* memory works while the arithmetic does */
            __builtin_prefetch(y + i + r * EDGEMSE_LANES + EDGEMSE_BLOCK);
            __builtin_prefetch(pred + i + r * EDGEMSE_LANES + EDGEMSE_BLOCK);
        }
        edgemse_rows(&s, y + i, errors + i, 4, pe, py);
    }
    for (; i < whole; i += EDGEMSE_LANES)
        edgemse_rows(&s, y + i, errors + i, 1, pe, py);
    if (whole < rows_end)
        edgemse_rows(&s, tail_y, errors + whole, 1, pe, py);
    out->d2 = edgemse_fold(s.d2, d2, s.rest_d2);
    out->g2 = edgemse_fold(s.g2, g2, s.rest_g2);
    out->dg = edgemse_fold(s.dg, dg, s.rest_dg);
    out->d3 = edgemse_total(s.d3);
    out->d4 = edgemse_total(s.d4);
}

static inline void edgemse_fill(double *tail, ptrdiff_t used, double value)
{
    for (; used < EDGEMSE_LANES; used++)
        tail[used] = value;
}

/* Sums of 1..EDGEMSE_BLOCK pairs after edgemse_subtract. Returns 0 if a NaN was among them. */
EDGEMSE_CLONES
static int edgemse_sums(const double *y, const double *pred, double *errors, ptrdiff_t n,
                        double largest_y, edgemse_block *out)
{
    const ptrdiff_t used = n % EDGEMSE_LANES, whole = n - used;
    const ptrdiff_t rows_end = used ? whole + EDGEMSE_LANES : whole;
    double largest_e = fmax(fabs(out->low), fabs(out->high)), reach;
    double tail_y[EDGEMSE_LANES];
    const edgemse_dd count = {(double)n, 0.0};
    memcpy(tail_y, y + whole, (size_t)used * sizeof *y);
    if (used) {
        edgemse_fill(tail_y, used, 0.0);
        edgemse_fill(errors + whole, used, 0.0);
    }
    edgemse_first_sums(y, errors, tail_y, whole, rows_end, edgemse_preset(largest_e, rows_end),
                       edgemse_preset(largest_y, rows_end), count, out);
    if (!(out->e.hi == out->e.hi && out->y.hi == out->y.hi))
        return 0;
    if (used) {
        edgemse_fill(tail_y, used, out->y.hi);
        edgemse_fill(errors + whole, used, out->e.hi);
    }
    reach = fmax(out->high - out->e.hi, out->e.hi - out->low);
    edgemse_second_sums(y, pred, errors, tail_y, whole, rows_end, reach,
                        largest_y + fabs(out->y.hi), out);
    return 1;
}

#endif
