"""The forecasts and their readings: what is learned, what is standardised, what is labelled."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path

import pytest

from edgemse.demo.device import Forecaster, follow
from edgemse.demo.models import Persistence, RecursiveLeastSquares, versions
from edgemse.demo.plan import devices
from edgemse.demo.planted import FAULTY_SEGMENT, sensor
from edgemse.demo.signals import Meter, Signal, Standardiser, signals
from edgemse.demo.truth import TruthFile, read_truth

AHEAD = 3


def errors(model: Persistence | RecursiveLeastSquares, readings: list[float]) -> list[float]:
    forecasts = [model.forecast(reading) for reading in readings]
    return [f - r for f, r in zip(forecasts, readings[AHEAD:], strict=False)]


def rmse(found: list[float]) -> float:
    return math.sqrt(statistics.fmean(e * e for e in found))


def autoregressive(count: int, memory: float, seed: int) -> list[float]:
    rng = random.Random(seed)
    values = [0.0]
    for _ in range(count - 1):
        values.append(memory * values[-1] + rng.gauss(0, 1))
    return values


@pytest.mark.parametrize("seed", range(5))
def test_least_squares_learn_to_beat_persistence(seed: int) -> None:
    readings = autoregressive(2_000, 0.6, seed)
    learned = rmse(errors(RecursiveLeastSquares(AHEAD), readings)[500:])
    # No forecast does better than this: what the noise of three steps adds up to.
    best = math.sqrt(1 + 0.6**2 + 0.6**4)
    assert learned < 1.1 * best
    assert learned < 0.9 * rmse(errors(Persistence(), readings)[500:])


def test_least_squares_are_as_good_as_persistence_where_that_is_best() -> None:
    walk = autoregressive(2_000, 1.0, seed=1)
    learned = rmse(errors(RecursiveLeastSquares(AHEAD), walk))
    assert learned < 1.1 * rmse(errors(Persistence(), walk))


def test_least_squares_begin_as_persistence() -> None:
    model = RecursiveLeastSquares(AHEAD)
    assert [model.forecast(reading) for reading in (1.0, 4.0, 2.0)] == [1.0, 4.0, 2.0]


def test_least_squares_survive_a_signal_that_stands_still_for_long() -> None:
    model = RecursiveLeastSquares(AHEAD)
    for _ in range(20_000):
        model.forecast(0.5)
    assert model.forecast(0.5) == pytest.approx(0.5)
    found = errors(model, autoregressive(2_000, 0.6, seed=2))
    assert rmse(found[500:]) < 2


def test_the_standardiser_takes_scale_and_level_off() -> None:
    rng = random.Random(3)
    values = [rng.gauss(1e9, 1e3) for _ in range(5_000)]
    standardise = Standardiser()
    found = [standardise(value) for value in values]
    assert statistics.fmean(found[1_000:]) == pytest.approx(0, abs=0.1)
    assert statistics.pstdev(found[1_000:]) == pytest.approx(1, rel=0.05)
    last = (values[-1] - statistics.fmean(values)) / statistics.pstdev(values)
    assert found[-1] == pytest.approx(last, rel=1e-6)


def test_what_never_changes_is_zero_and_a_first_jump_is_bounded() -> None:
    standardise = Standardiser()
    assert [standardise(7.0) for _ in range(100)] == [0.0] * 100
    assert standardise(1e12) == pytest.approx(math.sqrt(100))


def test_a_total_is_read_as_a_rate_and_a_level_as_it_is() -> None:
    values = iter([100.0, 150.0, 150.0, 180.0])
    meter = Meter(Signal("total", "", lambda: next(values), True), now=10.0)
    assert meter.read(12.0) == 25.0
    assert meter.read(12.0) == 25.0  # no time has passed
    assert meter.read(13.0) == 30.0
    assert Meter(Signal("level", "", lambda: 4.5, False), now=0.0).read(1.0) == 4.5


def test_this_machine_offers_signals_with_names_of_their_own() -> None:
    offered = signals()
    assert len({signal.name for signal in offered}) == len(offered) >= 2
    assert all(math.isfinite(signal.read()) for signal in offered)


def test_more_devices_than_signals_share_them_under_names_of_their_own() -> None:
    offered = [Signal(name, name, lambda: 0.0, False) for name in ("a", "b")]
    found = devices(5, offered)
    assert [device.name for device in found] == ["a", "b", "a-2", "b-2", "a-3"]
    assert [device.signal.name for device in found] == ["a", "b", "a", "b", "a"]


class Notes:
    """Stands in for a Monitor: notes what it is told."""

    def __init__(self) -> None:
        self.predicted: dict[int, float] = {}
        self.labelled: dict[int, float] = {}
        self.segments: dict[int, str] = {}

    def predict(self, step: int, y_pred: float, segment: str) -> None:
        assert step not in self.predicted
        self.predicted[step] = y_pred
        self.segments[step] = segment

    def label(self, step: int, y_true: float) -> None:
        assert step in self.predicted
        assert step not in self.labelled
        self.labelled[step] = y_true


def test_each_forecast_is_labelled_with_the_reading_it_was_about(tmp_path: Path) -> None:
    notes = Notes()
    readings = autoregressive(100, 0.6, seed=4)
    coming = iter(readings)
    calls = iter(range(100))
    with TruthFile(tmp_path / "truth") as truth:
        forecaster = Forecaster(Persistence(), notes, truth, AHEAD)  # type: ignore[arg-type]
        steps = follow(lambda: next(coming), [forecaster], lambda: next(calls) >= 50)
    assert steps == 50 + AHEAD
    assert notes.predicted.keys() == notes.labelled.keys() == set(range(AHEAD, steps))
    standardise = Standardiser()
    standard = [standardise(reading) for reading in readings]
    assert notes.labelled == {step: standard[step] for step in notes.labelled}
    assert notes.predicted == {step: standard[step - AHEAD] for step in notes.predicted}
    kept = read_truth(tmp_path / "truth", "persistence")
    assert kept.count == len(notes.labelled)
    squares = [(notes.predicted[step] - notes.labelled[step]) ** 2 for step in notes.labelled]
    assert kept.mse == pytest.approx(statistics.fmean(squares), rel=1e-15)
    assert kept.float64_bytes == 16 * kept.count


def test_late_labels_all_come_and_the_fault_is_in_the_yard_alone(tmp_path: Path) -> None:
    sound, late = Notes(), Notes()
    readings = autoregressive(200, 0.6, seed=4)
    coming = iter(readings)
    calls = iter(range(200))
    with TruthFile(tmp_path / "a") as a, TruthFile(tmp_path / "b") as b:
        forecasters = [
            Forecaster(Persistence(), sound, a, AHEAD),  # type: ignore[arg-type]
            Forecaster(Persistence(), late, b, AHEAD, late=40, fault=2.0),  # type: ignore[arg-type]
        ]
        waited = 0

        def stopped() -> bool:
            nonlocal waited
            waited = max(waited, len(sound.labelled) - len(late.labelled))
            return next(calls) >= 150

        steps = follow(lambda: next(coming), forecasters, stopped)
    assert steps == 150 + AHEAD  # what was held back does not keep the device up
    assert waited == 40
    assert late.labelled == sound.labelled
    assert late.segments == sound.segments
    yard = [step for step, segment in sound.segments.items() if segment == FAULTY_SEGMENT]
    assert len(yard) == 8
    for step, y_pred in late.predicted.items():
        assert y_pred - sound.predicted[step] == pytest.approx(2.0 if step in yard else 0.0)
    assert read_truth(tmp_path / "a", "x").count == read_truth(tmp_path / "b", "x").count


def test_the_sensor_is_noise_of_its_own_that_follows_itself() -> None:
    one, again, other = sensor("cpu0"), sensor("cpu0"), sensor("cpu1")
    values = [one() for _ in range(5_000)]
    assert values == [again() for _ in range(5_000)]
    assert values != [other() for _ in range(5_000)]
    assert statistics.pstdev(values) == pytest.approx(1, rel=0.1)
    assert statistics.correlation(values[1:], values[:-1]) == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("memory", [0.0, 0.9, 0.999])
def test_the_second_version_is_better_whatever_the_signal(memory: float) -> None:
    walk = autoregressive(1_000, memory, seed=6)
    spread, noise = statistics.pstdev(walk), sensor("any")
    readings = [value / spread + noise() for value in walk]
    ahead = 20
    first, second = (
        [model.forecast(reading) for reading in readings]
        for model in (Persistence(), RecursiveLeastSquares(ahead))
    )
    truth = readings[ahead:]
    assert rmse([p - y for p, y in zip(second, truth, strict=False)]) < 0.95 * rmse(
        [p - y for p, y in zip(first, truth, strict=False)]
    )


def test_one_device_is_late_and_another_one_falls_silent() -> None:
    offered = [Signal(name, name, lambda: 0.0, False) for name in "abcd"]
    found = devices(4, offered)
    assert [device.late_steps > 0 for device in found] == [True, False, False, False]
    assert [device.silent for device in found] == [False, False, False, True]
    assert [device.silent for device in devices(2, offered)] == [False, False]
    assert not devices(1, offered)[0].late_steps


def test_the_versions_are_persistence_and_least_squares() -> None:
    assert list(versions(AHEAD)) == ["persistence", "rls"]
