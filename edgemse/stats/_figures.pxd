# cython: language_level=3, cdivision=True
"""What is read off a state. Every figure of an empty state is NaN."""
from libc.math cimport isfinite

from edgemse.stats._buckets cimport (
    Buckets, buckets_abs_quantile, buckets_quantile, buckets_samples_above,
    buckets_square_kurtosis,
)
from edgemse.stats._moments cimport (
    State, dd, dd_add, dd_divide, dd_scaled, dd_times, dd_value,
)

cdef extern from "math.h" nogil:
    double sqrt(double x) noexcept
    double exp(double x) noexcept
    double expm1(double x) noexcept
    double pow(double x, double y) noexcept
    double log(double x) noexcept
    double erfc(double x) noexcept
    double fmin(double a, double b) noexcept
    double fmax(double a, double b) noexcept
    double NAN
    double M_PI

cdef enum:
    ENOUGH = 20  # samples below which no interval is given (docs/numerics.md)


cdef inline dd mean_square_of(State s) noexcept nogil:
    """mean^2 + m2 / W: nothing cancels. Only for s.count > 0."""
    return dd_add(dd_times(s.mean, s.mean), dd_divide(s.m2, s.weight))


cdef inline double mse_of(State s) noexcept nogil:
    return dd_value(mean_square_of(s)) if s.count else NAN


cdef inline double variance_of(State s) noexcept nogil:
    return dd_value(dd_divide(s.m2, s.weight)) if s.count else NAN


cdef inline double finite(double ratio) noexcept nogil:
    """NaN for a ratio to a spread that is too small to divide by."""
    return ratio if isfinite(ratio) else NAN


cdef inline double skewness_of(State s) noexcept nogil:
    cdef double sd = sqrt(variance_of(s))
    return finite(s.m3 / s.weight.hi / sd / sd / sd) if sd > 0.0 else NAN


cdef inline double kurtosis_of(State s) noexcept nogil:
    cdef double variance = variance_of(s)
    return finite(s.m4 / s.weight.hi / variance / variance) if variance > 0.0 else NAN


cdef inline double r2_of(State s) noexcept nogil:
    if s.y_m2.hi <= 0.0:
        return NAN
    return finite(1.0 - dd_value(dd_divide(dd_times(mean_square_of(s), s.weight), s.y_m2)))


cdef inline double nrmse_of(State s) noexcept nogil:
    if s.y_m2.hi <= 0.0:
        return NAN
    return finite(sqrt(mse_of(s)) / sqrt(dd_value(dd_divide(s.y_m2, s.weight))))


cdef inline dd prediction_m2_of(State s) noexcept nogil:
    """sum w (y_pred - its mean)^2, as y_pred = y_true + e."""
    return dd_add(dd_add(s.y_m2, dd_scaled(s.y_e, 2.0)), s.m2)


cdef inline double correlation_of(State s) noexcept nogil:
    cdef double spread = dd_value(prediction_m2_of(s))
    cdef double r
    if s.y_m2.hi <= 0.0 or spread <= 0.0:
        return NAN
    r = dd_value(dd_add(s.y_m2, s.y_e)) / sqrt(s.y_m2.hi) / sqrt(spread)
    return fmin(fmax(r, -1.0), 1.0)


cdef inline double slope_of(State s) noexcept nogil:
    cdef dd spread = prediction_m2_of(s)
    if spread.hi <= 0.0:
        return NAN
    return finite(dd_value(dd_divide(dd_add(s.y_m2, s.y_e), spread)))


cdef inline double effective_of(State s) noexcept nogil:
    return s.weight.hi / s.weight2 * s.weight.hi if s.count else 0.0


cdef inline double square_variance_of(State s) noexcept nogil:
    """Var(e^2) = mu4 - mu2^2 + 4 mean mu3 + 4 mean^2 mu2, exactly; rounding may not go below 0."""
    cdef double w = s.weight.hi
    cdef double b = s.mean.hi
    cdef double mu2 = s.m2.hi / w
    cdef double flat = s.m4 / w - mu2 * mu2
    return fmax(flat + 4.0 * b * (s.m3 / w) + 4.0 * b * b * mu2, 0.0)


cdef inline double standard_error_of(State s) noexcept nogil:
    """Of the MSE, for independent samples. NaN below an effective count of 2."""
    cdef double n = effective_of(s)
    if s.count < 2 or n <= 1.0:
        return NAN
    return sqrt(square_variance_of(s) / (n - 1.0))


cdef inline double normal_quantile(double tail) noexcept nogil:
    """z with P(Z > z) = tail, 0 < tail <= 1/2: Abramowitz and Stegun 26.2.23, then Newton."""
    cdef double t = sqrt(-2.0 * log(tail))
    cdef double z = t - ((0.010328 * t + 0.802853) * t + 2.515517) / (
        ((0.001308 * t + 0.189269) * t + 1.432788) * t + 1.0)
    cdef int i
    for i in range(3):
        z += (0.5 * erfc(z / sqrt(2.0)) - tail) * sqrt(2.0 * M_PI) * exp(0.5 * z * z)
    return z


cdef inline double student_of(double two_tails, double n) noexcept nogil:
    """t with P(|T_n| > t) = two_tails, n >= 2 real: G. W. Hill, CACM algorithm 396 (1970)."""
    cdef double a, b, c, d, x, y
    if n == 2.0:
        return sqrt(2.0 / (two_tails * (2.0 - two_tails)) - 2.0)
    a = 1.0 / (n - 0.5)
    b = 48.0 / (a * a)
    c = ((20700.0 * a / b - 98.0) * a - 16.0) * a + 96.36
    d = ((94.5 / (b + c) - 3.0) / b + 1.0) * sqrt(a * M_PI / 2.0) * n
    x = d * two_tails
    y = pow(x, 2.0 / n)
    if y > 0.05 + a:
        x = -normal_quantile(0.5 * two_tails)
        y = x * x
        if n < 5.0:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b
        y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x
        y = expm1(a * y * y)
    else:
        y = ((1.0 / (((n + 6.0) / (n * y) - 0.089 * d - 0.822) * (n + 2.0) * 3.0)
              + 0.5 / (n + 4.0)) * y - 1.0) * (n + 1.0) / (n + 2.0) + 1.0 / y
    return sqrt(n * y)


cdef inline void interval_of(State s, const Buckets *b, double confidence, double *low,
                          double *high) noexcept nogil:
    """mse exp(-+ t cv), Student's t with Satterthwaite's degrees of freedom. NaN: too few."""
    cdef double mse, n, cv, df, reach
    n = effective_of(s)
    low[0] = high[0] = NAN
    if s.count < ENOUGH or n < ENOUGH:
        return
    low[0] = high[0] = mse = mse_of(s)
    if mse == 0.0:
        return
    cv = standard_error_of(s) / mse
    if cv == 0.0:
        return
    if b.total == 0:  # no histogram, so no kurtosis of e^2
        low[0] = high[0] = NAN
        return
    df = 2.0 * n / (buckets_square_kurtosis(b, sqrt(mse)) - 1.0 + 2.0 / (n - 1.0))
    df = fmin(fmax(df, 2.0), n - 1.0)
    reach = student_of(1.0 - confidence, df) * cv
    low[0] = mse * exp(-reach)
    high[0] = mse * exp(reach)


cdef inline double quantile_of(State s, const Buckets *b, double q) noexcept nogil:
    """NaN where nothing is counted: an empty state, or one without histogram. So the next two."""
    if b.total == 0:
        return NAN
    if q == 0.0 or q == 1.0:
        return s.low if q == 0.0 else s.high
    return fmin(fmax(buckets_quantile(b, q), s.low), s.high)


cdef inline double abs_quantile_of(State s, const Buckets *b, double q) noexcept nogil:
    cdef double largest = fmax(s.high, -s.low)
    if b.total == 0:
        return NAN
    if q == 1.0:
        return largest
    return fmin(fmax(buckets_abs_quantile(b, q), fmax(s.low, -s.high)), largest)


cdef inline double share_above_of(State s, const Buckets *b, double t) noexcept nogil:
    if b.total == 0:
        return NAN
    if t >= fmax(s.high, -s.low):
        return 0.0
    return buckets_samples_above(b, t) / <double> s.count
