"""scikit-learn's signatures beside scikit-learn's own functions."""

from __future__ import annotations

import doctest
import math
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import numpy
import pandas
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


def objects(*items):
    return numpy.array(items, dtype=object)


PAIR = [1.0, 2.0], [2.0, 4.0]
TABLES = [[1.0, 2.0], [1.0, 2.0]], [[2.0, 4.0], [2.0, 5.0]]
TAKEN = {
    "objects": (objects(1, 2.5), objects(2, 4)),
    "a table of objects": (pandas.DataFrame({"a": [1, 2]}, dtype=object), [[2], [4]]),
    "a column of objects": (pandas.Series([1, 2], dtype=object), [2, 4]),
    "decimals and fractions": ([Decimal("1.5"), Fraction(1, 2)], [2, 4]),
    "half precision": (numpy.array([1, 2], "f2"), numpy.array([2, 3], "f2")),
    "extended precision": (numpy.array([1, 2], "g"), [2, 4]),
    "the other byte order": (numpy.array([1, 2], ">f8"), numpy.array([2, 4], ">i4")),
    "one column and a column": ([1.0, 2.0], [[2.0], [4.0]]),
    "narrow integers": (numpy.array([1, 2], "i1"), numpy.array([2, 4], "u1")),
    "a masked array without its mask": (numpy.ma.array([1.0, 2.0], mask=[0, 1]), [2.0, 4.0]),
}
WEIGHTS = {
    "tiny": [1e-40, 1e-40],
    "subnormal": [5e-324, 1e-320],
    "huge": [1e200, 3e200],
    "far apart": [1.0, 1e-40],
    "one of zero": [1e-40, 0.0],
    "objects": objects(1, 2),
    "bools": [True, False],
}
REFUSED = {
    "words": (["a", "b"], ["a", "b"]),
    "objects that are words": (objects("a", "b"), objects("a", "b")),
    "None": ([1, None], [2, 4]),
    "None among objects": (objects(1, None), [2, 4]),
    "a null": (pandas.Series([1, None], dtype="Int64"), [2, 4]),
    "complex numbers": ([1 + 0j, 2], [2, 4]),
    "numbers": (1.0, 2.0),
    "no dimension": (numpy.array(1.0), numpy.array(2.0)),
    "a text": ("12", "12"),
    "nothing": (None, None),
    "sets": ({1, 2}, {1, 2}),
    "ragged rows": ([[1, 2], [3]], [[1, 2], [3, 4]]),
    "no rows": (numpy.zeros((0, 2)), numpy.zeros((0, 2))),
    "a number of too many digits": ([10**400], [0]),
}
REFUSED_OPTIONS = {
    "weights in a column": (PAIR, {"sample_weight": [[1.0], [2.0]]}),
    "weights in a row": (PAIR, {"sample_weight": [[1.0, 2.0]]}),
    "weights in an array's column": (PAIR, {"sample_weight": numpy.ones((2, 1))}),
    "a weight for each output": (TABLES, {"sample_weight": numpy.ones((2, 2))}),
    "one number as weights": (PAIR, {"sample_weight": 2.0}),
    "no weights": (PAIR, {"sample_weight": []}),
    "weights of zero": (PAIR, {"sample_weight": [0, 0]}),
    "an infinite weight": (PAIR, {"sample_weight": [numpy.inf, 1]}),
    "a missing weight": (PAIR, {"sample_weight": [1, None]}),
    "outputs by words": (TABLES, {"multioutput": ["1", "2"]}),
    "no word for outputs": (TABLES, {"multioutput": None}),
    "outputs in a column": (TABLES, {"multioutput": [[1.0], [1.0]]}),
    "outputs that cancel": (TABLES, {"multioutput": [1, -1]}),
}
REFUSED_HERE = {
    "texts": ((["1", "2"], ["2", "4"]), {}, TypeError, "y_true"),
    "an array of texts": ((numpy.array(["1", "2"]), [2, 4]), {}, TypeError, "y_true"),
    "objects that are texts": ((objects("1", "2"), [2, 4]), {}, TypeError, "y_true"),
    "texts in rows": (([["1"], ["2"]], [[2], [4]]), {}, TypeError, "y_true"),
    "weights as texts": (PAIR, {"sample_weight": ["1", "2"]}, TypeError, "sample_weight"),
    "negative weights": (PAIR, {"sample_weight": [2, -1]}, ValueError, "not negative"),
    "weights too far apart": (
        PAIR,
        {"sample_weight": [1e100, 1e-100]},
        ValueError,
        "1e-100 beside",
    ),
    "huge numbers": (([1e100, 1.0], [0.0, 1.0]), {}, ValueError, r"1 beyond 2\^200"),
    "huge numbers, tiny weights": (
        ([1e100, 1.0], [0.0, 1.0]),
        {"sample_weight": [1e-40, 1e-40]},
        ValueError,
        r"1 beyond 2\^200",
    ),
    "dates": (
        (numpy.array(["2026-01-01"], "M8[s]"), numpy.array(["2026-01-01"], "M8[s]")),
        {},
        TypeError,
        "y_true holds no numbers",
    ),
}


@EACH
@pytest.mark.parametrize("data", TAKEN.values(), ids=TAKEN)
def test_what_it_takes_has_the_peer_s_figure(name, data):
    assert getattr(adapter, name)(*data) == pytest.approx(getattr(metrics, name)(*data), rel=1e-12)


@EACH
@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_of_any_size_have_the_peer_s_figure(name, weight):
    mine = getattr(adapter, name)(*PAIR, sample_weight=weight)
    if max(weight) < 1e-300:  # the peer rounds the products of weights so small
        weight = numpy.ldexp(weight, 600)
    assert mine == pytest.approx(getattr(metrics, name)(*PAIR, sample_weight=weight), rel=1e-12)


@EACH
@pytest.mark.parametrize(
    ("data", "options"),
    [*((data, {}) for data in REFUSED.values()), *REFUSED_OPTIONS.values()],
    ids=[*REFUSED, *REFUSED_OPTIONS],
)
def test_what_the_peer_refuses_is_refused(name, data, options):
    for module in (metrics, adapter):
        with pytest.raises((ValueError, TypeError, ArithmeticError)):
            getattr(module, name)(*data, **options)


@EACH
@pytest.mark.parametrize(
    ("data", "options", "kind", "told"), REFUSED_HERE.values(), ids=REFUSED_HERE
)
@pytest.mark.filterwarnings("ignore:Converting:UserWarning")
def test_what_is_refused_here_alone(name, data, options, kind, told):
    with pytest.raises(kind, match=told):
        getattr(adapter, name)(*data, **options)
    assert isinstance(metrics.mean_squared_error(*data, **options), float)


def test_weights_of_outputs_must_fit():
    for args, weights in ((ONE, [1.0]), (MANY, [1.0, 1.0])):
        for function in (metrics.mean_squared_error, *map(adapter.__dict__.get, NAMES)):
            with pytest.raises(ValueError, match="weights"):
                function(*args, multioutput=weights)
    for name in NAMES:
        with pytest.raises(ValueError, match="a weight of the outputs is NaN"):
            getattr(adapter, name)(*TABLES, multioutput=[math.nan, 1.0])


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
