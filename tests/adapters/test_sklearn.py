"""scikit-learn's signatures beside scikit-learn's own functions."""

from __future__ import annotations

import doctest
import subprocess
import sys
from fractions import Fraction

import numpy
import pytest
from sklearn import metrics

from edgemse import LossStats
from edgemse.adapters import sklearn as adapter
from edgemse.errors import UnsupportedError

NAMES = ["mean_squared_error", "root_mean_squared_error", "mean_absolute_error"]
NAMES += ["mean_absolute_percentage_error", "mean_pinball_loss"]
SCORES = ["r2_score", "explained_variance_score"]
LOGS = ["mean_squared_log_error", "root_mean_squared_log_error"]
RNG = numpy.random.default_rng(20261120)
ONE = RNG.normal(5, 2, 500), RNG.normal(5, 2, 500)
MANY = RNG.normal(5, 2, (500, 3)), RNG.normal(5, 2, (500, 3))
WEIGHT = RNG.integers(0, 4, 500) / 2.0
EVERY = pytest.mark.parametrize("name", [*NAMES, *SCORES, *LOGS])
EACH = pytest.mark.parametrize("name", NAMES)


@EVERY
@pytest.mark.parametrize("weight", [None, WEIGHT, WEIGHT.tolist()], ids=["no", "array", "list"])
@pytest.mark.parametrize(
    ("data", "multioutput"),
    [
        (ONE, "uniform_average"),
        (ONE, "raw_values"),
        ((ONE[0].reshape(-1, 1), ONE[1]), "uniform_average"),
        (tuple(x.tolist() for x in ONE), "uniform_average"),
        (MANY, "uniform_average"),
        (MANY, "raw_values"),
        (MANY, [0.2, 0.3, 0.5]),
        (MANY, numpy.array([3, 0, 1])),
        (tuple(x.tolist() for x in MANY), "raw_values"),
        (tuple(x.astype("f4") for x in MANY), "uniform_average"),
    ],
)
def test_the_figures_are_the_peers(name, data, multioutput, weight):
    if name in LOGS:
        data = tuple(numpy.abs(numpy.array(x)) for x in data)
    mine = getattr(adapter, name)(*data, sample_weight=weight, multioutput=multioutput)
    theirs = getattr(metrics, name)(*data, sample_weight=weight, multioutput=multioutput)
    single = getattr(data[0], "dtype", None) != "f4"
    assert mine == pytest.approx(theirs, rel=1e-11 if single else 1e-5)


@EVERY
@pytest.mark.parametrize(
    ("args", "options"),
    [
        (([1.0, 2.0], [1.0]), {}),
        (([], []), {}),
        (([1.0, numpy.nan], [1.0, 2.0]), {}),
        (([1.0, 2.0], [1.0, numpy.inf]), {}),
        ((MANY[0], ONE[1]), {}),
        ((numpy.zeros((2, 2, 2)), numpy.zeros((2, 2, 2))), {}),
        (ONE, {"multioutput": "mean"}),
        (ONE, {"sample_weight": [1.0]}),
        (([1.0, 2.0], [1.0, 2.0]), {"sample_weight": [1.0, numpy.nan]}),
    ],
)
def test_errors_are_the_peers(name, args, options):
    for module in (metrics, adapter):
        with pytest.raises(ValueError):  # noqa: PT011
            getattr(module, name)(*args, **options)


def test_weights_of_outputs_must_fit():
    for args, weights in ((ONE, [1.0]), (MANY, [1.0, 1.0])):
        for function in (metrics.mean_squared_error, *map(adapter.__dict__.get, NAMES)):
            with pytest.raises(ValueError, match="weights"):
                function(*args, multioutput=weights)


@EACH
def test_limits_that_differ_from_the_peer(name):
    mine, peer = getattr(adapter, name), getattr(metrics, name)
    assert type(mine(*MANY, multioutput="raw_values")) is list
    assert peer([1.0, 2.0], [2.0, 2.0], sample_weight=[2, -1]) > 0.0
    for options in (
        {"sample_weight": [2, -1]},
        {"sample_weight": [0, 0]},
        {"multioutput": [1.0, -1.0]},
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            mine([[1.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [3.0, 3.0]], **options)
    with pytest.raises(ValueError, match=r"beyond 2\^200"):
        mine([1e100], [0.0])


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("finite", [True, False])
@pytest.mark.parametrize("outputs", ["uniform_average", "raw_values", "variance_weighted", [1, 2]])
def test_scores_where_labels_do_not_vary(name, finite, outputs):
    labels = numpy.column_stack([ONE[0], numpy.full(500, 3.0)])
    for second in (labels[:, 1], labels[:, 1] + 1.0, ONE[1]):
        data = labels, numpy.column_stack([ONE[1], second])
        options = {"multioutput": outputs, "force_finite": finite}
        with numpy.errstate(all="ignore"):
            theirs = getattr(metrics, name)(*data, **options)
        mine = getattr(adapter, name)(*data, **options)
        assert mine == pytest.approx(theirs, rel=1e-12, nan_ok=True)
        assert numpy.ndim(mine) == numpy.ndim(theirs)


@pytest.mark.filterwarnings("ignore:.*not well-defined with less than two samples")
def test_scores_of_one_sample():
    for name in (*SCORES, "d2_tweedie_score"):
        mine, theirs = getattr(adapter, name)([1.0], [2.0]), getattr(metrics, name)([1.0], [2.0])
        assert mine == pytest.approx(theirs, nan_ok=True)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["no", "array"])
def test_d2_against_the_mean_and_the_largest_error(weight):
    mine = adapter.d2_tweedie_score(*ONE, sample_weight=weight)
    assert mine == pytest.approx(metrics.d2_tweedie_score(*ONE, sample_weight=weight), rel=1e-12)
    assert mine == adapter.r2_score(*ONE, sample_weight=weight)
    with pytest.raises(ZeroDivisionError):
        metrics.d2_tweedie_score([2.0, 2.0], [2.0, 3.0])
    assert adapter.d2_tweedie_score([2.0, 2.0], [2.0, 3.0]) == -numpy.inf
    assert adapter.max_error(*ONE) == metrics.max_error(*ONE)
    assert adapter.max_error([1.0], [3.0]) == adapter.max_error([3.0], [1.0]) == 2.0
    with pytest.raises(UnsupportedError, match="power 0"):
        adapter.d2_tweedie_score(*ONE, power=1)
    for name in ("d2_tweedie_score", "max_error"):
        for module in (metrics, adapter):
            with pytest.raises(ValueError):  # noqa: PT011
                getattr(module, name)(*MANY)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.9])
def test_pinball_takes_a_quantile(alpha):
    mine = adapter.mean_pinball_loss(*MANY, alpha=alpha)
    assert mine == pytest.approx(metrics.mean_pinball_loss(*MANY, alpha=alpha), rel=1e-12)


def test_a_percentage_of_zero_is_the_peers_and_no_other():
    labels, predictions = [0.0, 10.0], [0.5, 9.0]
    mine = adapter.mean_absolute_percentage_error(labels, predictions)
    theirs = metrics.mean_absolute_percentage_error(labels, predictions)
    assert mine == pytest.approx(theirs, rel=1e-15)
    assert mine > 1e15
    ours = LossStats("mape", floor=2.0**-52)
    ours.update_many(labels, predictions)
    assert ours.mean == mine


def test_logarithms_have_a_domain():
    for module in (metrics, adapter):
        with pytest.raises(ValueError):  # noqa: PT011
            module.mean_squared_log_error([1.0, -1.0], [1.0, 1.0])


def test_it_is_as_exact_as_the_core():
    y, p = RNG.normal(1e15, 1, 2000), RNG.normal(1e15, 1, 2000)
    errors = [Fraction(float(b - a)) for a, b in zip(y, p, strict=True)]
    want = sum(e * e for e in errors) / len(errors)
    assert abs(Fraction(adapter.mean_squared_error(y, p)) - want) <= want * 7 / 2**53


def test_it_loads_no_library():
    code = (
        "import sys; from edgemse.adapters.sklearn import mean_squared_error as mse;"
        "import edgemse.adapters.torchmetrics, edgemse.adapters.keras;"
        "assert mse([1, 2], [1, 4]) == 2.0;"
        "sys.exit(str({'numpy', 'sklearn', 'torch', 'river'} & sys.modules.keys() or '') or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_examples_run():
    assert doctest.testmod(adapter).failed == 0
