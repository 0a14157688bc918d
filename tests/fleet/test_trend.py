from __future__ import annotations

import math
import random
from datetime import datetime

import numpy as np
import pytest
from support.fleet import START, Planted, follow, plant_hours, stats_of

from edgemse.errors import SettingsError
from edgemse.fleet import drifting
from edgemse.fleet.trend import TrendAnswer
from edgemse.fleet.windows import Numbers
from edgemse.stats.coverage import Coverage


def trend(planted: Planted, **asked: object) -> TrendAnswer:
    found = planted.ask("trend", **asked)
    assert isinstance(found, TrendAnswer)
    return found


def plant(planted: Planted, scales: list[float], per_hour: int = 12, phi: float = 0.6) -> None:
    """Put an hour of each scale, of errors that follow each other."""
    errors = follow(random.Random(6), len(scales) * per_hour, phi)
    for hour, scale in enumerate(scales):
        part = [scale * e for e in errors[hour * per_hour : (hour + 1) * per_hour]]
        planted.put("pi-1", stats_of(part), start=START + 3_600 * hour, width=3_600)
    planted.commit()


def test_the_points_add_up(planted: Planted) -> None:
    plant_hours(planted, {"a": 1.0, "b": 2.0}, hours=50, per_hour=30)
    planted.commit()
    for step, points in (("1h", 50), ("6h", 9), ("1d", 3), (None, 50)):
        found = trend(planted, step=step)
        assert len(found.points) == points
        assert sum(point.count for point in found.points) == 3_000
        total = planted.ask("variance").total  # type: ignore[attr-defined]
        squares = sum(point.count * point.mse for point in found.points)
        assert squares / 3_000 == pytest.approx(total.mse, rel=1e-12)
    assert found.points[1].start == "2026-01-01T01:00:00Z"
    assert found.points[0].low < found.points[0].rmse < found.points[0].high


def test_a_change_is_found_where_it_is(planted: Planted) -> None:
    plant(planted, [1.0] * 168 + [1.8] * 72)
    found = trend(planted)
    (change,) = found.changes
    hours = (datetime.fromisoformat(change.at).timestamp() - START) / 3_600
    assert abs(hours - 168) <= 6
    assert 1.5 < change.ratio < 2.1
    assert found.slope is not None
    assert found.slope.percent_per_day > 0
    assert found.design_effect > 1.4
    assert any("Change at 2026-01-0" in line for line in found.sentences())


def test_a_daily_cycle_is_neither_slope_nor_change(planted: Planted) -> None:
    plant(planted, [1 + 0.5 * (hour % 24 < 8) for hour in range(240)])
    found = trend(planted)
    assert found.cycles == ("daily",)
    assert found.changes == ()
    assert found.slope is not None
    assert found.slope.low < 0 < found.slope.high


def test_a_slope_is_measured(planted: Planted) -> None:
    plant(planted, [1.02 ** (hour / 24) for hour in range(720)], per_hour=20)
    found = trend(planted).slope
    assert found is not None
    assert found.low < 2.0 < found.high
    assert found.low > 0
    assert found.theil_sen_percent_per_day == pytest.approx(2.0, abs=1.0)


def test_too_few_steps_are_not_enough_data(planted: Planted) -> None:
    plant(planted, [1.0] * 29)
    found = trend(planted)
    assert (found.slope, found.changes) == (None, ())
    assert found.notes[0] == "not enough data: 29 steps, wanted 30 for a slope or a change"
    assert found.to_json()["slope"] is None


def test_rolling_covers_the_time_before_a_step(planted: Planted) -> None:
    plant(planted, [1.0, 2.0, 3.0, 4.0])
    found = trend(planted, rolling="2h").points
    squares = [point.mse for point in found]
    assert found[0].rolling_rmse == found[0].rmse
    assert found[3].rolling_rmse == pytest.approx(math.sqrt((squares[2] + squares[3]) / 2))
    assert math.isnan(trend(planted).points[3].rolling_rmse)


def test_labels_stand_beside_the_error(planted: Planted) -> None:
    coverage = Coverage()
    coverage.predictions += 4
    for _ in range(3):
        coverage.match(60_000)
    planted.put("pi-1", stats_of([1.0, 2.0]), width=3_600, coverage=coverage)
    planted.commit()
    (point,) = trend(planted).points
    assert point.coverage == 0.75
    assert point.lag_p95_seconds == pytest.approx(60, rel=0.091)


def test_wide_cells_in_narrow_steps_are_said(planted: Planted) -> None:
    planted.put("pi-1", stats_of([1.0, 2.0]), width=86_400)
    plant(planted, [1.0] * 10)
    notes = trend(planted, step="1h").notes
    assert notes[0].startswith("1 cell reaches beyond the step of 3600 s")
    assert notes[1].startswith("10 steps left out of slope and changes")


@pytest.mark.parametrize("step", ["0s", "5s", "1.5", "2y", "soon"])
def test_a_step_that_is_none_is_refused(planted: Planted, step: str) -> None:
    with pytest.raises(SettingsError, match="wanted"):
        trend(planted, step=step)


def log_normal_ar1(rng: np.random.Generator, runs: int, steps: int, phi: float) -> Numbers:
    """Return series of log RMSE that scatter by 0.1."""
    found = rng.normal(size=(runs, steps))
    for place in range(1, steps):
        found[:, place] = phi * found[:, place - 1] + math.sqrt(1 - phi**2) * found[:, place]
    return 0.1 * found


@pytest.mark.parametrize(("steps", "phi"), [(30, 0.0), (30, 0.5), (100, 0.5), (240, 0.8)])
def test_the_interval_of_a_slope_covers(steps: int, phi: float) -> None:
    rng = np.random.default_rng(41)
    time, weight, covered = np.arange(steps) * 3_600.0, np.ones(steps), 0
    for series in log_normal_ar1(rng, 300, steps, phi):
        line = drifting.line(time, np.exp(2 * series), weight)
        assert line is not None
        covered += line.low <= 0 <= line.high
    assert 0.88 < covered / 300 < 0.99  # 95 % wanted; 92 to 97 % seen in 1,500 runs each


def test_changes_are_seldom_found_where_there_is_none() -> None:
    rng = np.random.default_rng(42)
    for phi in (0.0, 0.5):
        found = [drifting.changes(each) for each in log_normal_ar1(rng, 60, 240, phi)]
        assert sum(map(len, found)) <= 4


def test_a_step_is_found_within_two_windows() -> None:
    rng = np.random.default_rng(43)
    hits = 0
    for series in 0.6 * log_normal_ar1(rng, 60, 240, 0.0):  # windows scatter by 6 %
        series[150:] += math.log(1.3)
        hits += any(abs(place - 150) <= 2 for place in drifting.changes(series))
    assert hits >= 58


def test_a_series_without_spread_has_no_change() -> None:
    assert drifting.changes(np.ones(100)) == []
    assert drifting.changes(np.ones(10)) == []
