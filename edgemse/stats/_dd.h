/* Double-double arithmetic. A number is an unevaluated sum of two doubles, |lo| <= ulp(hi) / 2.

   The algorithms and their relative error bounds (u = 2^-53) are those of Joldes, Muller and
   Popescu, "Tight and rigorous error bounds for basic building blocks of double-word arithmetic"
   (2017). They hold while nothing under- or overflows; build with -ffp-contract=off, never with
   -ffast-math. */
#ifndef EDGEMSE_DD_H
#define EDGEMSE_DD_H

#define EDGEMSE_INLINE static inline __attribute__((always_inline))

typedef struct {
    double hi, lo;
} edgemse_dd;

/* Knuth's TwoSum: hi + lo == a + b exactly; symmetric in a and b. */
EDGEMSE_INLINE edgemse_dd edgemse_two_sum(double a, double b)
{
    double s = a + b, t = s - a;
    edgemse_dd r = {s, (a - (s - t)) + (b - t)};
    return r;
}

/* Dekker's FastTwoSum, for |a| >= |b| or a == 0. */
EDGEMSE_INLINE edgemse_dd edgemse_fast_two_sum(double a, double b)
{
    double s = a + b;
    edgemse_dd r = {s, b - (s - a)};
    return r;
}

/* Dekker's TwoProduct; Veltkamp's constant 2^27 + 1. Never fma(): not every board has one. */
EDGEMSE_INLINE edgemse_dd edgemse_two_prod(double a, double b)
{
    const double split = 134217729.0;
    double p = a * b, ta = split * a, tb = split * b;
    double ah = ta - (ta - a), al = a - ah, bh = tb - (tb - b), bl = b - bh;
    edgemse_dd r = {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
    return r;
}

/* Algorithm 6 (AccurateDWPlusDW), below 3 u^2 + 13 u^3; symmetric. */
EDGEMSE_INLINE edgemse_dd edgemse_dd_add(edgemse_dd a, edgemse_dd b)
{
    edgemse_dd s = edgemse_two_sum(a.hi, b.hi), t = edgemse_two_sum(a.lo, b.lo);
    edgemse_dd v = edgemse_fast_two_sum(s.hi, s.lo + t.hi);
    return edgemse_fast_two_sum(v.hi, t.lo + v.lo);
}

/* Algorithm 7 (DWTimesFP1 with one FastTwoSum less), below 3 u^2. */
EDGEMSE_INLINE edgemse_dd edgemse_dd_times_double(edgemse_dd a, double b)
{
    edgemse_dd c = edgemse_two_prod(a.hi, b);
    return edgemse_fast_two_sum(c.hi, c.lo + a.lo * b);
}

/* Algorithm 10 (DWTimesDW1), below 5 u^2; symmetric. */
EDGEMSE_INLINE edgemse_dd edgemse_dd_times(edgemse_dd a, edgemse_dd b)
{
    edgemse_dd c = edgemse_two_prod(a.hi, b.hi);
    return edgemse_fast_two_sum(c.hi, c.lo + (a.hi * b.lo + b.hi * a.lo));
}

/* Algorithm 17 (DWDivDW2), below 15 u^2; exact when the quotient is a double. */
EDGEMSE_INLINE edgemse_dd edgemse_dd_divide(edgemse_dd a, edgemse_dd b)
{
    double q = a.hi / b.hi;
    edgemse_dd r = edgemse_dd_times_double(b, q);
    return edgemse_fast_two_sum(q, ((a.hi - r.hi) + (a.lo - r.lo)) / b.hi);
}

#endif
