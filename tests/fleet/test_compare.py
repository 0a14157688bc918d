"""Versions compared: with the raw samples, with planted truth, and where there is too little."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from support.fleet import START, Planted, stats_of

from edgemse.cells import Series
from edgemse.errors import SettingsError
from edgemse.fleet.arms import Estimate, by_devices, devices_needed, holm, pooled
from edgemse.fleet.compare import CompareAnswer
from edgemse.fleet.gate import GateAnswer

HOUR = 3_600


@pytest.fixture
def planted() -> Iterator[Planted]:
    planted = Planted()
    with closing(planted.store):
        yield planted


def errors(rng: np.random.Generator, count: int, scale: float = 1.0) -> list[float]:
    return [float(e) for e in rng.normal(0, scale, count)]


def put(
    planted: Planted, device: str, version: str, segment: str, hour: int, e: list[float]
) -> None:
    series = Series("pump", version, segment=segment)
    planted.put(device, stats_of(e), start=START + hour * HOUR, width=HOUR, series=series)


def compare(planted: Planted, **asked: object) -> CompareAnswer:
    found = planted.ask("compare", a="1", b="2", **asked)
    assert isinstance(found, CompareAnswer)
    return found


def fill(
    planted: Planted, rng: np.random.Generator, devices: int, factor: dict[str, float]
) -> dict[tuple[str, str, str], list[float]]:
    """Put both versions on each device, version 2 worse by a factor for each segment."""
    raw = {}
    for number in range(devices):
        scale = math.exp(rng.normal(0, 0.2))
        for version in "12":
            for segment, times in factor.items():
                e = errors(rng, 200, scale * (times if version == "2" else 1.0))
                raw[f"d{number}", version, segment] = e
                put(planted, f"d{number}", version, segment, number, e)
    planted.commit()
    return raw


def test_paired_by_device_as_from_the_raw_samples(planted: Planted) -> None:
    raw = fill(planted, np.random.default_rng(1), 12, {"day": 0.9, "night": 1.4})

    def rmse(device: str, version: str, segments: tuple[str, ...]) -> float:
        e = np.concatenate([raw[device, version, s] for s in segments])
        return math.sqrt((e**2).mean())

    found = compare(planted, by=["segment"])
    rows = {"": found} | {s.by["segment"]: s for s in found.segments}
    for name, row in rows.items():
        segments = (name,) if name else ("day", "night")
        ratios = [
            math.log(rmse(f"d{n}", "2", segments) / rmse(f"d{n}", "1", segments)) for n in range(12)
        ]
        test = scipy_stats.ttest_1samp(ratios, 0.0)
        low, high = test.confidence_interval(0.95)
        expected = [math.exp(x) for x in (np.mean(ratios), low, high)]
        assert [row.ratio, row.low, row.high] == pytest.approx(expected, rel=1e-9)
    assert (found.method, found.devices) == ("paired", 12)
    assert found.p_value == pytest.approx(
        scipy_stats.ttest_1samp(
            [
                math.log(
                    rmse(f"d{n}", "2", ("day", "night")) / rmse(f"d{n}", "1", ("day", "night"))
                )
                for n in range(12)
            ],
            0.0,
        ).pvalue,
        rel=1e-6,
    )
    assert {s.by["segment"]: s.worse for s in found.segments} == {"day": False, "night": True}
    assert found.a.count == found.b.count == 12 * 400
    assert "worse in night" in " ".join(found.sentences())
    assert CompareAnswer.from_json(found.to_json()).to_json() == found.to_json()


def test_other_devices_are_compared_by_welch(planted: Planted) -> None:
    rng = np.random.default_rng(2)
    logs: dict[str, list[float]] = {"1": [], "2": []}
    for version, devices in (("1", 12), ("2", 7)):
        for number in range(devices):
            e = errors(rng, 300, math.exp(rng.normal(0, 0.1)) * (1.3 if version == "2" else 1.0))
            put(planted, f"{version}-{number}", version, "", 0, e)
            logs[version].append(0.5 * math.log(np.mean(np.square(e))))
    planted.commit()
    found = compare(planted)
    test = scipy_stats.ttest_ind(logs["2"], logs["1"], equal_var=False)
    assert (found.method, found.devices) == ("unpaired", 19)
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-6)
    low, high = test.confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx([math.exp(low), math.exp(high)], rel=1e-6)
    assert any("too few devices ran both" in note for note in found.notes)
    assert found.needed.devices is None


def plant_apart(planted: Planted, both: int) -> None:
    """Equal versions, b on a device that is 0.6 times as wrong; `both` devices run both."""
    rng = np.random.default_rng(40)
    for hour in range(72):
        for number in range(3):
            put(planted, f"d{number}", "1", "day", hour, errors(rng, 30))
        put(planted, "easy", "2", "day", hour, errors(rng, 30, 0.6))
        for number in range(both):
            put(planted, f"d{number}", "2", "day", hour, errors(rng, 30))
    planted.commit()


@pytest.mark.parametrize("looks", [{}, {"looks": "open"}, {"looks": "4", "look": "4"}])
def test_windows_of_other_devices_say_nothing_of_the_version(
    planted: Planted, looks: dict[str, str]
) -> None:
    plant_apart(planted, both=0)
    found = compare(planted, by=["segment"], cost="over=1,under=4", **looks)
    assert (found.method, found.segments[0].worse) == ("", None)
    assert math.isnan(found.p_value)
    assert found.ratio == pytest.approx(0.6, abs=0.05)  # what it is, without an interval
    assert any(note.startswith("not enough data: no device ran both") for note in found.notes)
    assert found.looks is None or found.looks.differs is None
    assert found.cost is not None
    assert math.isnan(found.cost.p_value)
    gate = planted.ask("gate", a="1", b="2", max_ratio="1.05")
    assert isinstance(gate, GateAnswer)
    assert gate.verdict == "not enough data"


def test_windows_are_of_the_devices_that_ran_both(planted: Planted) -> None:
    plant_apart(planted, both=1)
    found = compare(planted, by=["segment"], cost="over=1,under=1")
    assert (found.method, found.devices) == ("windows", 1)
    assert found.low < 1 < found.high
    assert found.ratio == pytest.approx(1.0, abs=0.05)
    segment = found.segments[0]
    assert (segment.ratio, segment.low, segment.high) == (found.ratio, found.low, found.high)
    assert "3 devices that ran one of the versions only" in " ".join(found.notes)
    assert found.cost is not None
    assert found.cost.ratio == pytest.approx(1.0, abs=0.05)


def test_one_device_is_compared_by_its_windows(planted: Planted) -> None:
    rng = np.random.default_rng(3)
    for hour in range(60):
        put(planted, "d", "1", "", hour, errors(rng, 60))
        put(planted, "d", "2", "", hour, errors(rng, 60, 1.3))
    planted.commit()
    found = compare(planted)
    assert (found.method, found.devices) == ("windows", 1)
    assert found.low < 1.3 < found.high
    assert found.low > 1.15
    assert any("too few devices to speak of others" in note for note in found.notes)


def test_two_hours_of_one_device_are_not_enough(planted: Planted) -> None:
    rng = np.random.default_rng(4)
    for hour in range(2):
        put(planted, "d", "1", "", hour, errors(rng, 60))
        put(planted, "d", "2", "", hour, errors(rng, 60))
    planted.commit()
    found = compare(planted)
    assert found.method == ""
    assert math.isnan(found.low)
    assert math.isnan(found.p_value)
    assert not math.isnan(found.ratio)
    assert found.notes[0].startswith("not enough data")


@pytest.mark.parametrize("b", ["2", "3"])
def test_a_version_that_nobody_ran_is_not_enough(planted: Planted, b: str) -> None:
    put(planted, "d", "1", "", 0, errors(np.random.default_rng(5), 100))
    planted.commit()
    found = planted.ask("compare", a="1", b=b)
    assert isinstance(found, CompareAnswer)
    assert math.isnan(found.ratio)
    assert found.b.count == 0


def test_devices_with_few_samples_are_left_out_and_told(planted: Planted) -> None:
    fill(planted, np.random.default_rng(6), 5, {"": 1.0})
    put(planted, "few", "1", "", 0, [1.0] * 3)
    put(planted, "few", "2", "", 0, [9.0] * 3)
    planted.commit()
    found = compare(planted)
    assert found.devices == 5
    assert "left out: 1 device with fewer than 20 samples" in found.notes


def test_a_heavier_tail_is_seen_though_the_rmse_is_equal(planted: Planted) -> None:
    rng = np.random.default_rng(7)
    for number in range(10):
        put(planted, f"d{number}", "1", "", 0, errors(rng, 2_000))
        e = rng.standard_t(5, 2_000) / math.sqrt(5 / 3)
        put(planted, f"d{number}", "2", "", 0, [float(x) for x in e])
    planted.commit()
    found = compare(planted)
    assert 0.95 < found.ratio < 1.05
    assert found.tail_heavier is True
    assert {tail.q: tail.relative > 1 for tail in found.tails} == {
        0.5: False,
        0.9: False,
        0.95: True,
        0.99: True,
    } or found.tails[-1].relative > 1
    assert "the tail is heavier" in " ".join(found.sentences())
    same = compare(planted, where={"device": "d0"})
    assert same.tail_heavier is None


def test_the_sample_weighted_figure_stands_beside(planted: Planted) -> None:
    """A large device that gets worse outweighs nine small ones that get better: both are said."""
    rng = np.random.default_rng(8)
    for number in range(10):
        large = number == 0
        count, factor = (20_000, 1.5) if large else (200, 0.9)
        put(planted, f"d{number}", "1", "", 0, errors(rng, count))
        put(planted, f"d{number}", "2", "", 0, errors(rng, count, factor))
    planted.commit()
    found = compare(planted)
    assert found.ratio < 1 < found.pooled.ratio
    assert found.pooled.high - found.pooled.low > 1  # one device decides, and the interval says so


@pytest.mark.parametrize(
    "asked",
    [
        {"a": "1"},
        {"a": "1", "b": "1"},
        {"a": "1", "b": "2", "version": "1"},
        {"a": "1", "b": "2", "by": ["version"]},
        {"a": "1", "b": "2", "effect": "1"},
    ],
)
def test_wrong_questions_are_refused(planted: Planted, asked: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        planted.ask("compare", **asked)


def test_the_interval_covers_and_p_values_are_what_they_say() -> None:
    """Devices that differ by 20 % and gain 5 % more or less: 95 % of intervals hold the truth."""
    rng = np.random.default_rng(9)
    truth, held, small, runs = math.log(0.9), 0, 0, 400
    for _ in range(runs):
        a, b, c = {}, {}, {}
        for number in range(6):
            scale = math.exp(rng.normal(0, 0.2))
            gain = math.exp(truth + rng.normal(0, 0.05))
            a[str(number)] = stats_of(errors(rng, 100, scale))
            b[str(number)] = stats_of(errors(rng, 100, scale * gain))
            c[str(number)] = stats_of(errors(rng, 100, scale))
        low, high = by_devices(a, b).interval()
        held += low <= math.exp(truth) <= high
        small += by_devices(a, c).two_sided() < 0.05
    print(f"seed 9: {held} of {runs} intervals hold the truth, {small} false alarms at 5 %")
    assert 0.92 <= held / runs <= 0.98
    assert 0.02 <= small / runs <= 0.08


def test_how_many_devices_are_needed() -> None:
    # By hand: sd 0.1 of the log ratio, log 1.1 = 0.0953: G = 11 (power 0.80), as R's power.t.test
    estimate = Estimate(0.0, 0.1 / math.sqrt(20), 19.0, 20, "paired")
    assert devices_needed(estimate, 1.1) == 11
    assert devices_needed(estimate, 1 / 1.1) == 11
    assert devices_needed(estimate, 3.0) == 3


def test_holm_is_the_textbook_s() -> None:
    assert holm([0.01, 0.02, 0.03]) == [0.03, 0.04, 0.04]
    assert holm([]) == []


def test_pooled_is_a_jackknife_over_devices() -> None:
    rng = np.random.default_rng(10)
    a = {str(n): stats_of(errors(rng, 50 + 40 * n)) for n in range(6)}
    b = {str(n): stats_of(errors(rng, 50 + 40 * n, 1.2)) for n in range(6)}

    def theta(names: list[str]) -> float:
        parts = [
            sum(arm[n].mse * arm[n].count for n in names) / sum(arm[n].count for n in names)
            for arm in (a, b)
        ]
        return 0.5 * math.log(parts[1] / parts[0])

    whole = theta(list(a))
    left = [theta([n for n in a if n != out]) for out in a]
    expected = math.sqrt(5 / 6 * sum((each - whole) ** 2 for each in left))
    found = pooled(a, b)
    assert (found.value, found.error) == pytest.approx((whole, expected), rel=1e-9)
    assert 1 <= found.freedom <= 5


def test_gate(planted: Planted, tmp_path: Path) -> None:
    fill(planted, np.random.default_rng(11), 12, {"day": 0.9, "night": 1.3})

    def verdict(**asked: object) -> tuple[str, list[str]]:
        found = planted.ask("gate", a="1", b="2", **asked)
        assert isinstance(found, GateAnswer)
        return found.verdict, [check.verdict for check in found.checks]

    assert verdict(max_ratio="1.05", by=["segment"])[0] == "fail"
    assert verdict(max_ratio="1.05", segment="day") == ("pass", ["pass"])
    assert verdict(max_ratio="1.05", segment="night") == ("fail", ["fail"])
    assert verdict(max_ratio="1.5", by=["segment"]) == ("pass", ["pass"] * 3)
    night = compare(planted, segment="night").ratio
    assert verdict(max_ratio=str(night), segment="night") == (
        "not enough data",
        ["not enough data"],
    )
    assert verdict(max_ratio="9", segment="night", device="d0")[0] == "not enough data"
    with pytest.raises(SettingsError, match="max-ratio"):
        planted.ask("gate", a="1", b="2")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--max-ratio", "1.5"), 0),
        (("--max-ratio", "0.5"), 1),
        (("--max-ratio", "1.0", "--device", "d0"), 2),
        ((), 78),
        (("--max-ratio", "x"), 78),
    ],
)
def test_gate_answers_by_its_exit_code(tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    from support.processes import edgemse

    planted = Planted(tmp_path / "fleet.duckdb")
    fill(planted, np.random.default_rng(12), 6, {"": 1.0})
    planted.store.close()
    common = ("--from", tmp_path / "fleet.duckdb", "--a", "1", "--b", "2", "--format", "json")
    for command in (("gate",), ("fleet", "gate")):
        done = edgemse(*command, *common, *options)
        assert done.returncode == code, done.stderr
        assert (done.stderr.count("\n")) == (code not in (0, 1))


def test_versions_with_the_same_errors_are_equal(planted: Planted) -> None:
    rng = np.random.default_rng(13)
    for number in range(6):
        e = errors(rng, 2_000)
        put(planted, f"d{number}", "1", "", 0, e)
        put(planted, f"d{number}", "2", "", 0, e)
    planted.commit()
    found = compare(planted)
    assert [found.ratio, found.low, found.high, found.p_value] == [1.0] * 4
    assert found.tail_heavier is False
    assert found.needed.devices is None
    passed = planted.ask("gate", a="1", b="2", max_ratio="1")
    assert isinstance(passed, GateAnswer)
    assert passed.verdict == "pass"


def test_ratios_beyond_floats_are_no_crash(planted: Planted) -> None:
    for number, powers in enumerate(((55, 0), (0, 0), (0, 55))):
        for version, power in zip("12", powers, strict=True):
            put(planted, f"d{number}", version, "", 0, [10.0**power, -1.1 * 10.0**power] * 20)
    planted.commit()
    found = compare(planted)
    assert found.ratio == pytest.approx(1.0)
    assert found.low < 1e-100
    assert found.high > 1e100
    assert found.pooled.ratio == pytest.approx(1.0)
    assert found.pooled.high > 1e300
    beyond = Estimate(0.0, 400.0, 2.0, 3, "paired")
    assert beyond.interval() == (0.0, math.inf)


def test_a_device_that_has_nearly_all_of_the_error_leaves_the_others_theirs() -> None:
    a = {str(n): stats_of([1.0, -1.0] * 20) for n in range(4)}
    b = {str(n): stats_of([2.0, -2.0] * 20) for n in range(4)} | {"0": stats_of([1e20] * 40)}
    found = pooled(a, b)
    whole = 0.5 * math.log((1e40 + 12) / 4)
    without = [math.log(2), *[0.5 * math.log((1e40 + 8) / 3)] * 3]
    expected = math.sqrt(3 / 4 * sum((each - whole) ** 2 for each in without))
    assert found.error == pytest.approx(expected, rel=1e-9)


def test_devices_that_are_left_out_are_told_whatever_for(planted: Planted) -> None:
    fill(planted, np.random.default_rng(14), 5, {"": 1.0})
    put(planted, "perfect", "1", "", 0, [1.0] * 30)
    put(planted, "perfect", "2", "", 0, [0.0] * 30)
    for name in ("x", "y"):
        put(planted, name, "2", "", 0, errors(np.random.default_rng(15), 100))
    planted.commit()
    found = compare(planted)
    assert (found.method, found.devices) == ("paired", 5)
    notes = " ".join(found.notes)
    assert "left out: 1 device without any error in a version" in notes
    assert "3 devices that ran one of the versions only" in notes


def test_a_spread_next_to_nothing_needs_the_fewest_devices() -> None:
    assert devices_needed(Estimate(0.0, 1e-12, 19.0, 20, "paired"), 1.05) == 3


def test_nothing_but_nan_is_not_enough(planted: Planted) -> None:
    for number in range(4):
        for version in "12":
            put(planted, f"d{number}", version, "s", 0, [math.nan] * 30)
    planted.commit()
    found = compare(planted, by=["segment"])
    assert (found.method, math.isnan(found.ratio), found.a.nonfinite) == ("", True, 120)
    assert [segment.worse for segment in found.segments] == [None]
