/* Up to 24 samples of weight 1, or 16 weighted ones, into moments (edgemse_moments.h has the rest:
   it includes this file). */
#ifndef EDGEMSE_FOLD_H
#define EDGEMSE_FOLD_H

/* ((a0 + a4) + (a2 + a6)) + ((a1 + a5) + (a3 + a7)), in `a` itself. */
EDGEMSE_CALL double edgemse_lanes_total(double *a)
{
    int i, half;
    for (half = EDGEMSE_LANES / 2; half; half /= 2)
        for (i = 0; i < half; i++)
            a[i] = edgemse_sum(a[i], a[i + half]);
    return a[0];
}

/* 1.5 * 2^k, 2^k > bound. Adding x, |x| <= 2^k / 2, rounds it to a multiple of 2^(k - 52), which
   then stands in the low bits as an integer. */
EDGEMSE_CALL double edgemse_preset(double bound)
{
    if (!(bound > 0x1p-900)) /* what two presets round to stays a normal number */
        bound = 0x1p-900;
    return edgemse_double(((edgemse_bits(bound) >> 52) + 1) << 52 | UINT64_C(1) << 51);
}

/* Adds to `sum` the integers in the low bits of n numbers that were added to `preset`; `total` is
   the sum of the numbers' bits. */
EDGEMSE_CALL void edgemse_unfix(double *sum, uint64_t total, int n, double preset)
{
    const uint64_t units = total - (uint64_t)n * edgemse_bits(preset);
    const double unit = preset * (0x1p-52 / 1.5), low = (double)(uint32_t)units;
    const uint32_t above = (uint32_t)(units >> 32);
    /* the sign by hand: C leaves the shift of a negative number to the compiler */
    const double high = (above >> 31 ? -(double)(0u - above) : (double)above) * 0x1p32;
    double all[2];
    edgemse_two_sum(all, &high, &low);
    all[0] *= unit;
    all[1] *= unit;
    edgemse_plus_dd(sum, sum, all);
}

/* The mean of the errors as a double-double. Each is added up as an integer of 52 bits, and what
   that leaves as another: at most 2^-103 of the largest is lost of each; nothing if `wholly`. */
EDGEMSE_CALL void edgemse_block_mean(double *mean, const double *errors, int n, double largest,
                                     int wholly)
{
    double dust[EDGEMSE_LANES] = {0}, presets[2], other[2];
    uint64_t totals[2] = {0, 0};
    int i, k;
    presets[0] = edgemse_preset(2.0 * largest);
    presets[1] = presets[0] * 0x1p-52;
    for (i = 0; i < n; i++) {
        double rest = errors[i];
        for (k = 0; k < 2; k++) {
            const double fixed = edgemse_sum(rest, presets[k]);
            totals[k] += edgemse_bits(fixed);
            rest = edgemse_less(rest, edgemse_less(fixed, presets[k]));
        }
        edgemse_plus(dust + i % EDGEMSE_LANES, dust + i % EDGEMSE_LANES, &rest);
    }
    mean[0] = mean[1] = other[1] = 0.0;
    for (k = 0; k < 2; k++)
        edgemse_unfix(mean, totals[k], n, presets[k]);
    other[0] = edgemse_lanes_total(dust);
    if (wholly)
        edgemse_plus_dd(mean, mean, other);
    other[0] = (double)n;
    edgemse_over_dd(mean, mean, other);
}

/* d = error - mean, g = label - pivot; what a block keeps of them, for the table in fold_plain */
#define EDGEMSE_BLOCK R_D2, R_D2_LO, R_D3, R_D4, R_G2, R_G2_LO, R_DG, R_DG_LO, R_PIVOT, R_SHIFT

/* Sums about the pivots, into the registers of the block. What the sum of squares loses is kept: it
   was preset so high that it never leaves its binade, so each addition splits its term exactly
   (Rump, Ogita, Oishi 2008). */
EDGEMSE_CALL void edgemse_block_powers(double *block, const double *f, const double *y,
                                       const double *errors, int n)
{
    enum { EDGEMSE_FIELDS };
    enum { EDGEMSE_BLOCK };
    enum { EDGEMSE_OPS };
    enum {
        R_SQUARE, R_CUBE, R_FOURTH, R_G_SQUARE, R_PRODUCT, R_G, R_LOST, R_BEFORE, R_D, R_E,
        R_LABEL, R_CENTRE, R_ZERO, R_TERMS
    };
    static const edgemse_step terms[] = {
        {OP_MINUS, R_D, R_E, R_CENTRE}, {OP_MINUS, R_G, R_LABEL, R_ZERO},
        {OP_TIMES, R_SQUARE, R_D, R_D}, {OP_TIMES, R_CUBE, R_SQUARE, R_D},
        {OP_TIMES, R_FOURTH, R_SQUARE, R_SQUARE}, {OP_TIMES, R_G_SQUARE, R_G, R_G},
        {OP_TIMES, R_PRODUCT, R_D, R_G}, {OP_PLUS, R_LOST, R_BEFORE, R_SQUARE},
        {OP_MINUS, R_LOST, R_LOST, R_BEFORE}, {OP_MINUS, R_LOST, R_SQUARE, R_LOST}};
    double lanes[7 * EDGEMSE_LANES] = {0}, r[R_TERMS], preset, reach;
    int i, k;
    r[R_CENTRE] = f[R_MEAN];
    r[R_ZERO] = block[R_PIVOT];
    reach = edgemse_less(f[R_HIGH], r[R_CENTRE]);
    preset = edgemse_less(r[R_CENTRE], f[R_LOW]);
    reach = reach > preset ? reach : preset;
    preset = edgemse_preset((double)(2 * n + 2) * (reach * reach));
    for (i = 0; i < EDGEMSE_LANES; i++)
        lanes[i] = preset;
    for (i = 0; i < n; i++) {
        double *lane = lanes + i % EDGEMSE_LANES;
        r[R_BEFORE] = *lane;
        r[R_E] = errors[i];
        r[R_LABEL] = y[i];
        EDGEMSE_RUN(r, terms);
        for (k = 0; k < 7; k++)
            edgemse_plus(lane + EDGEMSE_LANES * k, lane + EDGEMSE_LANES * k, r + k);
    }
    for (i = 0; i < EDGEMSE_LANES; i++)
        edgemse_minus(lanes + i, lanes + i, &preset);
    for (k = 0; k < 7; k++)
        r[k] = edgemse_lanes_total(lanes + EDGEMSE_LANES * k);
    edgemse_two_sum(block + R_D2, r + R_SQUARE, r + R_LOST);
    block[R_D3] = r[R_CUBE];
    block[R_D4] = r[R_FOURTH];
    block[R_G2] = r[R_G_SQUARE];
    block[R_DG] = r[R_PRODUCT];
    block[R_SHIFT] = r[R_G] / (double)n;
}

/* The plain sums of some samples of weight 1, their mean, and the powers about it. */
EDGEMSE_FN void edgemse_block_sums(double *f, double *block, const double *y,
                                   const double *errors, int n)
{
    enum { EDGEMSE_FIELDS };
    enum { EDGEMSE_BLOCK };
    double sum[EDGEMSE_LANES] = {0}, sum_y[EDGEMSE_LANES] = {0}, largest;
    int i;
    for (i = 0; i < n; i++) {
        const int lane = i % EDGEMSE_LANES;
        sum[lane] = edgemse_sum(sum[lane], edgemse_abs(errors[i]));
        sum_y[lane] = edgemse_sum(sum_y[lane], y[i]);
    }
    f[R_ABS_SUM] = edgemse_lanes_total(sum);
    block[R_PIVOT] = edgemse_lanes_total(sum_y) / (double)n;
    block[R_G2_LO] = block[R_DG_LO] = 0.0;
    largest = f[R_HIGH] > -f[R_LOW] ? f[R_HIGH] : -f[R_LOW];
    edgemse_block_mean(f + R_MEAN, errors, n, largest, 0);
    if (edgemse_abs(f[R_MEAN]) < largest * 0x1p-46) /* they cancelled: every bit counts */
        edgemse_block_mean(f + R_MEAN, errors, n, largest, 1);
    edgemse_block_powers(block, f, y, errors, n);
    if ((double)n * (block[R_SHIFT] * block[R_SHIFT]) > 0.125 * block[R_G2]) {
        /* too far from the mean */
        edgemse_plus(block + R_PIVOT, block + R_PIVOT, block + R_SHIFT);
        edgemse_block_powers(block, f, y, errors, n);
    }
}

/* The range of some errors. */
EDGEMSE_FN void edgemse_range(double *f, const double *errors, int n)
{
    enum { EDGEMSE_FIELDS };
    f[R_LOW] = f[R_HIGH] = *errors;
    while (n--) {
        f[R_LOW] = errors[n] < f[R_LOW] ? errors[n] : f[R_LOW];
        f[R_HIGH] = errors[n] > f[R_HIGH] ? errors[n] : f[R_HIGH];
    }
}

/* A sum of squares or fourth powers that rounding made negative is 0. */
EDGEMSE_CALL void edgemse_not_below_zero(double *f, int size)
{
    if (!(*f > 0.0))
        while (size--)
            *f++ = 0.0;
}

/* Samples of weight 1, given as labels and errors: the pivots' rounding is taken out exactly. */
EDGEMSE_FN void edgemse_fold_plain(edgemse_moments *m, const double *y, const double *errors,
                                   int n)
{
    enum { EDGEMSE_OPS };
    enum { EDGEMSE_FIELDS, R_BLOCK = R_FIELDS };
    enum { EDGEMSE_BLOCK, R_BLOCK_SIZE };
    enum { R_N = R_BLOCK + R_BLOCK_SIZE, R_T, R_T_LO, R_X, R_HH, EDGEMSE_CONSTANTS, R_REGISTERS };
    static const edgemse_step steps[] = {
        {OP_TWO_SUM, R_Y_MEAN, R_BLOCK + R_PIVOT, R_BLOCK + R_SHIFT},
        /* second moments := sums about the pivots - n times what those are off; h = mean_lo */
        {OP_TWO_PROD, R_T, R_MEAN_LO, R_MEAN_LO}, {OP_SCALE_DD, R_T, R_T, R_N},
        {OP_MINUS_DD, R_M2, R_BLOCK + R_D2, R_T},
        {OP_TWO_PROD, R_T, R_BLOCK + R_SHIFT, R_BLOCK + R_SHIFT}, {OP_SCALE_DD, R_T, R_T, R_N},
        {OP_MINUS_DD, R_Y_M2, R_BLOCK + R_G2, R_T},
        {OP_TWO_PROD, R_T, R_MEAN_LO, R_BLOCK + R_SHIFT}, {OP_SCALE_DD, R_T, R_T, R_N},
        {OP_MINUS_DD, R_Y_E, R_BLOCK + R_DG, R_T},
        /* m3 := d3 - 3 h d2 + 2 n h^3 */
        {OP_TIMES, R_HH, R_MEAN_LO, R_MEAN_LO}, {OP_TIMES, R_X, R_THREE, R_MEAN_LO},
        {OP_TIMES, R_X, R_X, R_BLOCK + R_D2}, {OP_MINUS, R_M3, R_BLOCK + R_D3, R_X},
        {OP_TIMES, R_X, R_TWO, R_N}, {OP_TIMES, R_T, R_HH, R_MEAN_LO}, {OP_TIMES, R_X, R_X, R_T},
        {OP_PLUS, R_M3, R_M3, R_X},
        /* m4 := d4 - 4 h d3 + 6 h^2 d2 - 3 n h^4 */
        {OP_TIMES, R_X, R_FOUR, R_MEAN_LO}, {OP_TIMES, R_X, R_X, R_BLOCK + R_D3},
        {OP_MINUS, R_M4, R_BLOCK + R_D4, R_X}, {OP_TIMES, R_X, R_SIX, R_HH},
        {OP_TIMES, R_X, R_X, R_BLOCK + R_D2}, {OP_PLUS, R_M4, R_M4, R_X},
        {OP_TIMES, R_X, R_THREE, R_N}, {OP_TIMES, R_T, R_HH, R_HH}, {OP_TIMES, R_X, R_X, R_T},
        {OP_MINUS, R_M4, R_M4, R_X}};
    double r[R_REGISTERS];
    edgemse_copy(r, m->f, R_FIELDS);
    edgemse_block_sums(r, r + R_BLOCK, y, errors, n);
    r[R_N] = r[R_WEIGHT] = r[R_WEIGHT2] = (double)n;
    edgemse_constants(r + R_TWO);
    EDGEMSE_RUN(r, steps);
    edgemse_copy(m->f, r, R_FIELDS);
}

/* r := the weighted mean, about the value of the largest weight: that of a constant is it. */
EDGEMSE_CALL void edgemse_weighted_mean(double *mean, const double *x, const double *w, int n,
                                        const double *weight, double origin)
{
    enum { EDGEMSE_OPS };
    enum {
        R_TOTAL, R_TOTAL_LO, R_T, R_T_LO, R_X, R_W, R_NEGATIVE, R_ORIGIN, R_ORIGIN_LO, R_REGISTERS
    };
    static const edgemse_step steps[] = {
        {OP_TWO_SUM, R_T, R_X, R_NEGATIVE}, {OP_SCALE_DD, R_T, R_T, R_W},
        {OP_PLUS_DD, R_TOTAL, R_TOTAL, R_T}};
    double r[R_REGISTERS];
    edgemse_zero(r, sizeof r);
    r[R_ORIGIN] = origin;
    r[R_NEGATIVE] = -origin;
    while (n--) {
        r[R_X] = *x++;
        r[R_W] = *w++;
        EDGEMSE_RUN(r, steps);
    }
    edgemse_over_dd(r, r, weight);
    edgemse_plus_dd(mean, r + R_ORIGIN, r);
}

EDGEMSE_FN void edgemse_fold_weighted(edgemse_moments *m, const double *y, const double *errors,
                                      const double *w, int n)
{
    enum { EDGEMSE_OPS };
    enum {
        EDGEMSE_FIELDS, R_T = R_FIELDS, R_T_LO, R_X, R_Y, R_D, R_G, R_WD, R_DD, R_E, R_LABEL,
        R_W, R_W_LO, R_ABS, R_H, R_H_LO, R_HY, R_HY_LO, EDGEMSE_CONSTANTS, R_REGISTERS
    };
    static const edgemse_step weights[] = {
        {OP_PLUS_DD, R_WEIGHT, R_WEIGHT, R_W}, {OP_TIMES, R_X, R_W, R_W},
        {OP_PLUS, R_WEIGHT2, R_WEIGHT2, R_X}};
    static const edgemse_step powers[] = {
        {OP_MINUS, R_D, R_E, R_MEAN}, {OP_MINUS, R_G, R_LABEL, R_Y_MEAN},
        {OP_TIMES, R_WD, R_W, R_D}, {OP_TWO_PROD, R_T, R_WD, R_D}, {OP_PLUS_DD, R_M2, R_M2, R_T},
        {OP_TIMES, R_X, R_W, R_G}, {OP_TWO_PROD, R_T, R_X, R_G}, {OP_PLUS_DD, R_Y_M2, R_Y_M2, R_T},
        {OP_TWO_PROD, R_T, R_WD, R_G}, {OP_PLUS_DD, R_Y_E, R_Y_E, R_T}, {OP_TIMES, R_DD, R_D, R_D},
        {OP_TIMES, R_X, R_WD, R_DD}, {OP_PLUS, R_M3, R_M3, R_X}, {OP_TIMES, R_X, R_WD, R_D},
        {OP_TIMES, R_X, R_X, R_DD}, {OP_PLUS, R_M4, R_M4, R_X}, {OP_TIMES, R_X, R_W, R_ABS},
        {OP_PLUS, R_ABS_SUM, R_ABS_SUM, R_X}};
    static const edgemse_step about_mean[] = {
        /* m4 += 6 h^2 m2 - 4 h m3 - 3 weight h^4; m3 += 2 weight h^3 - 3 h m2 */
        {OP_TIMES, R_DD, R_H, R_H}, {OP_TIMES, R_X, R_SIX, R_DD}, {OP_TIMES, R_X, R_X, R_M2},
        {OP_TIMES, R_Y, R_FOUR, R_H}, {OP_TIMES, R_Y, R_Y, R_M3}, {OP_MINUS, R_X, R_X, R_Y},
        {OP_TIMES, R_Y, R_THREE, R_WEIGHT}, {OP_TIMES, R_T, R_DD, R_DD}, {OP_TIMES, R_Y, R_Y, R_T},
        {OP_MINUS, R_X, R_X, R_Y}, {OP_PLUS, R_M4, R_M4, R_X}, {OP_TIMES, R_X, R_TWO, R_WEIGHT},
        {OP_TIMES, R_T, R_DD, R_H}, {OP_TIMES, R_X, R_X, R_T}, {OP_TIMES, R_Y, R_THREE, R_H},
        {OP_TIMES, R_Y, R_Y, R_M2}, {OP_MINUS, R_X, R_X, R_Y}, {OP_PLUS, R_M3, R_M3, R_X},
        /* second moments -= weight h h' */
        {OP_TIMES_DD, R_T, R_H, R_H}, {OP_TIMES_DD, R_T, R_T, R_WEIGHT},
        {OP_MINUS_DD, R_M2, R_M2, R_T}, {OP_TIMES_DD, R_T, R_HY, R_HY},
        {OP_TIMES_DD, R_T, R_T, R_WEIGHT}, {OP_MINUS_DD, R_Y_M2, R_Y_M2, R_T},
        {OP_TIMES_DD, R_T, R_H, R_HY}, {OP_TIMES_DD, R_T, R_T, R_WEIGHT},
        {OP_MINUS_DD, R_Y_E, R_Y_E, R_T}};
    double r[R_REGISTERS];
    int i, heaviest = 0;
    edgemse_zero(r, sizeof r);
    r[R_LOW] = m->f[R_LOW], r[R_HIGH] = m->f[R_HIGH];
    edgemse_constants(r + R_TWO);
    for (i = 0; i < n; i++) {
        r[R_W] = w[i];
        EDGEMSE_RUN(r, weights);
        heaviest = w[i] > w[heaviest] ? i : heaviest; /* an origin of no weight would cancel */
    }
    edgemse_weighted_mean(r + R_MEAN, errors, w, n, r + R_WEIGHT, errors[heaviest]);
    edgemse_weighted_mean(r + R_Y_MEAN, y, w, n, r + R_WEIGHT, y[heaviest]);
    for (i = 0; i < n; i++) {
        r[R_W] = w[i];
        r[R_LABEL] = y[i];
        r[R_E] = errors[i];
        r[R_ABS] = edgemse_abs(r[R_E]);
        EDGEMSE_RUN(r, powers);
    }
    r[R_H] = r[R_MEAN_LO];
    r[R_HY] = r[R_Y_MEAN_LO];
    EDGEMSE_RUN(r, about_mean);
    edgemse_copy(m->f, r, R_FIELDS);
}

/* Samples, given as labels and errors, `w` NULL where all have the weight 1. */
EDGEMSE_CALL void edgemse_fold_samples(edgemse_moments *into, const double *y,
                                       const double *errors, const double *w, int n)
{
    enum { EDGEMSE_FIELDS };
    edgemse_moments m;
    edgemse_zero(&m, sizeof m);
    m.count = (uint32_t)n;
    edgemse_range(m.f, errors, n);
    if (w)
        edgemse_fold_weighted(&m, y, errors, w, n);
    else
        edgemse_fold_plain(&m, y, errors, n);
    edgemse_not_below_zero(m.f + R_M2, 2);
    edgemse_not_below_zero(m.f + R_Y_M2, 2);
    edgemse_not_below_zero(m.f + R_M4, 1);
    edgemse_moments_merge(into, &m);
}

#endif
