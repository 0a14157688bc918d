from __future__ import annotations

import math
import random

import pytest
from support.fleet import START, Planted, follow, plant_hours, stats_of

from edgemse.cells import Series
from edgemse.fleet.variance import VarianceAnswer

SCALES = {f"d{number:02d}": 1 + 0.03 * (number % 5) for number in range(20)}


def variance(planted: Planted, **asked: object) -> VarianceAnswer:
    found = planted.ask("variance", **asked)
    assert isinstance(found, VarianceAnswer)
    return found


def test_alike_devices_are_not_said_to_differ(planted: Planted) -> None:
    plant_hours(planted, dict.fromkeys(SCALES, 1.0), hours=120, per_hour=12, phi=0.6, seed=5)
    planted.commit()
    found = variance(planted)
    assert found.variance.p_value > 0.01
    assert found.between.design_effect > 1.5
    assert not any(group.unusual or group.materially_worse for group in found.groups)
    # What the same states would have said without their windows:
    assert found.variance.sampling_variance > 1.5 * sum(
        group.mse_standard_error**2 for group in found.groups
    ) / len(found.groups)


def test_a_bad_device_is_flagged_and_the_spread_measured(planted: Planted) -> None:
    scales = SCALES | {"d07": 2.0}
    plant_hours(planted, scales, hours=120, per_hour=12, phi=0.6)
    planted.commit()
    found = variance(planted)
    assert found.variance.p_value < 1e-6
    assert [g.by["device"] for g in found.groups if g.materially_worse] == ["d07"]
    assert [g.by["device"] for g in found.groups if g.unusual] == ["d07"]
    assert found.between.low < found.between.spread_percent < found.between.high
    bad = found.groups[7]
    assert bad.low < bad.rmse < bad.high
    assert bad.ratio == pytest.approx(2.0 / 1.06, rel=0.1)
    text = " ".join([*found.sentences(), *found.notes])
    assert "differ by about ±" in text
    assert "scatters normally between groups" in text


def test_few_windows_are_said_to_assume_independence(planted: Planted) -> None:
    plant_hours(planted, {"a": 1.0, "b": 1.0, "c": 1.5}, hours=4, per_hour=60)
    planted.commit()
    found = variance(planted)
    assert found.notes[0].startswith("intervals and p-values assume samples that do not depend")
    assert math.isnan(found.between.design_effect)
    assert found.variance.p_value < 0.05


def test_too_few_samples_are_not_enough_data(planted: Planted) -> None:
    plant_hours(planted, {"a": 1.0, "b": 3.0}, hours=1, per_hour=9)
    planted.commit()
    found = variance(planted)
    assert any(note.startswith("not enough data: 2 of 2 groups") for note in found.notes)
    assert math.isnan(found.variance.p_value)
    assert math.isnan(found.between.spread_percent)
    assert {(group.unusual, group.materially_worse) for group in found.groups} == {(None, None)}


def test_a_small_device_is_left_out_and_said_to_be(planted: Planted) -> None:
    plant_hours(planted, SCALES, hours=24, per_hour=12)
    planted.put("z", stats_of([50.0, -50.0, 60.0]))
    planted.commit()
    found = variance(planted)
    assert "1 of 21 groups have too few samples to be tested and are left out" in found.notes
    assert found.variance.devices == 21
    assert found.groups[-1].materially_worse is None


def test_a_span_too_short_for_its_dependence_is_not_enough_data(planted: Planted) -> None:
    plant_hours(planted, dict.fromkeys(SCALES, 1.0), hours=12, per_hour=5, phi=0.99)
    planted.commit()
    found = variance(planted)
    assert found.notes[0].startswith("not enough data: windows follow each other so closely")
    assert math.isnan(found.variance.p_value)
    assert {group.unusual for group in found.groups} == {None}


def test_estimates_below_nothing_are_clamped_and_said_to_be(planted: Planted) -> None:
    for device in "abcdefgh":
        errors = [(-1.0) ** n * (1 + n % 11) for n in range(480)]
        random.Random(device).shuffle(errors)  # the same MSE to the last bit, hours that vary
        for hour in range(12):
            stats = stats_of(errors[40 * hour : 40 * hour + 40])
            planted.put(device, stats, start=START + 3_600 * hour, width=3_600)
    planted.commit()
    found = variance(planted)
    assert (found.variance.tau2, found.between.tau2_log) == (0.0, 0.0)
    assert found.variance.tau2_unclamped < 0
    assert sum("below 0" in note for note in found.notes) == 2


def test_a_measure_is_asked_for_alone(planted: Planted) -> None:
    plant_hours(planted, {"a": 1.0, "b": 1.0}, hours=2)
    latency = Series("pump", "v1", measure="latency")
    plant_hours(planted, {"a": 9.0}, hours=2, series=latency)
    planted.commit()
    assert variance(planted).total.rmse < 2
    found = variance(planted, measure="latency")
    assert ([g.by["device"] for g in found.groups], found.total.rmse > 5) == (["a"], True)


def test_windows_of_many_widths_are_one_series(planted: Planted) -> None:
    """A backlog that was merged into a day does not stop the hours from showing dependence."""
    rng = random.Random(3)
    for device in ("a", "b", "c"):
        errors = follow(rng, 60 * 200, 0.8)
        planted.put(device, stats_of(errors[: 60 * 12]), width=86_400)
        for hour in range(24, 200):
            part = stats_of(errors[60 * (hour - 1) : 60 * hour])
            planted.put(device, part, start=START + 3_600 * hour, width=3_600)
    planted.commit()
    assert variance(planted).between.design_effect > 2


def test_a_model_without_error_is_no_accident(planted: Planted) -> None:
    plant_hours(planted, {"a": 1.0, "b": 1.1, "c": 0.0, "d": 1.0, "e": 1.0}, hours=20, per_hour=9)
    planted.commit()
    found = variance(planted)
    perfect = found.groups[2]
    assert (perfect.rmse, perfect.low, perfect.high) == (0.0, 0.0, 0.0)
    assert perfect.unusual is None
    assert found.groups[0].materially_worse is False
    assert math.isnan(found.variance.p_value)
    assert any("without any error" in note for note in found.notes)
