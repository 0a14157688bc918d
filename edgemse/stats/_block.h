/* One block of (y, error) pairs -> its sums, in eight fixed lanes.

   Element i belongs to lane i % 8 on every CPU. IEEE double arithmetic only; build with
   -ffp-contract=off, never with -ffast-math. docs/numerics.md has the error bounds. */
#ifndef EDGEMSE_BLOCK_H
#define EDGEMSE_BLOCK_H

#include "_dd.h"
#include "_lanes.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct {
    edgemse_dd e;              /* the mean of the errors, practically exact */
    double pivot_y, shift_y;   /* near the mean of the labels, and what is missing to it */
    double low, high, abs_sum; /* of the errors */
    edgemse_dd d2;             /* sum of d^2, d = error - e.hi */
    double d3, d4, g2, dg;     /* g = label - pivot_y */
} edgemse_block;

/* 1.5 * 2^k, 2^k > bound. Adding x, |x| <= 2^k / 2, rounds it to a multiple of 2^(k - 52), which
   then stands in the low bits as an integer. */
static inline double edgemse_block_preset(double bound)
{
    uint64_t bits;
    if (!(bound > 0x1p-900)) /* what two presets round to stays a normal number */
        bound = 0x1p-900;
    memcpy(&bits, &bound, sizeof bits);
    bits = ((bits >> 52) + 1) << 52 | UINT64_C(1) << 51;
    memcpy(&bound, &bits, sizeof bits);
    return bound;
}

/* The integers that stand in the low bits of n numbers which were added to `preset`, added up;
   `total` is the sum of the numbers' bits. */
static inline edgemse_dd edgemse_block_unfix(uint64_t total, ptrdiff_t n, double preset)
{
    uint64_t bits;
    int64_t units;
    double unit = preset * (0x1p-52 / 1.5);
    edgemse_dd sum;
    memcpy(&bits, &preset, sizeof bits);
    units = (int64_t)(total - (uint64_t)n * bits);
    sum = edgemse_two_sum((double)(units >> 32) * 0x1p32, (double)(units & 0xffffffff));
    sum.hi *= unit;
    sum.lo *= unit;
    return sum;
}

#define EDGEMSE_WIDTH EDGEMSE_NATIVE
#include "_kernel.h"
#undef EDGEMSE_WIDTH

#ifdef EDGEMSE_CHOICE
#pragma GCC push_options
#pragma GCC target("avx2")
#define EDGEMSE_WIDTH 4
#include "_kernel.h"
#undef EDGEMSE_WIDTH
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f")
#define EDGEMSE_WIDTH 8
#include "_kernel.h"
#undef EDGEMSE_WIDTH
#pragma GCC pop_options
#endif

/* Sums of 1..EDGEMSE_BLOCK pairs. `errors` is filled, or holds the errors already where pred is
   NULL. Returns 0 unless it is certain that every sample is finite and within the limit; of samples
   that are, the sums are right in any case. */
static inline int edgemse_block_sums(const double *y, const double *pred, double *errors,
                                     ptrdiff_t n, edgemse_block *out)
{
#ifdef EDGEMSE_CHOICE
    if (__builtin_cpu_supports("avx512f"))
        return edgemse_block_sums_8(y, pred, errors, n, out);
    if (__builtin_cpu_supports("avx2"))
        return edgemse_block_sums_4(y, pred, errors, n, out);
#endif
#if EDGEMSE_NATIVE == 2
    return edgemse_block_sums_2(y, pred, errors, n, out);
#else
    return edgemse_block_sums_1(y, pred, errors, n, out);
#endif
}

#endif
