# cython: language_level=3, cdivision=True
"""Whether the numbers of a state can be those of samples (docs/numerics.md, "What is accepted").

Each check holds for all samples there can be, and for a merge whenever it holds for its parts:
sums of moments of distributions on an interval are moments of one. The slack is made to merge as
well. It is a part of what the samples' range and weight allow, so that the slacks of parts fit into
that of the whole, and it grows with the count, by more for each sample than a merge rounds away:
each part of a merge brings at least one.
"""
from edgemse.stats._buckets cimport LIMIT, MAX_COUNT
from edgemse.stats._moments cimport State, dd_good, fabs, good_number

cdef extern from "math.h" nogil:
    double fmax(double a, double b) noexcept


cdef struct Slack:
    double share   # of weight times range^k, which is all that the k-th moment can be
    double reach   # what a mean may be off by, as a part of the largest value


cdef inline Slack slack_of(const State *s, double times) noexcept nogil:
    """`times` is 1 for bytes, 2 for numbers that a table's plain sums may have merged."""
    cdef Slack slack
    cdef double n = <double> s.count
    # A block's plain sums are off by 1,024 u (docs/numerics.md), a merge's by 32 u at most.
    slack.share = times * (2.0 ** -40 + n * 2.0 ** -47)
    slack.reach = times * (2.0 ** -49 + n * 2.0 ** -49)
    return slack


cdef inline bint good_weights(const State *s, double share) noexcept nogil:
    """Each weight is from 2^-100 to 2^100, W^2 <= n W2 (Cauchy-Schwarz), and W2 <= W^2."""
    cdef double n = <double> s.count
    cdef double w = s.weight.hi
    cdef double slack = 1.0 + share
    if not dd_good(s.weight, n * 2.0 ** 100 * slack) or not w * slack >= n * 2.0 ** -100:
        return False
    if not good_number(s.weight2, n * 2.0 ** 200 * slack):
        return False
    return w * w <= n * s.weight2 * slack and s.weight2 <= w * w * slack


cdef inline bint good_numbers(const State *s, double reach) noexcept nogil:
    """Finite, no negative zero, and never so large that products overflow."""
    if not (good_number(s.low, LIMIT) and good_number(s.high, LIMIT) and s.low <= s.high):
        return False
    return (dd_good(s.mean, LIMIT * (1.0 + reach)) and dd_good(s.y_mean, LIMIT * (1.0 + reach))
            and dd_good(s.m2, 2.0 ** 600) and s.m2.hi >= 0.0
            and dd_good(s.y_m2, 2.0 ** 600) and s.y_m2.hi >= 0.0 and dd_good(s.y_e, 2.0 ** 600)
            and good_number(s.m3, 2.0 ** 800) and good_number(s.m4, 2.0 ** 1000)
            and good_number(s.abs_sum, 2.0 ** 400) and s.abs_sum >= 0.0)


cdef inline bint good_powers(const State *s, double share, double reach) noexcept nogil:
    """Mean, m2, m3 and m4 are those of a distribution on [min - reach, max + reach].

    With y = (e - mean) / range there is one if and only if neither q(y)^2 for any q of degree 2 nor
    (above - y)(y + below) q(y)^2 for any of degree 1 has an integral below 0 (Hausdorff's moment
    problem, cut at 4). That of the first is m4 >= m2^2 / W + m3^2 / m2; the second begins with
    m2 <= W (max - mean)(mean - min) (Bhatia and Davis 2000). The slacks are put on the diagonals;
    docs/numerics.md says why in these proportions.
    """
    cdef double range_ = (s.high - s.low) + 2.0 * reach
    cdef double unit = 1.0 / range_
    cdef double below = ((s.mean.hi - s.low) + reach) * unit
    cdef double above = ((s.high - s.mean.hi) + reach) * unit
    cdef double tilt = above - below
    cdef double area = above * below
    cdef double scale = unit / s.weight.hi
    cdef double m2 = s.m2.hi * scale * unit
    cdef double m3 = s.m3 * scale * unit * unit
    cdef double m4 = s.m4 * scale * unit * unit * unit
    cdef double inside0 = area - m2 + 8.0 * share
    cdef double inside1 = tilt * m2 - m3
    cdef double inside2 = area * m2 + tilt * m3 - m4 + 8.0 * share * (area + 1.0)
    cdef double rest = m4 - m2 * m2 + 4.0 * share * (area + 1.0)
    return (below >= 0.0 and above >= 0.0
            and inside0 >= 0.0 and inside2 >= 0.0 and inside1 * inside1 <= inside0 * inside2
            and rest >= 0.0 and m3 * m3 <= (m2 + share) * rest)


cdef inline bint good_sizes(const State *s, double largest, double share,
                            double reach) noexcept nogil:
    """|mean| <= mean |e| <= rmse, and mean |e| <= max |e|."""
    cdef double scale = 1.0 / s.weight.hi
    cdef double size = s.abs_sum * scale
    cdef double mean = s.mean.hi
    cdef double slack = 1.0 + share
    return (fabs(mean) <= size * slack + reach and size <= largest * slack + reach
            and size * size <= (s.m2.hi * scale + mean * mean) * slack + reach * reach)


cdef inline bint good_labels(const State *s, Slack slack, double reach) noexcept nogil:
    """Labels of at most 2^200, and y_e^2 <= m2 y_m2 (Cauchy-Schwarz).

    What a shift by a mean that is off adds to a second moment counts as slack: reach^2 of the
    largest error, or of the labels' root mean square, whose square merges by adding.
    """
    cdef double scale = 1.0 / s.weight.hi
    cdef double mean = s.y_mean.hi
    cdef double limit = LIMIT * (1.0 + slack.reach)
    cdef double spread = s.y_m2.hi * scale
    cdef double both = s.y_e.hi * scale
    cdef double off = slack.reach * slack.reach * (spread + mean * mean + 2.0 ** -300)
    if not spread <= (limit - mean) * (limit + mean) + slack.share * LIMIT * LIMIT:
        return False
    return both * both <= ((s.m2.hi * scale * (1.0 + slack.share) + reach * reach)
                           * (spread * (1.0 + slack.share) + off))


cdef inline bint good_state(const State *s, double times) noexcept nogil:
    """Of a state with samples.

    Below 2^-150 sums of fourth powers begin to underflow: values are not told from 0 down there.
    """
    cdef Slack slack = slack_of(s, times)
    cdef double largest = fmax(s.high, -s.low)
    cdef double reach = slack.reach * fmax(largest, 2.0 ** -150)
    if s.count == 0 or s.count > MAX_COUNT:
        return False
    return (good_weights(s, slack.share) and good_numbers(s, slack.reach)
            and good_powers(s, slack.share, reach) and good_sizes(s, largest, slack.share, reach)
            and good_labels(s, slack, reach))
