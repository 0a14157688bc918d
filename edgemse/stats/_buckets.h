/* A signed exponential histogram with OpenTelemetry's bounds at scale 3.

   Bucket i holds base^i < |e| <= base^(i + 1), base = 2^(1/8). Two dense runs of counts, one a
   sign, and a zero bucket. Let `top` be the largest bucket ever seen, of either sign: buckets
   at or below top - 512 belong to the zero bucket. `top` only rises, and what lies under an
   early cut lies under every later one, so folding early or late, here or after a merge, ends in
   the same counts: merging is exact, associative and commutative. */
#ifndef EDGEMSE_BUCKETS_H
#define EDGEMSE_BUCKETS_H

#include <Python.h>

#include "_lanes.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define EDGEMSE_SPAN 512      /* buckets a sign, 64 octaves */
#define EDGEMSE_NO_TOP INT_MIN
#define EDGEMSE_MAX_COUNT (UINT64_C(1) << 53) /* up to here every count is exact as a double */
#define EDGEMSE_GROW 4        /* buckets by which a run grows: half a cache line */

typedef struct {
    uint64_t *counts; /* counts[j] is bucket low + j */
    int low, size, room;
} edgemse_side;

typedef struct {
    uint64_t zero;
    int top;
    edgemse_side sides[2]; /* positive errors, negative errors */
} edgemse_buckets;

/* The mantissas (52 bits) of the largest doubles <= 2^(j/8), j = 1..7. */
#define EDGEMSE_B1 UINT64_C(0x172b83c7d517a)
#define EDGEMSE_B2 UINT64_C(0x306fe0a31b715)
#define EDGEMSE_B3 UINT64_C(0x4bfdad5362a27)
#define EDGEMSE_B4 UINT64_C(0x6a09e667f3bcc)
#define EDGEMSE_B5 UINT64_C(0x8ace5422aa0db)
#define EDGEMSE_B6 UINT64_C(0xae89f995ad3ad)
#define EDGEMSE_B7 UINT64_C(0xd5818dcfba487)
#define EDGEMSE_PLAIN(j, slot) ((UINT64_C(j) << 49) - (UINT64_C(slot) << 48))
#define EDGEMSE_BOUND(j, bound) ((UINT64_C(j) << 49) - (bound))

/* For the sixteenth of an octave that a mantissa m lies in, what to add to make its high bits the
   bucket: (m + addend) >> 49 == j. A sixteenth holds one bound at most. */
static const uint64_t edgemse_addend[16] = {
    EDGEMSE_PLAIN(0, 0),            EDGEMSE_BOUND(1, EDGEMSE_B1), EDGEMSE_PLAIN(1, 2),
    EDGEMSE_BOUND(2, EDGEMSE_B2),   EDGEMSE_BOUND(3, EDGEMSE_B3), EDGEMSE_PLAIN(3, 5),
    EDGEMSE_BOUND(4, EDGEMSE_B4),   EDGEMSE_PLAIN(4, 7),          EDGEMSE_BOUND(5, EDGEMSE_B5),
    EDGEMSE_PLAIN(5, 9),            EDGEMSE_BOUND(6, EDGEMSE_B6), EDGEMSE_PLAIN(6, 11),
    EDGEMSE_PLAIN(6, 12),           EDGEMSE_BOUND(7, EDGEMSE_B7), EDGEMSE_PLAIN(7, 14),
    EDGEMSE_PLAIN(7, 15),
};

/* The bucket of a normal number > 0. Bounds are inclusive above, so look at the double below: then
   "above the bound" is "at or above the largest double that is <= the bound". */
static inline int edgemse_index_normal(double a)
{
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits -= 1;
    bits += edgemse_addend[(bits >> 48) & 15];
    return (int)(bits >> 49) - 8 * 1023;
}

/* The bucket of any finite number > 0. */
static inline int edgemse_index(double a)
{
    return a < 0x1p-1021 ? edgemse_index_normal(a * 0x1p64) - 512 : edgemse_index_normal(a);
}

static inline void edgemse_buckets_clear(edgemse_buckets *b)
{
    memset(b, 0, sizeof *b);
    b->top = EDGEMSE_NO_TOP;
}

static inline void edgemse_buckets_free(edgemse_buckets *b)
{
    PyMem_RawFree(b->sides[0].counts);
    PyMem_RawFree(b->sides[1].counts);
    edgemse_buckets_clear(b);
}

/* Everything at or below `cut` goes into the zero bucket. */
static inline void edgemse_side_cut(edgemse_side *s, int cut, uint64_t *zero)
{
    int drop = cut + 1 - s->low;
    if (s->size == 0 || drop <= 0)
        return;
    if (drop > s->size)
        drop = s->size;
    for (int j = 0; j < drop; j++)
        *zero += s->counts[j];
    s->size -= drop;
    s->low += drop;
    memmove(s->counts, s->counts + drop, (size_t)s->size * sizeof *s->counts);
}

static inline void edgemse_raise_top(edgemse_buckets *b, int top)
{
    if (top <= b->top)
        return;
    b->top = top;
    edgemse_side_cut(&b->sides[0], top - EDGEMSE_SPAN, &b->zero);
    edgemse_side_cut(&b->sides[1], top - EDGEMSE_SPAN, &b->zero);
}

/* Makes the run cover low..high, both inside (top - 512, top]. Returns 0, or -1 without memory.
   It never reaches above `high`: a count there would raise top. */
static inline int edgemse_side_cover(edgemse_side *s, int low, int high, int floor)
{
    int end, size, shift;
    if (s->size == 0)
        s->low = low, end = high + 1;
    else
        end = s->low + s->size > high + 1 ? s->low + s->size : high + 1;
    if (low < s->low && s->size) {
        low -= (low - floor) % EDGEMSE_GROW; /* floor is the lowest bucket there may be */
    } else {
        low = s->low;
    }
    size = end - low;
    if (size > s->room) {
        int room = (size + EDGEMSE_GROW - 1) / EDGEMSE_GROW * EDGEMSE_GROW;
        uint64_t *counts = PyMem_RawRealloc(s->counts, (size_t)room * sizeof *counts);
        if (!counts)
            return -1;
        s->counts = counts;
        s->room = room;
    }
    shift = s->size ? s->low - low : 0;
    if (shift > 0) {
        memmove(s->counts + shift, s->counts, (size_t)s->size * sizeof *s->counts);
        memset(s->counts, 0, (size_t)shift * sizeof *s->counts);
    }
    memset(s->counts + shift + s->size, 0, (size_t)(size - shift - s->size) * sizeof *s->counts);
    s->low = low;
    s->size = size;
    return 0;
}

/* The slow half of counting: a bucket that its run does not cover yet. */
static inline int edgemse_count_new(edgemse_buckets *b, edgemse_side *s, int index)
{
    edgemse_raise_top(b, index);
    if (index <= b->top - EDGEMSE_SPAN) {
        b->zero++;
        return 0;
    }
    if (edgemse_side_cover(s, index, index, b->top - EDGEMSE_SPAN + 1))
        return -1;
    s->counts[index - s->low]++;
    return 0;
}

/* Counts one finite error. Returns 0, or -1 without memory. */
static inline int edgemse_count(edgemse_buckets *b, double e)
{
    edgemse_side *s = &b->sides[e < 0.0];
    double a = fabs(e);
    int index;
    unsigned at;
    if (a == 0.0) {
        b->zero++;
        return 0;
    }
    index = edgemse_index(a);
    at = (unsigned)index - (unsigned)s->low;
    if (at < (unsigned)s->size) {
        s->counts[at]++;
        return 0;
    }
    return edgemse_count_new(b, s, index);
}

/* Counts n finite errors. Returns 0, or -1 without memory. The runs are kept in local variables: a
   compiler must otherwise fear that counting changes them. */
static inline int edgemse_count_all(edgemse_buckets *b, const double *errors, Py_ssize_t n)
{
    uint64_t *counts[2];
    unsigned low[2], size[2];
    Py_ssize_t i = 0;
    while (i < n) {
        for (int side = 0; side < 2; side++) {
            counts[side] = b->sides[side].counts;
            /* in keys: 8 * 1023 above the bucket; zeros and subnormals have none that is covered */
            low[side] = (unsigned)(b->sides[side].low + 8 * 1023);
            size[side] = b->sides[side].low > -8 * 1022 ? (unsigned)b->sides[side].size : 0;
        }
        for (; i < n; i++) {
            uint64_t raw, bits;
            unsigned side, at;
            memcpy(&raw, errors + i, sizeof raw);
            bits = (raw & INT64_MAX) - 1;
            side = (unsigned)(raw >> 63);
            at = (unsigned)((bits + edgemse_addend[(bits >> 48) & 15]) >> 49) - low[side];
            if (at >= size[side])
                break;
            counts[side][at]++;
        }
        if (i < n && edgemse_count(b, errors[i++]))
            return -1;
    }
    return 0;
}

EDGEMSE_CLONES
static void edgemse_add_counts(uint64_t *to, const uint64_t *from, int n)
{
    for (int i = 0; i < n; i++)
        to[i] += from[i];
}

/* a += b. Returns 0, or -1 without memory (a is then unchanged but for room and top). */
static inline int edgemse_buckets_merge(edgemse_buckets *a, const edgemse_buckets *b)
{
    int cut, from[2];
    if (b->top != EDGEMSE_NO_TOP)
        edgemse_raise_top(a, b->top);
    cut = a->top == EDGEMSE_NO_TOP ? INT_MIN : a->top - EDGEMSE_SPAN;
    for (int side = 0; side < 2; side++) {
        const edgemse_side *s = &b->sides[side];
        from[side] = s->size && s->low <= cut ? cut + 1 - s->low : 0;
        if (from[side] < s->size &&
            edgemse_side_cover(&a->sides[side], s->low + from[side], s->low + s->size - 1, cut + 1))
            return -1;
    }
    a->zero += b->zero;
    for (int side = 0; side < 2; side++) {
        const edgemse_side *s = &b->sides[side];
        edgemse_side *into = &a->sides[side];
        int j = 0;
        for (; j < s->size && j < from[side]; j++)
            a->zero += s->counts[j];
        if (j < s->size) {
            edgemse_add_counts(into->counts + (s->low + j - into->low), s->counts + j, s->size - j);
        }
    }
    return 0;
}

static inline int edgemse_buckets_copy(edgemse_buckets *to, const edgemse_buckets *from)
{
    edgemse_buckets_clear(to);
    if (edgemse_buckets_merge(to, from)) {
        edgemse_buckets_free(to);
        return -1;
    }
    return 0;
}

#endif
