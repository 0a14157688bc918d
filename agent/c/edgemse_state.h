/* A state: samples in one by one, its bytes out (docs/wire.md, "The state").

   24 samples are held back and folded in at once, as Python's `update` does it. */
#ifndef EDGEMSE_STATE_H
#define EDGEMSE_STATE_H

#include "edgemse_bytes.h"
#include "edgemse_moments.h"

#define EDGEMSE_SIZE(k) (2 * (1023 + (k))) /* of 2^k, as edgemse_size tells it */
#define EDGEMSE_COUNT_MAX 0xffff0000u /* samples of a cell, with those that wait fewer than 2^32 */

enum edgemse_taken { /* what became of a sample */
    EDGEMSE_TAKEN,
    EDGEMSE_NONFINITE,       /* counted as such, not folded in */
    EDGEMSE_OUT_OF_RANGE,    /* the same */
    EDGEMSE_WEIGHTLESS,      /* weight 0: nothing was changed */
    EDGEMSE_NEGATIVE_WEIGHT, /* a mistake of the caller's: nothing was changed */
    EDGEMSE_FULL             /* no cell is free, or 2^32 samples in one: nothing was changed */
};

typedef struct {
    edgemse_moments moments; /* without the samples that wait */
    double room[2 * EDGEMSE_WAITING]; /* labels, errors; or labels, errors, weights, 16 each */
    unsigned char waiting, weighted;
#if EDGEMSE_BUCKETS
    unsigned char given_up; /* the errors spread over more buckets than there are: none is kept */
    edgemse_histogram histogram;
#endif
} edgemse_stats;

/* Whether quantiles and shares can be told of the samples. */
EDGEMSE_FN int edgemse_has_histogram(const edgemse_stats *s)
{
#if EDGEMSE_BUCKETS
    return !s->given_up;
#else
    (void)s;
    return 0;
#endif
}

EDGEMSE_FN void edgemse_clear(edgemse_stats *s)
{
    edgemse_moments_clear(&s->moments);
    s->waiting = s->weighted = 0;
#if EDGEMSE_BUCKETS
    s->given_up = 0;
    edgemse_histogram_clear(&s->histogram);
#endif
}

/* Adds what waits to `into`, which may be another's copy. */
EDGEMSE_CALL void edgemse_fold(const edgemse_stats *s, edgemse_moments *into)
{
    const int most = s->weighted ? EDGEMSE_WAITING_WEIGHTED : EDGEMSE_WAITING;
    const double *weights = s->weighted ? s->room + 2 * most : NULL;
    if (s->waiting)
        edgemse_fold_samples(into, s->room, s->room + most, weights, s->waiting);
}

EDGEMSE_CALL void edgemse_flush(edgemse_stats *s)
{
    edgemse_fold(s, &s->moments);
    s->waiting = s->weighted = 0;
}

/* Whether doubles are what equal bytes need: rounded to nearest, subnormal numbers kept, no
   multiplication fused with an addition. 0: compiler flags or library are to be changed. */
EDGEMSE_FN int edgemse_sound(void)
{
    volatile double one = 1.0, half_ulp = 0x1p-53, least = 0x1p-1074, x = 1.0 + 0x1p-30;
    volatile double big = 0x1p33, small = 0x1.653420d4p0; /* see edgemse_sum */
    const double fused = x * x - (1.0 + 0x1p-29);
    return fused == 0.0 && one + half_ulp == 1.0 && one + 3.0 * half_ulp == 1.0 + 0x1p-51
           && least + least == 0x1p-1073 && least * 0x1p60 == 0x1p-1014
           && edgemse_less(big, small) == 0x1.fffffffe9acbep32;
}

/* Twice the exponent of a number's bits, and 1 more if it is above that power of two. */
EDGEMSE_CALL int edgemse_size(double x)
{
    const uint64_t bits = edgemse_bits(x);
    return (int)(bits >> 51 & 0xffe) | (bits << 12 != 0);
}

/* What would become of a sample. */
EDGEMSE_CALL enum edgemse_taken edgemse_judge(double y_true, double y_pred, double weight)
{
    const int infinite = 2 * 0x7ff, limit = EDGEMSE_SIZE(200), size = edgemse_size(weight);
    if (size >= infinite)
        return EDGEMSE_NONFINITE;
    if (size == 0)
        return EDGEMSE_WEIGHTLESS;
    if (edgemse_bits(weight) >> 63)
        return EDGEMSE_NEGATIVE_WEIGHT;
    if (size < EDGEMSE_SIZE(-100) || size > EDGEMSE_SIZE(100))
        return EDGEMSE_OUT_OF_RANGE;
    if (edgemse_size(y_true) >= infinite || edgemse_size(y_pred) >= infinite)
        return EDGEMSE_NONFINITE;
    if (edgemse_size(edgemse_less(y_pred, y_true)) <= limit && edgemse_size(y_true) <= limit)
        return EDGEMSE_TAKEN;
    return EDGEMSE_OUT_OF_RANGE;
}

/* Folds one sample in: its label, its prediction in the same unit, and 1.0 or a weight from 2^-100
   to 2^100. Says what became of it. */
EDGEMSE_FN enum edgemse_taken edgemse_update(edgemse_stats *s, double y_true, double y_pred,
                                             double weight)
{
    const enum edgemse_taken why = edgemse_judge(y_true, y_pred, weight);
    const double e = edgemse_less(y_pred, y_true);
    const edgemse_moments *m = &s->moments;
    int most;
    if ((m->count | m->nonfinite | m->out_of_range) >= EDGEMSE_COUNT_MAX)
        return EDGEMSE_FULL;
    s->moments.nonfinite += why == EDGEMSE_NONFINITE;
    s->moments.out_of_range += why == EDGEMSE_OUT_OF_RANGE;
    if (why != EDGEMSE_TAKEN)
        return why;
#if EDGEMSE_BUCKETS
    if (!s->given_up)
        s->given_up = !edgemse_histogram_count(&s->histogram, e);
#endif
    if (!s->weighted && edgemse_size(weight) != EDGEMSE_SIZE(0)) {
        edgemse_flush(s);
        s->weighted = 1;
    }
    most = s->weighted ? EDGEMSE_WAITING_WEIGHTED : EDGEMSE_WAITING;
    s->room[s->waiting] = y_true;
    s->room[most + s->waiting] = e;
    if (s->weighted)
        s->room[2 * most + s->waiting] = weight;
    if (++s->waiting == most)
        edgemse_flush(s);
    return EDGEMSE_TAKEN;
}

/* The moments with the samples that wait; no later bit is changed by it. */
EDGEMSE_FN void edgemse_view(const edgemse_stats *s, edgemse_moments *moments)
{
    *moments = s->moments;
    edgemse_fold(s, moments);
}

EDGEMSE_CALL void edgemse_put_state(edgemse_writer *w, const edgemse_stats *s,
                                    const edgemse_moments *m)
{
    enum { EDGEMSE_FIELDS };
    enum { R_NONFINITE = 1, R_OUT_OF_RANGE = 2, R_WEIGHTED = 4, R_FIRST = 3, R_BARE = 1 << 18 };
    const double n = (double)m->count, *f = m->f;
    uint32_t mask = (m->nonfinite ? R_NONFINITE : 0u) | (m->out_of_range ? R_OUT_OF_RANGE : 0u);
    int i;
    if (m->count) {
        for (i = R_MEAN; i < R_FIELDS; i++)
            if (f[i] != 0.0)
                mask |= UINT32_C(1) << (R_FIRST + i - R_MEAN);
        mask |= f[R_WEIGHT] != n || f[R_WEIGHT_LO] != 0.0 || f[R_WEIGHT2] != n ? R_WEIGHTED : 0u;
        mask |= edgemse_has_histogram(s) ? 0u : R_BARE;
    }
    edgemse_put_byte(w, 1);
    edgemse_put_varint(w, m->count);
    edgemse_put_varint(w, mask);
    if (m->nonfinite)
        edgemse_put_varint(w, m->nonfinite);
    if (m->out_of_range)
        edgemse_put_varint(w, m->out_of_range);
    for (i = 0; i < R_FIELDS; i++)
        if (i < R_MEAN ? mask & R_WEIGHTED : mask >> (R_FIRST + i - R_MEAN) & 1)
            edgemse_put_double(w, f[i] + 0.0); /* no -0.0 */
#if EDGEMSE_BUCKETS
    if (m->count && edgemse_has_histogram(s))
        edgemse_put_histogram(w, &s->histogram);
#endif
}

/* Writes the state's bytes, and returns how many they are: if more than `room`, not all of them
   were written. Without histogram 175 are always enough. */
EDGEMSE_FN size_t edgemse_state(const edgemse_stats *s, unsigned char *data, size_t room)
{
    edgemse_writer w;
    edgemse_moments m;
    edgemse_writer_open(&w, data, room);
    edgemse_view(s, &m);
    edgemse_put_state(&w, s, &m);
    return w.size;
}

#endif
