/* Eight doubles at a time, by the vector extensions of GCC and Clang: lanes that every CPU has, in
   one instruction or in eight. */
#ifndef EDGEMSE_LANES_H
#define EDGEMSE_LANES_H

#include "_dd.h"

#include <stddef.h>
#include <stdint.h>

#define EDGEMSE_LANES 8
#define EDGEMSE_BLOCK 1024 /* samples; errors and labels of one block are 16 KiB, inside every L1 */

/* Vectors never cross a call, so it does not matter how they would be passed. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define EDGEMSE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EDGEMSE_CLONES
#endif

typedef double edgemse_lanes __attribute__((vector_size(64)));
typedef double edgemse_loose __attribute__((vector_size(64), aligned(8), may_alias));
typedef long long edgemse_mask __attribute__((vector_size(64)));

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
    return v - (edgemse_lanes){0};
}

/* The eight lanes in one fixed order. */
EDGEMSE_INLINE double edgemse_total(edgemse_lanes a)
{
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

#endif
