"""Student's t in plain Python, for an interval that is asked for now and then."""

import math

__all__ = ["normal_quantile", "t_quantile"]


def normal_quantile(tail: float) -> float:
    """Return z with P(Z > z) = `tail`, 0 < tail <= 1/2, to a few units in the last place.

    Source: Abramowitz and Stegun 26.2.23 for the start, then Newton's steps.

    Examples:
        >>> round(normal_quantile(0.025), 12)
        1.95996398454
    """
    t = math.sqrt(-2.0 * math.log(tail))
    z = t - ((0.010328 * t + 0.802853) * t + 2.515517) / (
        ((0.001308 * t + 0.189269) * t + 1.432788) * t + 1.0
    )
    for _ in range(3):
        density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        z += (0.5 * math.erfc(z / math.sqrt(2.0)) - tail) / density
    return z


def t_quantile(two_tails: float, freedom: float) -> float:
    """Return t with P(|T| > t) = `two_tails`, for any degrees of freedom >= 2, to 1e-3 or better.

    Source: G. W. Hill, Student's t-quantiles, CACM algorithm 396 (1970); the core uses the same.

    Examples:
        >>> round(t_quantile(0.05, 2), 6), round(t_quantile(0.05, 30), 4)
        (4.302653, 2.0423)
    """
    n = freedom
    if n == 2.0:
        return math.sqrt(2.0 / (two_tails * (2.0 - two_tails)) - 2.0)
    a = 1.0 / (n - 0.5)
    b = 48.0 / (a * a)
    c = ((20700.0 * a / b - 98.0) * a - 16.0) * a + 96.36
    d = ((94.5 / (b + c) - 3.0) / b + 1.0) * math.sqrt(a * math.pi / 2.0) * n
    y = float((d * two_tails) ** (2.0 / n))
    if y > 0.05 + a:  # near the normal law
        x = -normal_quantile(0.5 * two_tails)
        y = x * x
        if n < 5.0:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b
        y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x
        return math.sqrt(n * math.expm1(a * y * y))
    tail = 1.0 / (((n + 6.0) / (n * y) - 0.089 * d - 0.822) * (n + 2.0) * 3.0) + 0.5 / (n + 4.0)
    return math.sqrt(n * ((tail * y - 1.0) * (n + 1.0) / (n + 2.0) + 1.0 / y))
