"""The losses: against exact and 60-digit arithmetic, at their edges, and against scikit-learn."""

from __future__ import annotations

import doctest
import math
import random
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from stats.samples import SEED

from edgemse import LossStats
from edgemse.stats import columns, figures, loss_stats, losses, outputs
from edgemse.stats.error_stats import t_quantile

UNIT = Fraction(1, 2**53)
BOUND = {"huber": 4, "mape": 2, "pinball": 3, "brier": 3, "rmsle": 11, "log_loss": 2, "smape": 3}
"""Units of 2^-53 by which one loss may miss: its roundings, and 2 for a logarithm (one ulp)."""
PARAMETERS = {
    "huber": {"delta": 1.25},
    "mape": {"floor": 0.5},
    "pinball": {"quantile": 0.9},
    "log_loss": {"clip": 2.0**-40},
    "brier": {},
    "rmsle": {},
    "smape": {},
}

NUMBER = st.one_of(st.just(0.0), st.floats(1e-60, 1e25), st.floats(-1e25, -1e-60))
COUNT = st.one_of(
    st.just(0.0), st.floats(1e-60, 1e25), st.floats(-1, 0, exclude_min=True, width=32)
)
PROBABILITY = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 1e-13]), st.floats(1e-60, 1.0))
EVENT = st.sampled_from([0.0, 1.0])
SAMPLE = {
    **dict.fromkeys(("huber", "mape", "pinball", "smape"), st.tuples(NUMBER, NUMBER)),
    **dict.fromkeys(("brier", "log_loss"), st.tuples(EVENT, PROBABILITY)),
    "rmsle": st.tuples(COUNT, COUNT),
}
EACH = pytest.mark.parametrize("name", sorted(PARAMETERS))


def logarithm(x: Fraction) -> Fraction:
    """Right to 60 digits, by the standard library's decimal."""
    with localcontext() as context:
        context.prec = 400  # so that even 1 + 1e-200 is exact
        quotient = Decimal(x.numerator) / Decimal(x.denominator)
        context.prec = 150
        return Fraction(quotient.ln())


def exact(name: str, y_true: float, y_pred: float) -> Fraction:
    y, p = Fraction(y_true), Fraction(y_pred)
    e = p - y
    if name == "huber":
        delta = Fraction(PARAMETERS[name]["delta"])
        return e * e / 2 if abs(e) <= delta else delta * (abs(e) - delta / 2)
    if name == "mape":
        return abs(e) / max(abs(y), Fraction(PARAMETERS[name]["floor"]))
    if name == "smape":
        return 2 * abs(e) / (abs(y) + abs(p)) if e else Fraction(0)
    if name == "pinball":
        quantile = Fraction(PARAMETERS[name]["quantile"])
        return max(-quantile * e, (1 - quantile) * e)
    if name == "brier":
        return e * e
    if name == "rmsle":
        return (logarithm(1 + p) - logarithm(1 + y)) ** 2 if e else Fraction(0)
    return -logarithm(max(p if y else 1 - p, Fraction(PARAMETERS[name]["clip"])))


def one(name: str, y_true: float, y_pred: float) -> LossStats:
    s = LossStats(name, **PARAMETERS[name])
    s.update(y_true, y_pred)
    return s


@EACH
@given(data=st.data())
def test_a_loss_misses_by_no_more_than_its_roundings(name, data):
    y, p = data.draw(SAMPLE[name])
    want = exact(name, y, p)
    got = one(name, y, p)
    assert got.count == 1
    assert abs(Fraction(got.mean) - want) <= BOUND[name] * UNIT * want * (1 + UNIT * 8)


@EACH
@given(data=st.data())
def test_a_mean_misses_by_no_more_than_a_loss_and_the_core(name, data):
    samples = data.draw(st.lists(SAMPLE[name], min_size=1, max_size=60))
    s = LossStats(name, **PARAMETERS[name])
    s.update_many(*zip(*samples, strict=True))
    want = sum(exact(name, *sample) for sample in samples) / len(samples)
    assert abs(Fraction(s.mean) - want) <= (BOUND[name] + 3) * UNIT * want


@pytest.mark.parametrize(
    ("name", "y_true", "y_pred", "refused"),
    [
        ("rmsle", -1.0, 0.0, "out_of_domain"),
        ("rmsle", 0.0, -1.5, "out_of_domain"),
        ("log_loss", 0.5, 0.5, "out_of_domain"),
        ("log_loss", 1.0, math.nextafter(1.0, 2.0), "out_of_domain"),
        ("log_loss", 1.0, -0.25, "out_of_domain"),
        ("brier", 2.0, 0.5, "out_of_domain"),
        ("brier", 0.0, -0.25, "out_of_domain"),
        ("huber", 1e300, 0.0, "out_of_domain"),
        ("huber", 1e308, -1e308, "out_of_domain"),
        ("mape", math.nan, 0.0, "nonfinite"),
        ("pinball", 0.0, math.inf, "nonfinite"),
        ("rmsle", -math.inf, 0.0, "nonfinite"),
        ("brier", math.nan, 7.0, "nonfinite"),
    ],
)
def test_what_lies_outside_is_counted_and_left_out(name, y_true, y_pred, refused):
    s = one(name, y_true, y_pred)
    assert (s.count, s.nonfinite + s.out_of_domain, getattr(s, refused)) == (0, 1, 1)
    assert math.isnan(s.mean)


def test_a_loss_above_the_limit_is_out_of_domain():
    s = LossStats("huber", delta=2.0**150)
    s.update(0.0, 2.0**120)
    assert (s.count, s.out_of_domain) == (0, 1)
    tiny = LossStats("mape", floor=5e-324)
    tiny.update(0.0, 1.0)
    assert (tiny.count, tiny.out_of_domain) == (0, 1)


def test_the_rule_near_zero_the_clip_and_the_sure():
    assert one("mape", 0.0, 0.25).mean == 0.5
    assert one("mape", -4.0, -3.0).mean == 0.25
    assert one("log_loss", 1.0, 0.0).mean == one("log_loss", 0.0, 1.0).mean == 40 * math.log(2)
    for y in (0.0, 1.0):
        assert math.copysign(1.0, one("log_loss", y, y).mean) == 1.0
        assert one("log_loss", y, y).mean == one("brier", y, y).mean == 0.0


def drawn(name: str, n: int = 4000) -> tuple[list[float], list[float]]:
    rng = random.Random(SEED)
    if name in ("brier", "log_loss"):
        chances = [rng.choice([0.0, 1.0, rng.random()]) for _ in range(n)]
        return [float(rng.random() < 0.4) for _ in range(n)], chances
    labels = [rng.choice([0.0, rng.expovariate(0.1)]) for _ in range(n)]
    return labels, [abs(y + rng.gauss(0, 2)) for y in labels]


PEERS = {
    "mape": ({"floor": 2.0**-52}, metrics.mean_absolute_percentage_error, {}),
    "rmsle": ({}, metrics.root_mean_squared_log_error, {}),
    "pinball": ({"quantile": 0.9}, metrics.mean_pinball_loss, {"alpha": 0.9}),
    "log_loss": ({}, metrics.log_loss, {}),
    "brier": ({}, metrics.brier_score_loss, {}),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", sorted(PEERS))
def test_scikit_learn_agrees(name, weighted):
    parameters, peer, options = PEERS[name]
    y, p = drawn(name)
    weight = [1.0 + i % 3 for i in range(len(y))] if weighted else None
    s = LossStats(name, **parameters)
    s.update_many(y, p, weight)
    assert s.value == pytest.approx(peer(y, p, sample_weight=weight, **options), rel=1e-13)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mse", {}),
        ("huber", {}),
        ("huber", {"delta": 0.0}),
        ("huber", {"delta": math.inf}),
        ("huber", {"quantile": 0.5}),
        ("huber", {"delta": 1.0, "floor": 1.0}),
        ("mape", {"floor": math.nan}),
        ("mape", {"floor": -1.0}),
        ("pinball", {}),
        ("pinball", {"quantile": 1.0}),
        ("log_loss", {"clip": 0.5}),
        ("rmsle", {"floor": 1.0}),
    ],
)
def test_unknown_losses_and_parameters_are_refused(name, parameters):
    with pytest.raises(ValueError, match=r"there is no loss|takes|lies between"):
        LossStats(name, **parameters)


@pytest.mark.parametrize("module", [losses, loss_stats, columns, outputs, figures])
def test_the_examples_run(module):
    ran = doctest.testmod(module)
    assert ran.attempted
    assert ran.failed == 0


@pytest.mark.parametrize("freedom", [2.0, 2.5, 4.0, 7.3, 30.0, 1000.0, 1e6])
@pytest.mark.parametrize("two_tails", [0.5, 0.1, 0.05, 0.01, 1e-4])
def test_students_quantiles(freedom, two_tails):
    from scipy import stats

    want = stats.t.isf(two_tails / 2, freedom)
    assert t_quantile(two_tails, freedom) == pytest.approx(want, rel=1e-3)
