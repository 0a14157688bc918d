from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cells import filled
from support.fleet import START, Planted

from edgemse.cells import Series
from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import Merged, merged
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats, merge_all

FIGURES = (
    "mse",
    "bias",
    "error_variance",
    "skewness",
    "kurtosis",
    "mae",
    "r2",
    "correlation",
    "calibration_slope",
    "mse_standard_error",
    "weight",
    "effective_count",
)
EVERYTHING = Asked()
EXACT = ("count", "nonfinite", "out_of_range", "min_error", "max_error")


def groups_of(planted: Planted, by: Sequence[str], step: int | None = None) -> Merged:
    with planted.store.reading() as reading:
        return merged(reading, EVERYTHING, by=by, step_seconds=step)


def assert_same(got: ErrorStats, want: ErrorStats, rel: float = 1e-12) -> None:
    for name in EXACT:
        assert getattr(got, name) == pytest.approx(getattr(want, name), abs=0, nan_ok=True), name
    # Skewness and the like may cancel to nothing: they are compared on the scale of 1.
    for name in FIGURES:
        wanted = getattr(want, name)
        assert getattr(got, name) == pytest.approx(wanted, rel=rel, abs=1e-11, nan_ok=True), name
    assert got.histogram.to_bytes() == want.histogram.to_bytes()


def plant(planted: Planted, offset: float) -> None:
    for number in range(60):
        stats = filled(number, count=number % 7, offset=offset)
        if number % 5 == 0:
            stats.update(math.nan, 1.0)
            stats.update(1.0, 1e300)
        if number % 3 == 0:
            stats.update(1.0, 2.0 + offset, 0.25)
        series = Series(f"m{number % 2}", "v1", "", f"s{number % 3}")
        start = START + 60 * (number % 9)
        planted.put(f"pi-{number % 4}", stats, series=series, start=start)
    planted.commit()


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12, -1e15])
@pytest.mark.parametrize("by", [[], ["device"], ["segment", "model"], ["device", "version"]])
@pytest.mark.parametrize("step", [None, 300])
def test_sql_merges_as_the_core_does(
    planted: Planted, offset: float, by: list[str], step: int | None
) -> None:
    plant(planted, offset)
    want: dict[tuple[object, ...], list[ErrorStats]] = {}
    for device, each in planted.placed:
        names = {"device": device, **each.series._asdict()}
        at = [] if step is None else [each.window.start // step * step]
        want.setdefault((*(names[column] for column in by), *at), []).append(each.stats)
    got = groups_of(planted, by, step)
    keys = [(*g.by.values(), *([] if step is None else [g.start])) for g in got]
    assert keys == sorted(want, key=str)
    for key, group in zip(keys, got, strict=True):
        assert [*group.by] == by
        assert_same(group.stats, merge_all(want[key]))


floats = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 6))
samples = st.lists(st.tuples(floats, floats), max_size=12)


@settings(max_examples=30, deadline=None)
@given(st.lists(samples, min_size=1, max_size=6))
def test_any_split_into_cells_merges_to_the_same(parts: list[list[tuple[float, float]]]) -> None:
    planted = Planted()
    states = []
    for part in parts:
        states.append(ErrorStats())
        for y_true, y_pred in part:
            states[-1].update(y_true, y_pred)
        planted.put("pi-1", states[-1])
    planted.commit()
    got, want = groups_of(planted, []).total(), merge_all(states)
    assert got.count == want.count
    assert got.mse == pytest.approx(want.mse, rel=1e-12, nan_ok=True)
    assert got.error_variance == pytest.approx(
        want.error_variance, rel=1e-12, abs=1e-24, nan_ok=True
    )
    planted.store.close()


@pytest.mark.parametrize("far", [0, 1, 19])
def test_one_cell_far_off_costs_no_digits(planted: Planted, far: int) -> None:
    """The origin lies far from most means, or a mean is huge beside all spread."""
    states = [filled(n, offset=1e9 if n == far else 1e3) for n in range(20)]
    for each in states:
        planted.put("pi-1", each)
    planted.commit()
    assert_same(groups_of(planted, []).total(), merge_all(states), rel=1e-13)


def test_a_thousand_cells_of_a_huge_mean_keep_their_variance(planted: Planted) -> None:
    states = [filled(n, count=5, offset=1e12) for n in range(1_000)]
    for each in states:
        planted.put("pi-1", each)
    planted.commit()
    got, want = groups_of(planted, []).total(), merge_all(states)
    assert got.error_variance == pytest.approx(want.error_variance, rel=1e-12)
    assert got.kurtosis == pytest.approx(want.kurtosis, rel=1e-11)


def test_cells_without_a_sample_merge_to_an_empty_group(planted: Planted) -> None:
    refused = ErrorStats()
    refused.update(math.nan, 0.0)
    planted.put("a", ErrorStats())
    planted.put("b", refused)
    planted.commit()
    (total,) = groups_of(planted, [])
    assert (total.stats.count, total.stats.nonfinite) == (0, 1)
    assert math.isnan(total.stats.mse)
    assert groups_of(planted, ["device"]).total() == total.stats


def test_no_cell_makes_no_group(planted: Planted) -> None:
    assert len(groups_of(planted, [])) == 0
    assert groups_of(planted, ["device"]).total().count == 0


def test_coverage_merges_beside_the_moments(planted: Planted) -> None:
    want = Coverage()
    for lag in (100, 2_000, 30_000):
        part = Coverage()
        part.predictions += 2
        part.expired += 1
        part.match(lag)
        want.merge(part)
        planted.put("pi-1", filled(lag), coverage=part)
    planted.commit()
    with planted.store.reading() as reading:
        (bare,) = merged(reading, EVERYTHING, histograms=True)
        (whole,) = merged(reading, EVERYTHING, lag_histograms=True)
    assert (bare.coverage.predictions, bare.coverage.matched, bare.coverage.expired) == (6, 3, 3)
    assert (bare.coverage.lag_ms_sum, bare.coverage.lag_ms_max) == (32_100, 30_000)
    assert whole.coverage == want
