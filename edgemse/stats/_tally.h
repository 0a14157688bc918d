/* Counting a long batch: first where every error of a block belongs, then the counts.

   A tally covers all of (top - 512, top] of both signs, and has slots for what lies below, so that
   counting needs no questions; it goes into the histogram when the batch ends, or when a larger
   error than all before raises top. */
#ifndef EDGEMSE_TALLY_H
#define EDGEMSE_TALLY_H

#include "_buckets.h"

#define EDGEMSE_SLOTS (EDGEMSE_SPAN + 1) /* slot 0: at or below the cut */
#define EDGEMSE_LOWEST_TOP (EDGEMSE_SPAN - 8 * 1022) /* above: no subnormal has a slot but 0 */

typedef struct {
    uint32_t counts[2 * EDGEMSE_SLOTS]; /* positive errors, negative errors */
    int top;                            /* EDGEMSE_NO_TOP: there is nothing yet */
    uint32_t samples;
} edgemse_tally;

static inline void edgemse_tally_clear(edgemse_tally *t)
{
    memset(t, 0, sizeof *t);
    t->top = EDGEMSE_NO_TOP;
}

/* The slots of n errors. `cut` is a key: a bucket plus 8 * 1023. */
static inline void edgemse_tally_slots(const double *errors, Py_ssize_t n, int cut, uint32_t *slots)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        uint64_t raw, bits;
        int64_t slot;
        memcpy(&raw, errors + i, sizeof raw);
        bits = (raw & INT64_MAX) - 1;
        slot = ((int64_t)(bits + edgemse_bucket_addend[(bits >> 48) & 15]) >> 49) - cut;
        slot = slot > 0 ? slot : 0; /* 0.0 too: its key is -1 */
        slots[i] = (uint32_t)slot + (uint32_t)(raw >> 63) * EDGEMSE_SLOTS;
    }
}

#ifdef EDGEMSE_CHOICE
__attribute__((target("avx512f"))) static void
edgemse_tally_slots_8(const double *errors, Py_ssize_t n, int cut, uint32_t *slots)
{
    const __m512i low = _mm512_loadu_si512(edgemse_bucket_addend);
    const __m512i high = _mm512_loadu_si512(edgemse_bucket_addend + 8);
    const __m512i one = _mm512_set1_epi64(1), magnitude = _mm512_set1_epi64(INT64_MAX);
    const __m512i negative = _mm512_set1_epi64(EDGEMSE_SLOTS), zero = _mm512_setzero_si512();
    const __m512i below = _mm512_set1_epi64(cut);
    Py_ssize_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m512i raw = _mm512_loadu_si512(errors + i);
        __m512i bits = _mm512_sub_epi64(_mm512_and_epi64(raw, magnitude), one), slot;
        slot = _mm512_permutex2var_epi64(low, _mm512_srli_epi64(bits, 48), high);
        slot = _mm512_srai_epi64(_mm512_add_epi64(bits, slot), 49);
        slot = _mm512_max_epi64(_mm512_sub_epi64(slot, below), zero);
        raw = _mm512_and_epi64(_mm512_srai_epi64(raw, 63), negative);
        slot = _mm512_add_epi64(slot, raw);
        _mm256_storeu_si256((__m256i *)(slots + i), _mm512_cvtepi64_epi32(slot));
    }
    edgemse_tally_slots(errors + i, n - i, cut, slots + i);
}
#endif

/* The tally, empty again, has gone into the histogram. Returns 0, or -1 without memory. */
static int edgemse_tally_flush(edgemse_tally *t, edgemse_buckets *b)
{
    edgemse_buckets view;
    int failed;
    if (t->samples == 0)
        return 0;
    edgemse_buckets_clear(&view);
    view.top = t->top;
    view.total = t->samples;
    view.zero = (uint64_t)t->counts[0] + t->counts[EDGEMSE_SLOTS];
    for (int side = 0; side < 2; side++) {
        uint32_t *counts = t->counts + side * EDGEMSE_SLOTS;
        int first = 1, end = EDGEMSE_SLOTS;
        while (end > 1 && counts[end - 1] == 0)
            end--;
        while (first < end && counts[first] == 0)
            first++;
        view.sides[side].counts = counts + first;
        view.sides[side].low = t->top - EDGEMSE_SPAN + first;
        view.sides[side].size = end - first;
    }
    failed = edgemse_buckets_merge(b, &view);
    edgemse_tally_clear(t);
    return failed;
}

/* Counts one block of errors, the largest magnitude of which is `largest`. */
static inline int edgemse_tally_block(edgemse_tally *t, edgemse_buckets *b, const double *errors,
                                      Py_ssize_t n, double largest)
{
    uint32_t slots[EDGEMSE_BLOCK];
    int top = largest > 0.0 ? edgemse_bucket_index(largest) : EDGEMSE_NO_TOP, cut;
    if (top > t->top || t->samples > UINT32_MAX / 2) {
        if (edgemse_tally_flush(t, b))
            return -1;
        t->top = top;
    }
    if (t->top < EDGEMSE_LOWEST_TOP)
        return edgemse_buckets_count_all(b, errors, n);
    cut = t->top - EDGEMSE_SPAN + 8 * 1023;
#ifdef EDGEMSE_CHOICE
    if (__builtin_cpu_supports("avx512f"))
        edgemse_tally_slots_8(errors, n, cut, slots);
    else
#endif
        edgemse_tally_slots(errors, n, cut, slots);
    for (Py_ssize_t i = 0; i < n; i++)
        t->counts[slots[i]]++;
    t->samples += (uint32_t)n;
    return 0;
}

#endif
