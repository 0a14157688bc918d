/* Bytes and bits of a state, and its histogram: varints, doubles, Golomb-Rice and Elias' gamma
   codes (docs/wire.md). */
#ifndef EDGEMSE_BYTES_H
#define EDGEMSE_BYTES_H

#include "edgemse_moments.h"

typedef struct {
    unsigned char *data;
    size_t room, size;   /* size goes on counting past the room */
    unsigned held, bits; /* bits that do not fill a byte yet */
} edgemse_writer;

EDGEMSE_FN void edgemse_writer_open(edgemse_writer *w, unsigned char *data, size_t room)
{
    w->data = data;
    w->room = room;
    w->size = 0;
    w->held = w->bits = 0;
}

EDGEMSE_CALL void edgemse_put_byte(edgemse_writer *w, unsigned byte)
{
    if (w->size < w->room)
        w->data[w->size] = (unsigned char)(byte & 0xff);
    w->size++;
}

/* Seven bits a byte, the lowest first, the top bit set on all bytes but the last. */
EDGEMSE_CALL void edgemse_put_varint(edgemse_writer *w, uint32_t v)
{
    for (; v >= 0x80; v >>= 7)
        edgemse_put_byte(w, (unsigned)v | 0x80);
    edgemse_put_byte(w, (unsigned)v);
}

/* Little-endian, whatever this machine is. */
EDGEMSE_CALL void edgemse_put_double(edgemse_writer *w, double x)
{
    uint64_t bits = edgemse_bits(x);
    int i;
    for (i = 0; i < 8; i++, bits >>= 8)
        edgemse_put_byte(w, (unsigned)bits);
}

#if EDGEMSE_BUCKETS
#define EDGEMSE_SPAN 512 /* buckets under the highest one used that the zero bucket does not take */
#define EDGEMSE_NO_TOP INT32_MIN

typedef struct {
    uint32_t zero; /* count of the zero bucket */
    int32_t top;   /* the highest bucket used, of either sign */
    uint32_t counts[2][EDGEMSE_BUCKETS]; /* of positive and negative errors; i is at i % BUCKETS */
} edgemse_histogram;

EDGEMSE_FN void edgemse_histogram_clear(edgemse_histogram *h)
{
    edgemse_zero(h, sizeof *h);
    h->top = EDGEMSE_NO_TOP;
}

/* The bucket of a finite a > 0: bucket i is (2^(i/8), 2^((i+1)/8)]. */
EDGEMSE_FN int32_t edgemse_bucket(double a)
{
    /* the mantissas (52 bits) of the largest doubles <= 2^(j/8), j = 1..7 */
    static const uint64_t bounds[7] = {
        UINT64_C(0x172b83c7d517a), UINT64_C(0x306fe0a31b715), UINT64_C(0x4bfdad5362a27),
        UINT64_C(0x6a09e667f3bcc), UINT64_C(0x8ace5422aa0db), UINT64_C(0xae89f995ad3ad),
        UINT64_C(0xd5818dcfba487)};
    const int small = a < 0x1p-1021; /* perhaps subnormal */
    const uint64_t bits = edgemse_bits(small ? a * 0x1p64 : a), mantissa = bits << 12 >> 12;
    int32_t i = 8 * ((int32_t)(bits >> 52) - 1023) - (small ? 8 * 64 : 0);
    int j;
    for (j = 0; j < 7 && mantissa > bounds[j]; j++)
        i++;
    return mantissa ? i : i - 1; /* bounds belong to the bucket below */
}

EDGEMSE_FN uint32_t *edgemse_count_of(edgemse_histogram *h, int side, int32_t i)
{
    return &h->counts[side][(uint32_t)i % EDGEMSE_BUCKETS];
}

/* Makes `top` the highest bucket: what then lies too low goes into the zero bucket. Returns 0 if
   something neither lies so low nor has a place here any more. */
EDGEMSE_FN int edgemse_raise_top(edgemse_histogram *h, int32_t top)
{
    const int32_t none = h->top == EDGEMSE_NO_TOP;
    int32_t i, from = none ? top : h->top - EDGEMSE_BUCKETS + 1;
    const int32_t end = none || h->top + EDGEMSE_BUCKETS <= top ? h->top : top - EDGEMSE_BUCKETS;
    int side;
    for (i = from; i <= end; i++)
        for (side = 0; side < 2; side++) {
            uint32_t *count = edgemse_count_of(h, side, i);
            if (*count && i > top - EDGEMSE_SPAN)
                return 0;
            h->zero += *count;
            *count = 0;
        }
    h->top = top;
    return 1;
}

/* Counts one error, or returns 0: there is no place for it, this histogram is to be given up. */
EDGEMSE_FN int edgemse_histogram_count(edgemse_histogram *h, double e)
{
    int32_t i;
    if (e == 0.0) {
        h->zero++;
        return 1;
    }
    i = edgemse_bucket(edgemse_abs(e));
    if (i > h->top && !edgemse_raise_top(h, i))
        return 0;
    if (i <= h->top - EDGEMSE_SPAN) {
        h->zero++;
        return 1;
    }
    if (i <= h->top - EDGEMSE_BUCKETS)
        return 0;
    ++*edgemse_count_of(h, e < 0.0, i);
    return 1;
}

/* The low n bits of v, the highest first. */
EDGEMSE_FN void edgemse_put_bits(edgemse_writer *w, uint64_t v, int n)
{
    while (n-- > 0) {
        w->held = w->held << 1 | (unsigned)(v >> n & 1);
        if (++w->bits == 8) {
            edgemse_put_byte(w, w->held);
            w->bits = 0;
        }
    }
}

/* Elias' gamma code of v >= 1. */
EDGEMSE_FN void edgemse_put_gamma(edgemse_writer *w, uint64_t v)
{
    int n = 1;
    while (v >> n)
        n++;
    edgemse_put_bits(w, 0, n - 1);
    edgemse_put_bits(w, v, n);
}

typedef struct {
    uint64_t total, seen; /* k is the least with seen 2^k >= total */
} edgemse_rice;

EDGEMSE_FN void edgemse_put_rice(edgemse_writer *w, edgemse_rice *r, uint64_t v)
{
    enum { ESCAPE = 20, WINDOW = 16 };
    uint64_t q;
    int k = 0;
    while (r->seen << k < r->total)
        k++;
    q = v >> k;
    edgemse_put_bits(w, UINT64_MAX, q < ESCAPE ? (int)q : ESCAPE);
    if (q < ESCAPE)
        edgemse_put_bits(w, 0, 1);
    else
        edgemse_put_gamma(w, q - ESCAPE + 1);
    edgemse_put_bits(w, v, k);
    r->total += v;
    if (++r->seen == WINDOW) {
        r->total >>= 1;
        r->seen >>= 1;
    }
}

/* One sign's counts from bucket `low` to `high`, neither of them 0: the differences of neighbours;
   a 0 is followed by the length of its run. */
EDGEMSE_FN void edgemse_put_run(edgemse_writer *w, edgemse_rice *r, const uint32_t *counts,
                                int32_t low, int32_t high)
{
    int64_t last = 0;
    while (low <= high) {
        const int32_t start = low;
        const int64_t here = counts[(uint32_t)low++ % EDGEMSE_BUCKETS], step = here - last;
        edgemse_put_rice(w, r, (uint64_t)(last == 0 ? here - 1 : step < 0 ? -2 * step - 1
                                                                          : 2 * step));
        last = here;
        if (here)
            continue;
        while (counts[(uint32_t)low % EDGEMSE_BUCKETS] == 0)
            low++;
        edgemse_put_gamma(w, (uint64_t)(low - start));
    }
}

EDGEMSE_FN void edgemse_put_histogram(edgemse_writer *w, const edgemse_histogram *h)
{
    int32_t low[2], high[2];
    edgemse_rice rice = {0, 1};
    int side;
    edgemse_put_varint(w, h->zero);
    for (side = 0; side < 2; side++) {
        const uint32_t *counts = h->counts[side];
        int32_t bottom = h->top == EDGEMSE_NO_TOP ? 0 : h->top - EDGEMSE_BUCKETS + 1;
        low[side] = bottom;
        high[side] = h->top == EDGEMSE_NO_TOP ? bottom - 1 : h->top;
        while (high[side] >= low[side] && !counts[(uint32_t)high[side] % EDGEMSE_BUCKETS])
            high[side]--;
        while (low[side] < high[side] && !counts[(uint32_t)low[side] % EDGEMSE_BUCKETS])
            low[side]++;
        edgemse_put_varint(w, (uint32_t)(high[side] - low[side] + 1));
        if (low[side] <= high[side])
            edgemse_put_varint(w, (uint32_t)(low[side] < 0 ? -2 * low[side] - 1 : 2 * low[side]));
    }
    for (side = 0; side < 2; side++)
        edgemse_put_run(w, &rice, h->counts[side], low[side], high[side]);
    if (w->bits) /* the last byte is filled up with zeros */
        edgemse_put_bits(w, 0, 8 - (int)w->bits);
}
#endif

#endif
