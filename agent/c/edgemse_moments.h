/* The moments of errors: one block of samples, and the merge of two states.

   The formulas, their order and the eight lanes are those of edgemse/stats (_dd.h, _kernel.h,
   _moments.pxd, _fold.pxd), so that every bit is the same; docs/numerics.md derives them. */
#ifndef EDGEMSE_MOMENTS_H
#define EDGEMSE_MOMENTS_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__FAST_MATH__) || DBL_MANT_DIG != 53 \
    || (defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 1)
#error "wanted IEEE doubles, computed as such: no -ffast-math, no x87, no double of 32 bits"
#endif
#if !defined(__GNUC__) || defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc does not know it: -std=c99 or -ffp-contract=off there */
#endif

#ifndef EDGEMSE_SUM_33 /* doubles by libgcc's assembler: see edgemse_sum */
#if defined(__arm__) && !(defined(__ARM_FP) && __ARM_FP & 8) \
    && (defined(__ARM_ARCH_ISA_ARM) || __ARM_ARCH_ISA_THUMB > 1) /* not ARMv6-M: that is C */
#define EDGEMSE_SUM_33 1
#else
#define EDGEMSE_SUM_33 0
#endif
#endif

#define EDGEMSE_FN static inline
#ifdef __GNUC__
#define EDGEMSE_CALL static __attribute__((noinline, unused)) /* smaller so: doubles are software */
#else
#define EDGEMSE_CALL static
#endif
#define EDGEMSE_POWER(k) ((uint64_t)(1023 + (k)) << 52) /* the bits of 2^k */
#define EDGEMSE_LANES 8       /* sample i of a block belongs to lane i % 8 on every CPU */
#define EDGEMSE_WAITING 24    /* samples that a state holds back, and folds in at once */
#define EDGEMSE_WAITING_WEIGHTED 16

/* The numbers of a state, in the order of its bytes. One with a _LO behind it is the sum of both (a
   double-double), |lo| <= ulp / 2. e = y_pred - y_true, w the weights. Registers of formulas: an
   enum of each function, so that no name of theirs meets one of yours. */
#define EDGEMSE_FIELDS                                                                          \
    R_WEIGHT, R_WEIGHT_LO, R_WEIGHT2,                   /* sums of w and of w^2 */              \
    R_MEAN, R_MEAN_LO,                                  /* of e */                              \
    R_M2, R_M2_LO, R_M3, R_M4,                          /* sums of w (e - mean)^k */            \
    R_ABS_SUM, R_LOW, R_HIGH,                           /* sum of w |e|; range of e */          \
    R_Y_MEAN, R_Y_MEAN_LO, R_Y_M2, R_Y_M2_LO,           /* the same of y_true */                \
    R_Y_E, R_Y_E_LO,                                    /* sum of w (y_true - y_mean)(e - mean) */\
    R_FIELDS
enum { EDGEMSE_NUMBERS = 18 };

/* Zeros in here may be -0.0: they stand in no bytes and change no other number. */
typedef struct {
    double f[EDGEMSE_NUMBERS];
    uint32_t count, nonfinite, out_of_range;
} edgemse_moments;

EDGEMSE_FN void edgemse_zero(void *what, size_t size)
{
    unsigned char *at = what;
    while (size--)
        *at++ = 0;
}

EDGEMSE_FN uint64_t edgemse_bits(double x)
{
    union {
        double number;
        uint64_t bits;
    } both;
    both.number = x;
    return both.bits;
}

EDGEMSE_FN double edgemse_double(uint64_t bits)
{
    union {
        double number;
        uint64_t bits;
    } both;
    both.bits = bits;
    return both.number;
}

EDGEMSE_FN double edgemse_abs(double x)
{
    return edgemse_double(edgemse_bits(x) & (UINT64_MAX >> 1));
}

#if EDGEMSE_SUM_33
EDGEMSE_FN int edgemse_exponent(double x)
{
    const int exponent = (int)(edgemse_bits(x) >> 52 & 0x7ff);
    return exponent ? exponent : 1;
}

/* a + b, where the library's addition is that of libgcc for ARM in assembler (ieee754-df.S): of
   numbers whose exponents differ by 33 it keeps one bit below the last, too few to round by when
   they cancel into the next binade. In two steps, the first of which is exact then, it is right. */
EDGEMSE_CALL double edgemse_sum(double a, double b)
{
    const int gap = edgemse_exponent(a) - edgemse_exponent(b);
    const double big = gap > 0 ? a : b, small = gap > 0 ? b : a;
    if (gap == 33 || gap == -33) {
        const double high = edgemse_double(edgemse_bits(small) >> 32 << 32), s = big + high;
        if (s - big == high)
            return s + (small - high);
    }
    return a + b;
}
#else
#define edgemse_sum(a, b) ((a) + (b))
#endif
#define edgemse_less(a, b) edgemse_sum(a, -(b))

/* Arithmetic, each with its result and its operands. Those that end in _dd take two doubles for a
   number, and so does the result of the sum and the product that lose nothing. */
EDGEMSE_CALL void edgemse_plus(double *r, const double *a, const double *b)
{
    *r = edgemse_sum(*a, *b);
}

EDGEMSE_CALL void edgemse_minus(double *r, const double *a, const double *b)
{
    *r = edgemse_less(*a, *b);
}

EDGEMSE_CALL void edgemse_times(double *r, const double *a, const double *b)
{
    *r = *a * *b;
}

EDGEMSE_CALL void edgemse_over(double *r, const double *a, const double *b)
{
    *r = *a / *b;
}

/* Knuth's TwoSum: exactly a + b. */
EDGEMSE_CALL void edgemse_two_sum(double *r, const double *a, const double *b)
{
    const double x = *a, y = *b, s = edgemse_sum(x, y), t = edgemse_less(s, x);
    r[1] = edgemse_sum(edgemse_less(x, edgemse_less(s, t)), edgemse_less(y, t));
    r[0] = s;
}

/* Dekker's FastTwoSum, for |a| >= |b| or a == 0. */
EDGEMSE_CALL void edgemse_fast_two_sum(double *r, double a, double b)
{
    const double s = edgemse_sum(a, b);
    r[1] = edgemse_less(b, edgemse_less(s, a));
    r[0] = s;
}

/* Veltkamp: r[0] + r[1] == a, r[0] of 26 bits; 2^27 + 1. */
EDGEMSE_CALL void edgemse_split(double *r, double a)
{
    const double t = 134217729.0 * a, high = edgemse_less(t, edgemse_less(t, a));
    r[0] = high;
    r[1] = edgemse_less(a, high);
}

/* Dekker's TwoProduct: exactly a b. Never fma(). */
EDGEMSE_CALL void edgemse_two_prod(double *r, const double *a, const double *b)
{
    double x[2], y[2], p = *a * *b, rest = -p;
    int i;
    edgemse_split(x, *a);
    edgemse_split(y, *b);
    for (i = 0; i < 4; i++)
        rest = edgemse_sum(rest, x[i / 2] * y[i % 2]);
    r[0] = p;
    r[1] = rest;
}

EDGEMSE_CALL void edgemse_plus_dd(double *r, const double *a, const double *b)
{
    double s[2], t[2], v[2];
    edgemse_two_sum(s, a, b);
    edgemse_two_sum(t, a + 1, b + 1);
    edgemse_fast_two_sum(v, s[0], edgemse_sum(s[1], t[0]));
    edgemse_fast_two_sum(r, v[0], edgemse_sum(t[1], v[1]));
}

EDGEMSE_CALL void edgemse_minus_dd(double *r, const double *a, const double *b)
{
    double negative[2];
    negative[0] = -b[0];
    negative[1] = -b[1];
    edgemse_plus_dd(r, a, negative);
}

/* a is a double-double, b a double. */
EDGEMSE_CALL void edgemse_scale_dd(double *r, const double *a, const double *b)
{
    double c[2];
    edgemse_two_prod(c, a, b);
    edgemse_fast_two_sum(r, c[0], edgemse_sum(c[1], a[1] * *b));
}

EDGEMSE_CALL void edgemse_times_dd(double *r, const double *a, const double *b)
{
    double c[2];
    edgemse_two_prod(c, a, b);
    edgemse_fast_two_sum(r, c[0], edgemse_sum(c[1], edgemse_sum(a[0] * b[1], b[0] * a[1])));
}

EDGEMSE_CALL void edgemse_over_dd(double *r, const double *a, const double *b)
{
    double p[2], q = a[0] / b[0];
    edgemse_scale_dd(p, b, &q);
    edgemse_minus(p, a, p);
    edgemse_minus(p + 1, a + 1, p + 1);
    edgemse_fast_two_sum(r, q, edgemse_sum(p[0], p[1]) / b[0]);
}

/* A formula is a table of steps on an array of doubles: r[to] := r[a] op r[b]. A step takes 4
   bytes; spelled out in C, where doubles are software, it takes 16. */
#define EDGEMSE_OPS                                                                             \
    OP_PLUS, OP_MINUS, OP_TIMES, OP_OVER, OP_TWO_SUM, OP_TWO_PROD, OP_PLUS_DD, OP_MINUS_DD,     \
    OP_SCALE_DD, OP_TIMES_DD, OP_OVER_DD

typedef struct {
    unsigned char op, to, a, b;
} edgemse_step;

EDGEMSE_CALL void edgemse_run(double *r, const edgemse_step *step, unsigned steps)
{
    static void (*const ops[])(double *, const double *, const double *) = {
        edgemse_plus,     edgemse_minus,    edgemse_times,    edgemse_over,
        edgemse_two_sum,  edgemse_two_prod, edgemse_plus_dd,  edgemse_minus_dd,
        edgemse_scale_dd, edgemse_times_dd, edgemse_over_dd};
    for (; steps--; step++)
        ops[step->op](r + step->to, r + step->a, r + step->b);
}

#define EDGEMSE_RUN(r, steps) edgemse_run(r, steps, sizeof steps / sizeof *steps)

#define EDGEMSE_CONSTANTS R_TWO, R_THREE, R_FOUR, R_SIX

EDGEMSE_CALL void edgemse_constants(double *r)
{
    static const unsigned char values[] = {2, 3, 4, 6};
    int i;
    for (i = 0; i < 4; i++)
        r[i] = (double)values[i];
}

EDGEMSE_CALL void edgemse_copy(double *to, const double *from, int n)
{
    while (n--)
        *to++ = *from++;
}

EDGEMSE_FN void edgemse_moments_clear(edgemse_moments *m)
{
    enum { EDGEMSE_FIELDS };
    edgemse_zero(m, sizeof *m);
    m->f[R_LOW] = edgemse_double(EDGEMSE_POWER(1024)); /* infinity */
    m->f[R_HIGH] = -m->f[R_LOW];
}

EDGEMSE_CALL int edgemse_above(const double *a, const double *b)
{
    return a[0] > b[0] || (a[0] == b[0] && a[1] > b[1]);
}

/* Fold b's samples into a, both of some (Chan, Golub, LeVeque 1983; Pebay 2008, eq. 3.1). */
EDGEMSE_FN void edgemse_moments_combine(edgemse_moments *a, const edgemse_moments *b)
{
    enum { EDGEMSE_OPS };
    enum { /* the heavier's numbers, which become those of both; the lighter's from B on */
        EDGEMSE_FIELDS, R_B = R_FIELDS, R_ALL = R_B + R_FIELDS, R_SHARE = R_ALL + 2,
        R_FACTOR = R_SHARE + 2, R_DE = R_FACTOR + 2, R_DY = R_DE + 2, R_T = R_DY + 2,
        R_X = R_T + 2, R_Y, R_D2, R_D4, R_RB, R_M2B, R_M2S, EDGEMSE_CONSTANTS, R_REGISTERS
    };
    static const edgemse_step common[] = {
        {OP_PLUS_DD, R_ALL, R_WEIGHT, R_B + R_WEIGHT},
        {OP_OVER_DD, R_SHARE, R_B + R_WEIGHT, R_ALL},
        {OP_TIMES_DD, R_FACTOR, R_WEIGHT, R_B + R_WEIGHT}, {OP_OVER_DD, R_FACTOR, R_FACTOR, R_ALL},
        {OP_MINUS_DD, R_DE, R_B + R_MEAN, R_MEAN}, {OP_MINUS_DD, R_DY, R_B + R_Y_MEAN, R_Y_MEAN},
        {OP_OVER, R_RB, R_WEIGHT, R_ALL}, {OP_TIMES, R_M2B, R_RB, R_B + R_M2},
        {OP_TIMES, R_M2S, R_SHARE, R_M2}, {OP_TIMES, R_D2, R_DE, R_DE},
        {OP_TIMES, R_D4, R_D2, R_D2},
        /* m4 := (m4 + m4') + factor (rb^2 + rs^2 - rb rs) d^4; rs is the share */
        {OP_PLUS, R_M4, R_M4, R_B + R_M4}, {OP_TIMES, R_X, R_RB, R_RB},
        {OP_TIMES, R_Y, R_SHARE, R_SHARE}, {OP_PLUS, R_X, R_X, R_Y},
        {OP_TIMES, R_Y, R_RB, R_SHARE}, {OP_MINUS, R_X, R_X, R_Y}, {OP_TIMES, R_X, R_FACTOR, R_X},
        {OP_TIMES, R_X, R_X, R_D4}, {OP_PLUS, R_M4, R_M4, R_X},
        /* + 6 d^2 (rb m2b + rs m2s) */
        {OP_TIMES, R_X, R_RB, R_M2B}, {OP_TIMES, R_Y, R_SHARE, R_M2S}, {OP_PLUS, R_X, R_X, R_Y},
        {OP_TIMES, R_Y, R_SIX, R_D2}, {OP_TIMES, R_X, R_Y, R_X}, {OP_PLUS, R_M4, R_M4, R_X},
        /* + 4 d (rb m3' - rs m3) */
        {OP_TIMES, R_X, R_RB, R_B + R_M3}, {OP_TIMES, R_Y, R_SHARE, R_M3},
        {OP_MINUS, R_X, R_X, R_Y}, {OP_TIMES, R_Y, R_FOUR, R_DE}, {OP_TIMES, R_X, R_Y, R_X},
        {OP_PLUS, R_M4, R_M4, R_X},
        /* m3 := (m3 + m3') + factor (rb - rs) d^2 d + 3 d (m2b - m2s) */
        {OP_PLUS, R_M3, R_M3, R_B + R_M3}, {OP_MINUS, R_X, R_RB, R_SHARE},
        {OP_TIMES, R_X, R_FACTOR, R_X}, {OP_TIMES, R_X, R_X, R_D2}, {OP_TIMES, R_X, R_X, R_DE},
        {OP_PLUS, R_M3, R_M3, R_X}, {OP_MINUS, R_X, R_M2B, R_M2S}, {OP_TIMES, R_Y, R_THREE, R_DE},
        {OP_TIMES, R_X, R_Y, R_X}, {OP_PLUS, R_M3, R_M3, R_X},
        /* second moments := sum + product of the deltas, times the factor */
        {OP_PLUS_DD, R_M2, R_M2, R_B + R_M2}, {OP_TIMES_DD, R_T, R_DE, R_DE},
        {OP_TIMES_DD, R_T, R_T, R_FACTOR}, {OP_PLUS_DD, R_M2, R_M2, R_T},
        {OP_PLUS_DD, R_Y_M2, R_Y_M2, R_B + R_Y_M2}, {OP_TIMES_DD, R_T, R_DY, R_DY},
        {OP_TIMES_DD, R_T, R_T, R_FACTOR}, {OP_PLUS_DD, R_Y_M2, R_Y_M2, R_T},
        {OP_PLUS_DD, R_Y_E, R_Y_E, R_B + R_Y_E}, {OP_TIMES_DD, R_T, R_DE, R_DY},
        {OP_TIMES_DD, R_T, R_T, R_FACTOR}, {OP_PLUS_DD, R_Y_E, R_Y_E, R_T},
        {OP_PLUS, R_WEIGHT2, R_WEIGHT2, R_B + R_WEIGHT2},
        {OP_PLUS, R_ABS_SUM, R_ABS_SUM, R_B + R_ABS_SUM}};
    static const edgemse_step unequal[] = {
        {OP_TIMES_DD, R_T, R_DE, R_SHARE}, {OP_PLUS_DD, R_MEAN, R_MEAN, R_T},
        {OP_TIMES_DD, R_T, R_DY, R_SHARE}, {OP_PLUS_DD, R_Y_MEAN, R_Y_MEAN, R_T}};
    /* neither may be the origin, or merging would not commute */
    static const edgemse_step equal[] = {
        {OP_PLUS_DD, R_MEAN, R_MEAN, R_B + R_MEAN}, {OP_OVER, R_MEAN, R_MEAN, R_TWO},
        {OP_OVER, R_MEAN_LO, R_MEAN_LO, R_TWO}, {OP_PLUS_DD, R_Y_MEAN, R_Y_MEAN, R_B + R_Y_MEAN},
        {OP_OVER, R_Y_MEAN, R_Y_MEAN, R_TWO}, {OP_OVER, R_Y_MEAN_LO, R_Y_MEAN_LO, R_TWO}};
    const int swap = edgemse_above(b->f + R_WEIGHT, a->f + R_WEIGHT);
    double r[R_REGISTERS];
    edgemse_copy(r, (swap ? b : a)->f, R_FIELDS);
    edgemse_copy(r + R_B, (swap ? a : b)->f, R_FIELDS);
    edgemse_constants(r + R_TWO);
    EDGEMSE_RUN(r, common);
    if (swap || edgemse_above(a->f + R_WEIGHT, b->f + R_WEIGHT))
        EDGEMSE_RUN(r, unequal);
    else
        EDGEMSE_RUN(r, equal);
    r[R_LOW] = r[R_B + R_LOW] < r[R_LOW] ? r[R_B + R_LOW] : r[R_LOW];
    r[R_HIGH] = r[R_B + R_HIGH] > r[R_HIGH] ? r[R_B + R_HIGH] : r[R_HIGH];
    edgemse_copy(a->f, r, R_FIELDS);
    edgemse_copy(a->f + R_WEIGHT, r + R_ALL, 2);
    a->count += b->count;
}

/* a := a + b; the empty state is the identity. */
EDGEMSE_CALL void edgemse_moments_merge(edgemse_moments *a, const edgemse_moments *b)
{
    const uint32_t nonfinite = a->nonfinite + b->nonfinite;
    const uint32_t out_of_range = a->out_of_range + b->out_of_range;
    if (a->count == 0)
        *a = *b;
    else if (b->count)
        edgemse_moments_combine(a, b);
    a->nonfinite = nonfinite;
    a->out_of_range = out_of_range;
}

#include "edgemse_fold.h" /* samples into moments */

#endif
