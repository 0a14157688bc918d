/* Vectors by the extensions of GCC and Clang, and which of them a CPU runs.

   The kernels have eight lanes everywhere. A CPU takes them in one vector, in two, in four, or one
   by one: the lanes, not the width of the vector unit, define the result. Types are never wider
   than what is native, because GCC takes those to pieces badly: _kernel.h is compiled once for each
   width instead. */
#ifndef EDGEMSE_LANES_H
#define EDGEMSE_LANES_H

#include "_dd.h"

#include <stddef.h>
#include <stdint.h>

#define EDGEMSE_LANES 8
#define EDGEMSE_BLOCK 1024 /* samples; errors and labels of one block are 16 KiB, inside every L1 */
#define EDGEMSE_LIMIT 0x1p200 /* largest |error| and |y| that is folded in: n d^4 stays finite */

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#define EDGEMSE_CHOICE /* of widths, made at run time */
#endif

#ifdef EDGEMSE_NATIVE /* a test wants another */
#elif defined(__x86_64__) || defined(__aarch64__)
#define EDGEMSE_NATIVE 2 /* doubles that every CPU of the kind takes at a time */
#else
#define EDGEMSE_NATIVE 1
#endif

#if defined(EDGEMSE_CHOICE) && defined(__GLIBC__)
#define EDGEMSE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EDGEMSE_CLONES
#endif

/* The eight lanes in one fixed order. */
EDGEMSE_INLINE double edgemse_lanes_total(const double *a)
{
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

#endif
