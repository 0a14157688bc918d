"""Derived figures against their definitions, and at the edges."""

import doctest
import math
import random
import statistics

import pytest
from stats.samples import SEED

from edgemse import ErrorStats
from edgemse.stats import error_stats, histogram

# Student's t, two-sided 95 % and 99 %, as any table has them.
STUDENT = {19: (2.0930, 2.8609), 29: (2.0452, 2.7564), 119: (1.9801, 2.6178)}


@pytest.fixture(scope="module")
def labelled():
    rng = random.Random(SEED)
    y = [rng.gauss(20, 5) for _ in range(3000)]
    p = [0.8 * a + 3.0 + rng.expovariate(1.0) for a in y]
    s = ErrorStats()
    s.update_many(y, p)
    return y, p, [b - a for a, b in zip(y, p, strict=True)], s


def test_a_dictionary_has_every_figure_by_its_name(labelled):
    s = labelled[-1]
    figures = s.to_dict()
    properties = {n for n in dir(ErrorStats) if type(getattr(ErrorStats, n)).__name__ != "method"}
    properties = {n for n in properties if isinstance(getattr(s, n), int | float)}
    quantiles = {"abs_p50": 0.5, "abs_p95": 0.95, "abs_p99": 0.99}
    assert properties - {"has_histogram"} | quantiles.keys() == figures.keys()
    for name, value in figures.items():
        assert value == (s.abs_quantile(quantiles[name]) if name in quantiles else getattr(s, name))
    counts = {"count", "weight", "effective_count", "nonfinite", "out_of_range"}
    for name, value in ErrorStats().to_dict().items():
        assert value == 0 if name in counts else math.isnan(value)


def test_against_the_definitions(labelled):
    y, p, e, s = labelled
    sd, mean = statistics.pstdev(e), statistics.fmean(e)
    mse = statistics.fmean(x * x for x in e)
    want = {
        "count": 3000,
        "weight": 3000.0,
        "effective_count": 3000.0,
        "bias": mean,
        "mse": mse,
        "rmse": math.sqrt(mse),
        "error_variance": sd**2,
        "skewness": statistics.fmean(((x - mean) / sd) ** 3 for x in e),
        "kurtosis": statistics.fmean(((x - mean) / sd) ** 4 for x in e),
        "mae": statistics.fmean(map(abs, e)),
        "min_error": min(e),
        "max_error": max(e),
        "r2": 1.0 - mse / statistics.pvariance(y),
        "nrmse": math.sqrt(mse) / statistics.pstdev(y),
        "correlation": statistics.correlation(y, p),
        "calibration_slope": statistics.linear_regression(p, y).slope,
        "mse_standard_error": statistics.stdev(x * x for x in e) / math.sqrt(len(e)),
    }
    got = {name: getattr(s, name) for name in want}
    assert got == pytest.approx(want, rel=1e-11)


def test_one_sample():
    s = ErrorStats()
    s.update(3.0, 5.0)
    assert (s.mse, s.rmse, s.bias, s.error_variance, s.mae) == (4.0, 2.0, 2.0, 0.0, 2.0)
    assert (s.quantile(0.5), s.abs_quantile(0.3), s.min_error, s.max_error) == (2, 2, 2, 2)
    for name in [
        "skewness",
        "kurtosis",
        "r2",
        "nrmse",
        "correlation",
        "calibration_slope",
        "mse_standard_error",
    ]:
        assert math.isnan(getattr(s, name)), name


def test_a_perfect_model():
    s = ErrorStats()
    s.update_many(range(30), range(30))
    assert (s.mse, s.rmse, s.mae, s.r2, s.nrmse) == (0.0, 0.0, 0.0, 1.0, 0.0)
    assert (s.correlation, s.calibration_slope, s.mse_standard_error) == (1.0, 1.0, 0.0)
    assert s.mse_interval() == (0.0, 0.0)
    assert (s.share_above(0.0), s.abs_quantile(0.9)) == (0.0, 0.0)


def test_constant_predictions_have_no_slope():
    s = ErrorStats()
    s.update_many([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    assert math.isnan(s.correlation)
    assert math.isnan(s.calibration_slope)
    assert s.r2 == 0.0


@pytest.mark.parametrize("scale", [2.0**-200, 1.0, 2.0**190])
def test_figures_are_scale_free(labelled, scale):
    y, p, _, plain = labelled
    s = ErrorStats()
    s.update_many([a * scale for a in y], [a * scale for a in p])
    for name in ("skewness", "kurtosis", "r2", "nrmse", "correlation", "calibration_slope"):
        assert getattr(s, name) == pytest.approx(getattr(plain, name), rel=1e-12)
    assert s.mse / scale / scale == pytest.approx(plain.mse, rel=1e-12)
    low, high = s.rmse_interval()
    assert (low / scale, high / scale) == pytest.approx(plain.rmse_interval(), rel=1e-12)


def test_too_few_samples_have_no_interval():
    s = ErrorStats()
    s.update_many([0.0] * 19, range(19))
    assert all(map(math.isnan, s.mse_interval()))
    s.update(0.0, 1.0)
    low, high = s.mse_interval()
    assert low < s.mse < high
    assert s.rmse_interval() == pytest.approx((math.sqrt(low), math.sqrt(high)), rel=1e-15)
    assert s.mse_interval(0.5)[1] < high < s.mse_interval(0.999)[1]
    for bad in (0.0, 1.0, -1.0, 95.0, math.nan):
        with pytest.raises(ValueError, match="confidence"):
            s.mse_interval(bad)


def test_few_effective_samples_have_no_interval():
    s = ErrorStats()
    for i in range(100):
        s.update(0.0, math.sin(i), weight=1e6 if i == 0 else 1.0)
    assert math.isnan(s.mse_interval()[0])


@pytest.mark.parametrize("df", STUDENT)
def test_student_quantiles_stand_behind_the_interval(df):
    """Errors of +-1 and a few of +-2 have so light a square tail that df is capped at n - 1."""
    n = df + 1
    errors = [1.0] * (n // 2) + [1.4] * (n - n // 2)
    s = ErrorStats()
    s.update_many([0.0] * n, errors)
    for confidence, t in zip((0.95, 0.99), STUDENT[df], strict=True):
        low, high = s.mse_interval(confidence)
        reach = t * s.mse_standard_error / s.mse
        assert (math.log(s.mse / low), math.log(high / s.mse)) == pytest.approx(
            (reach, reach), rel=5e-5
        )


@pytest.mark.parametrize(
    ("draw", "low", "high"),
    [
        (lambda rng: rng.gauss(0, 1), 0.93, 0.97),
        (lambda rng: rng.expovariate(1.0) * rng.choice((-1, 1)), 0.92, 0.97),
        (lambda rng: rng.uniform(-1, 1), 0.93, 0.97),
        (lambda rng: rng.gauss(1, 1), 0.93, 0.97),
    ],
    ids=["normal", "Laplace", "uniform", "biased"],
)
def test_the_interval_covers(draw, low, high):
    """A small seeded simulation; benchmarks/coverage_interval.py has the large one."""
    rng = random.Random(SEED)
    true = statistics.fmean(draw(rng) ** 2 for _ in range(200_000))
    hits = 0
    for _ in range(1000):
        s = ErrorStats()
        s.update_many([0.0] * 200, [draw(rng) for _ in range(200)])
        a, b = s.mse_interval()
        hits += a <= true <= b
    assert low <= hits / 1000 <= high


@pytest.mark.parametrize("module", [error_stats, histogram], ids=lambda m: m.__name__)
def test_examples_in_docstrings(module):
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name in module.__all__:
        thing = getattr(module, name)
        assert thing.__module__ == module.__name__
        assert thing.__doc__
        found += finder.find(thing, name, module=False, globs=vars(module).copy())
    runner = doctest.DocTestRunner()
    for test in found:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
    assert runner.tries >= 3
