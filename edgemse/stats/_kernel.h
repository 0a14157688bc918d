/* The kernel of _block.h in vectors of EDGEMSE_WIDTH doubles; included once for each width.

   The eight lanes go by in sweeps of EDGEMSE_WIDTH. What is left of a block after its last whole
   row follows one by one, in the same lanes. */
#define EDGEMSE_PASTE(name, width) edgemse_##name##_##width
#define EDGEMSE_PASTED(name, width) EDGEMSE_PASTE(name, width)
#define NAME(name) EDGEMSE_PASTED(name, EDGEMSE_WIDTH)
#define V NAME(vector)
#define LOOSE NAME(loose)
#define WORDS NAME(words)
#define POWERS NAME(powers)
#define LOAD(from) ((V) * (const LOOSE *)(from))
#define ALL(x) ((x) - (V){0})

#if EDGEMSE_WIDTH == 1
typedef double V;
typedef double LOOSE __attribute__((may_alias));
typedef uint64_t WORDS;
#else
typedef double V __attribute__((vector_size(8 * EDGEMSE_WIDTH)));
typedef double LOOSE __attribute__((vector_size(8 * EDGEMSE_WIDTH), aligned(8), may_alias));
typedef uint64_t WORDS __attribute__((vector_size(8 * EDGEMSE_WIDTH)));
#endif

EDGEMSE_INLINE WORDS NAME(bits)(V a)
{
    WORDS bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}

EDGEMSE_INLINE V NAME(absolute)(V a)
{
    WORDS bits = NAME(bits)(a) & (UINT64_MAX >> 1);
    memcpy(&a, &bits, sizeof a);
    return a;
}

/* Of equal numbers either is right: -0.0 and 0.0 are made one later. */
#if !defined(EDGEMSE_CHOICE) && EDGEMSE_WIDTH > 1
#define PICK(where, a, b) ((V)(((WORDS)(where) & (WORDS)(a)) | (~(WORDS)(where) & (WORDS)(b))))
#define SMALLER(a, b) PICK((a) < (b), a, b)
#define LARGER(a, b) PICK((a) > (b), a, b)
#elif EDGEMSE_WIDTH == 8
#define SMALLER(a, b) _mm512_min_pd(a, b)
#define LARGER(a, b) _mm512_max_pd(a, b)
#elif EDGEMSE_WIDTH == 4
#define SMALLER(a, b) _mm256_min_pd(a, b)
#define LARGER(a, b) _mm256_max_pd(a, b)
#elif EDGEMSE_WIDTH == 2
#define SMALLER(a, b) _mm_min_pd(a, b)
#define LARGER(a, b) _mm_max_pd(a, b)
#else
#define SMALLER(a, b) ((a) < (b) ? (a) : (b))
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#endif

/* Errors, unless they are given (pred NULL), their range and absolute sum; about the mean of y. */
EDGEMSE_INLINE void NAME(first_pass)(const double *y, const double *pred, double *errors,
                                     ptrdiff_t n, edgemse_block *out)
{
    double low[EDGEMSE_LANES], high[EDGEMSE_LANES], sum[EDGEMSE_LANES], sum_y[EDGEMSE_LANES];
    const ptrdiff_t whole = n - n % EDGEMSE_LANES;
    const double first = pred ? pred[0] - y[0] : errors[0];
    for (int lane = 0; lane < EDGEMSE_LANES; lane += EDGEMSE_WIDTH) {
        V least = ALL(first), most = least, absolute = {0}, labels = {0};
        for (ptrdiff_t i = lane; i < whole; i += EDGEMSE_LANES) {
            V label = LOAD(y + i), e = pred ? LOAD(pred + i) - label : LOAD(errors + i);
            if (pred)
                *(LOOSE *)(errors + i) = e;
            least = SMALLER(e, least);
            most = LARGER(e, most);
            absolute += NAME(absolute)(e);
            labels += label;
        }
        *(LOOSE *)(low + lane) = least;
        *(LOOSE *)(high + lane) = most;
        *(LOOSE *)(sum + lane) = absolute;
        *(LOOSE *)(sum_y + lane) = labels;
    }
    for (ptrdiff_t i = whole; i < n; i++) {
        double e = errors[i] = pred ? pred[i] - y[i] : errors[i];
        low[i - whole] = e < low[i - whole] ? e : low[i - whole];
        high[i - whole] = e > high[i - whole] ? e : high[i - whole];
        sum[i - whole] += fabs(e);
        sum_y[i - whole] += y[i];
    }
    out->low = out->high = first;
    for (int i = 0; i < EDGEMSE_LANES; i++) {
        out->low = low[i] < out->low ? low[i] : out->low;
        out->high = high[i] > out->high ? high[i] : out->high;
    }
    out->abs_sum = edgemse_lanes_total(sum);
    out->pivot_y = edgemse_lanes_total(sum_y) / (double)n;
}

/* The sum of the errors: each as an integer of 52 bits, and what that leaves as another. At most
   2^-103 of the largest is lost of each; nothing if `wholly`. */
EDGEMSE_INLINE edgemse_dd NAME(sum)(const double *errors, ptrdiff_t n, double largest, int wholly,
                                    const double *next)
{
    const ptrdiff_t whole = n - n % EDGEMSE_LANES;
    const double coarse = edgemse_block_preset(2.0 * largest), fine = coarse * 0x1p-52;
    const V high = ALL(coarse), low = ALL(fine);
    uint64_t total = 0, total_rest = 0, lanes[2][EDGEMSE_WIDTH];
    double dust[EDGEMSE_LANES] = {0};
    edgemse_dd sum;
    for (int lane = 0; lane < EDGEMSE_LANES; lane += EDGEMSE_WIDTH) {
        WORDS sums = {0}, rests = {0};
        V least = {0};
        for (ptrdiff_t i = lane; i < whole; i += EDGEMSE_LANES) {
            V e = LOAD(errors + i), fixed = e + high, rest = e - (fixed - high);
            V fixed_rest = rest + low;
            if (lane == 0)
                __builtin_prefetch(next + i);
            sums += NAME(bits)(fixed);
            rests += NAME(bits)(fixed_rest);
            if (wholly)
                least += rest - (fixed_rest - low);
        }
        memcpy(lanes[0], &sums, sizeof sums);
        memcpy(lanes[1], &rests, sizeof rests);
        for (int i = 0; i < EDGEMSE_WIDTH; i++) {
            total += lanes[0][i];
            total_rest += lanes[1][i];
        }
        *(LOOSE *)(dust + lane) = least;
    }
    for (ptrdiff_t i = whole; i < n; i++) {
        double fixed = errors[i] + coarse, rest = errors[i] - (fixed - coarse);
        double fixed_rest = rest + fine;
        uint64_t bits[2];
        memcpy(&bits[0], &fixed, sizeof fixed);
        memcpy(&bits[1], &fixed_rest, sizeof fixed);
        total += bits[0];
        total_rest += bits[1];
        dust[i - whole] += rest - (fixed_rest - fine);
    }
    sum = edgemse_dd_add(edgemse_block_unfix(total, n, coarse),
                         edgemse_block_unfix(total_rest, n, fine));
    if (wholly) {
        edgemse_dd last = {edgemse_lanes_total(dust), 0.0};
        sum = edgemse_dd_add(sum, last);
    }
    return sum;
}

/* What a row, or several added up, contribute to the sums of powers. */
typedef struct {
    V d2, d3, d4, g, g2, dg;
} POWERS;

EDGEMSE_INLINE POWERS NAME(row)(const double *y, const double *errors, V pivot_e, V pivot_y)
{
    V d = LOAD(errors) - pivot_e, g = LOAD(y) - pivot_y, square = d * d;
    POWERS p = {square, square * d, square * square, g, g * g, d * g};
    return p;
}

EDGEMSE_INLINE void NAME(gain)(POWERS *a, POWERS b)
{
    a->d2 += b.d2;
    a->d3 += b.d3;
    a->d4 += b.d4;
    a->g += b.g;
    a->g2 += b.g2;
    a->dg += b.dg;
}

/* Two rows, four, eight, as a tree: k roundings for 2^k rows. */
EDGEMSE_INLINE POWERS NAME(two)(const double *y, const double *errors, V pivot_e, V pivot_y)
{
    POWERS p = NAME(row)(y, errors, pivot_e, pivot_y);
    NAME(gain)(&p, NAME(row)(y + EDGEMSE_LANES, errors + EDGEMSE_LANES, pivot_e, pivot_y));
    return p;
}

EDGEMSE_INLINE POWERS NAME(four)(const double *y, const double *errors, V pivot_e, V pivot_y)
{
    const int half = 2 * EDGEMSE_LANES;
    POWERS p = NAME(two)(y, errors, pivot_e, pivot_y);
    NAME(gain)(&p, NAME(two)(y + half, errors + half, pivot_e, pivot_y));
    return p;
}

EDGEMSE_INLINE POWERS NAME(eight)(const double *y, const double *errors, V pivot_e, V pivot_y)
{
    const int half = 4 * EDGEMSE_LANES;
    POWERS p = NAME(four)(y, errors, pivot_e, pivot_y);
    NAME(gain)(&p, NAME(four)(y + half, errors + half, pivot_e, pivot_y));
    return p;
}

/* s += p; what d2 loses by that is added up in `rest`. s->d2 was preset so high that it never
   leaves its binade: each addition splits its term exactly (Rump, Ogita, Oishi 2008). */
EDGEMSE_INLINE void NAME(take)(POWERS *s, V *rest, POWERS p)
{
    V before = s->d2;
    NAME(gain)(s, p);
    *rest += p.d2 - (s->d2 - before);
}

/* Sums about the pivots. What `next` points to is not read, but had near. */
EDGEMSE_INLINE void NAME(second_pass)(const double *y, const double *errors, ptrdiff_t n,
                                      const double *next, edgemse_block *out)
{
    const ptrdiff_t whole = n - n % EDGEMSE_LANES, group = 8 * EDGEMSE_LANES;
    const double pe = out->e.hi, py = out->pivot_y, reach = fmax(out->high - pe, pe - out->low);
    const double preset = edgemse_block_preset(2.0 * (double)(n + 1) * (reach * reach));
    const V pivot_e = ALL(pe), pivot_y = ALL(py), zero = {0};
    double lanes[7][EDGEMSE_LANES];
    for (int lane = 0; lane < EDGEMSE_LANES; lane += EDGEMSE_WIDTH) {
        POWERS s = {ALL(preset), zero, zero, zero, zero, zero};
        V rest = zero;
        ptrdiff_t i = lane;
        for (; i + group <= whole + lane; i += group) {
            for (int row = 0; row < 8 && lane == 0; row++) /* memory works while arithmetic does */
                __builtin_prefetch(next + i + row * EDGEMSE_LANES);
            NAME(take)(&s, &rest, NAME(eight)(y + i, errors + i, pivot_e, pivot_y));
        }
        for (; i < whole; i += EDGEMSE_LANES)
            NAME(take)(&s, &rest, NAME(row)(y + i, errors + i, pivot_e, pivot_y));
        *(LOOSE *)(lanes[0] + lane) = s.d2;
        *(LOOSE *)(lanes[1] + lane) = s.d3;
        *(LOOSE *)(lanes[2] + lane) = s.d4;
        *(LOOSE *)(lanes[3] + lane) = s.g2;
        *(LOOSE *)(lanes[4] + lane) = s.dg;
        *(LOOSE *)(lanes[5] + lane) = s.g;
        *(LOOSE *)(lanes[6] + lane) = rest;
    }
    for (ptrdiff_t i = whole; i < n; i++) {
        const ptrdiff_t lane = i - whole;
        double d = errors[i] - pe, g = y[i] - py, square = d * d, before = lanes[0][lane];
        lanes[0][lane] += square;
        lanes[1][lane] += square * d;
        lanes[2][lane] += square * square;
        lanes[3][lane] += g * g;
        lanes[4][lane] += d * g;
        lanes[5][lane] += g;
        lanes[6][lane] += square - (lanes[0][lane] - before);
    }
    for (int i = 0; i < EDGEMSE_LANES; i++)
        lanes[0][i] -= preset;
    out->d2 = edgemse_two_sum(edgemse_lanes_total(lanes[0]), edgemse_lanes_total(lanes[6]));
    out->d3 = edgemse_lanes_total(lanes[1]);
    out->d4 = edgemse_lanes_total(lanes[2]);
    out->g2 = edgemse_lanes_total(lanes[3]);
    out->dg = edgemse_lanes_total(lanes[4]);
    out->shift_y = edgemse_lanes_total(lanes[5]) / (double)n;
}

static int NAME(block_sums)(const double *y, const double *pred, double *errors, ptrdiff_t n,
                      edgemse_block *out)
{
    const double *next = (pred ? pred : y) + EDGEMSE_BLOCK, within = EDGEMSE_LIMIT / 2.5;
    const edgemse_dd count = {(double)n, 0.0};
    double largest;
    NAME(first_pass)(y, pred, errors, n, out);
    largest = fmax(out->high, -out->low);
    if (!(out->abs_sum <= DBL_MAX && largest <= EDGEMSE_LIMIT))
        return 0;
    out->e = edgemse_dd_divide(NAME(sum)(errors, n, largest, 0, next), count);
    if (fabs(out->e.hi) < largest * 0x1p-46) /* they cancelled: every bit counts */
        out->e = edgemse_dd_divide(NAME(sum)(errors, n, largest, 1, next), count);
    NAME(second_pass)(y, errors, n, y + EDGEMSE_BLOCK, out);
    if ((double)n * (out->shift_y * out->shift_y) > 0.125 * out->g2) { /* too far from the mean */
        out->pivot_y += out->shift_y;
        NAME(second_pass)(y, errors, n, y, out);
    }
    /* No |g| exceeds the root of g2. */
    return fabs(out->pivot_y) <= within && out->g2 <= within * within;
}

#undef EDGEMSE_PASTE
#undef EDGEMSE_PASTED
#undef NAME
#undef V
#undef LOOSE
#undef WORDS
#undef POWERS
#undef LOAD
#undef ALL
#undef PICK
#undef SMALLER
#undef LARGER
