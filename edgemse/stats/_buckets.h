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
#define EDGEMSE_GROW 8        /* buckets by which a run grows: half a cache line */

/* Counts have 32 bits while all of them together fit (total <= UINT32_MAX), from then on 64. */
typedef struct {
    void *counts; /* the j-th is that of bucket low + j */
    int low, size, room, wide;
} edgemse_side;

typedef struct {
    uint64_t zero, total; /* zero bucket; all buckets */
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

/* The largest doubles <= 2^(j/8): the bounds as counting has them. */
#define EDGEMSE_EIGHTH(bound) (1.0 + (double)(bound) * 0x1p-52)
static const double edgemse_eighths[8] = {
    1.0,
    EDGEMSE_EIGHTH(EDGEMSE_B1),
    EDGEMSE_EIGHTH(EDGEMSE_B2),
    EDGEMSE_EIGHTH(EDGEMSE_B3),
    EDGEMSE_EIGHTH(EDGEMSE_B4),
    EDGEMSE_EIGHTH(EDGEMSE_B5),
    EDGEMSE_EIGHTH(EDGEMSE_B6),
    EDGEMSE_EIGHTH(EDGEMSE_B7),
};

#define EDGEMSE_PLAIN(j, slot) ((UINT64_C(j) << 49) - (UINT64_C(slot) << 48))
#define EDGEMSE_BOUND(j, bound) ((UINT64_C(j) << 49) - (bound))

/* For the sixteenth of an octave that a mantissa m lies in, what to add to make its high bits the
   bucket: (m + addend) >> 49 == j. A sixteenth holds one bound at most. */
static const uint64_t edgemse_bucket_addend[16] = {
    EDGEMSE_PLAIN(0, 0),            EDGEMSE_BOUND(1, EDGEMSE_B1), EDGEMSE_PLAIN(1, 2),
    EDGEMSE_BOUND(2, EDGEMSE_B2),   EDGEMSE_BOUND(3, EDGEMSE_B3), EDGEMSE_PLAIN(3, 5),
    EDGEMSE_BOUND(4, EDGEMSE_B4),   EDGEMSE_PLAIN(4, 7),          EDGEMSE_BOUND(5, EDGEMSE_B5),
    EDGEMSE_PLAIN(5, 9),            EDGEMSE_BOUND(6, EDGEMSE_B6), EDGEMSE_PLAIN(6, 11),
    EDGEMSE_PLAIN(6, 12),           EDGEMSE_BOUND(7, EDGEMSE_B7), EDGEMSE_PLAIN(7, 14),
    EDGEMSE_PLAIN(7, 15),
};

/* The bucket of a normal number > 0. Bounds are inclusive above, so look at the double below: then
   "above the bound" is "at or above the largest double that is <= the bound". */
static inline int edgemse_bucket_index_normal(double a)
{
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits -= 1;
    bits += edgemse_bucket_addend[(bits >> 48) & 15];
    return (int)(bits >> 49) - 8 * 1023;
}

/* The bucket of any finite number > 0. */
static inline int edgemse_bucket_index(double a)
{
    if (a < 0x1p-1021)
        return edgemse_bucket_index_normal(a * 0x1p64) - 8 * 64;
    return edgemse_bucket_index_normal(a);
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

static inline uint64_t edgemse_side_get(const edgemse_side *s, int j)
{
    return s->wide ? ((const uint64_t *)s->counts)[j] : ((const uint32_t *)s->counts)[j];
}

static inline void edgemse_side_gain(edgemse_side *s, int j, uint64_t n)
{
    if (s->wide)
        ((uint64_t *)s->counts)[j] += n;
    else
        ((uint32_t *)s->counts)[j] += (uint32_t)n;
}

static inline size_t edgemse_side_bytes(const edgemse_side *s, int buckets)
{
    return (size_t)buckets << (s->wide ? 3 : 2);
}

static inline char *edgemse_side_place(const edgemse_side *s, int j)
{
    return (char *)s->counts + edgemse_side_bytes(s, j);
}

/* Makes room for `more` samples: 64 bits a count if they will need it. Returns 0, or -1 without
   memory. */
static int edgemse_buckets_expect(edgemse_buckets *b, uint64_t more)
{
    if (b->total + more <= UINT32_MAX)
        return 0;
    for (int side = 0; side < 2; side++) {
        edgemse_side *s = &b->sides[side], wide = *s;
        wide.wide = 1;
        if (s->wide || s->room == 0) {
            s->wide = 1;
            continue;
        }
        wide.counts = PyMem_RawMalloc(edgemse_side_bytes(&wide, wide.room));
        if (!wide.counts)
            return -1;
        for (int j = 0; j < s->size; j++)
            ((uint64_t *)wide.counts)[j] = edgemse_side_get(s, j);
        PyMem_RawFree(s->counts);
        *s = wide;
    }
    return 0;
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
        *zero += edgemse_side_get(s, j);
    s->size -= drop;
    s->low += drop;
    memmove(s->counts, edgemse_side_place(s, drop), edgemse_side_bytes(s, s->size));
}

static inline void edgemse_buckets_raise_top(edgemse_buckets *b, int top)
{
    if (top <= b->top)
        return;
    b->top = top;
    edgemse_side_cut(&b->sides[0], top - EDGEMSE_SPAN, &b->zero);
    edgemse_side_cut(&b->sides[1], top - EDGEMSE_SPAN, &b->zero);
}

/* Makes the run cover low..high, both inside (top - 512, top]. Returns 0, or -1 without memory.
   It never reaches above `high`: a count there would raise top. */
static int edgemse_side_cover(edgemse_side *s, int low, int high, int floor)
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
        void *counts = PyMem_RawRealloc(s->counts, edgemse_side_bytes(s, room));
        if (!counts)
            return -1;
        s->counts = counts;
        s->room = room;
    }
    shift = s->size ? s->low - low : 0;
    if (shift > 0) {
        memmove(edgemse_side_place(s, shift), s->counts, edgemse_side_bytes(s, s->size));
        memset(s->counts, 0, edgemse_side_bytes(s, shift));
    }
    shift += s->size;
    memset(edgemse_side_place(s, shift), 0, edgemse_side_bytes(s, size - shift));
    s->low = low;
    s->size = size;
    return 0;
}

/* Counts one finite error. Returns 0, or -1 without memory. */
static inline int edgemse_buckets_count(edgemse_buckets *b, double e)
{
    edgemse_side *s = &b->sides[e < 0.0];
    double a = fabs(e);
    int index;
    if (b->total >= UINT32_MAX && edgemse_buckets_expect(b, 1))
        return -1;
    if (a == 0.0) {
        b->zero++;
        b->total++;
        return 0;
    }
    index = edgemse_bucket_index(a);
    if ((unsigned)index - (unsigned)s->low >= (unsigned)s->size) { /* not covered yet */
        edgemse_buckets_raise_top(b, index);
        if (index <= b->top - EDGEMSE_SPAN) {
            b->zero++;
            b->total++;
            return 0;
        }
        if (edgemse_side_cover(s, index, index, b->top - EDGEMSE_SPAN + 1))
            return -1;
    }
    edgemse_side_gain(s, index - s->low, 1);
    b->total++;
    return 0;
}

/* Counts n finite errors. Returns 0, or -1 without memory. The runs are kept in local variables: a
   compiler must otherwise fear that counting changes them. */
static inline int edgemse_buckets_count_all(edgemse_buckets *b, const double *errors, Py_ssize_t n)
{
    uint32_t *counts[2];
    unsigned low[2], size[2];
    Py_ssize_t i = 0, from;
    if (edgemse_buckets_expect(b, (uint64_t)n))
        return -1;
    while (i < n) {
        for (int side = 0; side < 2; side++) {
            const edgemse_side *s = &b->sides[side];
            counts[side] = s->counts;
            /* in keys: 8 * 1023 above the bucket; zeros and subnormals have none that is covered */
            low[side] = (unsigned)(s->low + 8 * 1023);
            size[side] = s->low > -8 * 1022 && !s->wide ? (unsigned)s->size : 0;
        }
        for (from = i; i < n; i++) {
            uint64_t raw, bits;
            unsigned side, at;
            memcpy(&raw, errors + i, sizeof raw);
            bits = (raw & INT64_MAX) - 1;
            side = (unsigned)(raw >> 63);
            at = (unsigned)((bits + edgemse_bucket_addend[(bits >> 48) & 15]) >> 49) - low[side];
            if (at >= size[side])
                break;
            counts[side][at]++;
        }
        b->total += (uint64_t)(i - from);
        if (i < n && edgemse_buckets_count(b, errors[i++]))
            return -1;
    }
    return 0;
}

EDGEMSE_CLONES
static void edgemse_side_add_narrow(uint32_t *to, const uint32_t *from, int n)
{
    for (int i = 0; i < n; i++)
        to[i] += from[i];
}

/* to[at ...] += from[skip ...] */
static inline void edgemse_side_add(edgemse_side *to, int at, const edgemse_side *from, int skip)
{
    int n = from->size - skip;
    if (!to->wide && !from->wide) {
        edgemse_side_add_narrow((uint32_t *)to->counts + at, (uint32_t *)from->counts + skip, n);
    } else if (!to->wide) { /* wide by nature, not by need: fresh from its bytes */
        uint32_t *into = (uint32_t *)to->counts + at;
        const uint64_t *some = (const uint64_t *)from->counts + skip;
        for (int j = 0; j < n; j++)
            into[j] += (uint32_t)some[j];
    } else {
        for (int j = 0; j < n; j++)
            edgemse_side_gain(to, at + j, edgemse_side_get(from, skip + j));
    }
}

/* a += b. Returns 0, or -1 without memory (a is then unchanged but for width, room and top). */
static inline int edgemse_buckets_merge(edgemse_buckets *a, const edgemse_buckets *b)
{
    int cut, skip[2];
    if (edgemse_buckets_expect(a, b->total))
        return -1;
    if (b->top != EDGEMSE_NO_TOP)
        edgemse_buckets_raise_top(a, b->top);
    cut = a->top == EDGEMSE_NO_TOP ? INT_MIN : a->top - EDGEMSE_SPAN;
    for (int side = 0; side < 2; side++) {
        const edgemse_side *s = &b->sides[side];
        edgemse_side *into = &a->sides[side];
        int low, high = s->low + s->size - 1;
        skip[side] = s->size && s->low <= cut ? cut + 1 - s->low : 0;
        low = s->low + skip[side];
        if (low > high || (low >= into->low && high < into->low + into->size))
            continue;
        if (edgemse_side_cover(into, low, high, cut + 1))
            return -1;
    }
    a->zero += b->zero;
    a->total += b->total;
    for (int side = 0; side < 2; side++) {
        const edgemse_side *s = &b->sides[side];
        edgemse_side *into = &a->sides[side];
        for (int j = 0; j < s->size && j < skip[side]; j++)
            a->zero += edgemse_side_get(s, j);
        if (skip[side] < s->size)
            edgemse_side_add(into, s->low + skip[side] - into->low, s, skip[side]);
    }
    return 0;
}

/* A histogram whose zero bucket and top are set gets its runs: both signs' counts, one after the
   other. Returns 0, or -1 without memory. */
static inline int edgemse_buckets_fill(edgemse_buckets *b, const uint64_t *counts, uint64_t total,
                               const int *low, const int *size)
{
    if (edgemse_buckets_expect(b, total))
        return -1;
    b->total = total;
    for (int side = 0; side < 2; counts += size[side++]) {
        edgemse_side *s = &b->sides[side];
        if (size[side] == 0)
            continue;
        if (edgemse_side_cover(s, low[side], low[side] + size[side] - 1, low[side]))
            return -1;
        if (s->wide) {
            memcpy(s->counts, counts, edgemse_side_bytes(s, size[side]));
            continue;
        }
        for (int j = 0; j < size[side]; j++)
            ((uint32_t *)s->counts)[j] = (uint32_t)counts[j];
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
