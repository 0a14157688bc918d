"""Canaries that are not like the fleet: Simpson's paradox, planted and taken out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.fleet import START, Planted, stats_of

from edgemse.cells import Series
from edgemse.fleet.compare import CompareAnswer
from edgemse.fleet.mixture import _reweighted
from edgemse.stats.error_stats import ErrorStats

LEVELS = {"easy": 0.5, "hard": 2.0}
FLEET = {"easy": 500, "hard": 500}
CANARY = {"easy": 900, "hard": 100}


def put(
    planted: Planted, rng: np.random.Generator, device: str, version: str, mix: dict[str, int]
) -> None:
    """Put a version on a device; version 2 is 1.2 times worse in each segment."""
    for segment, count in mix.items():
        scale = LEVELS[segment] * (1.2 if version == "2" else 1.0)
        errors = [float(e) for e in rng.normal(0, scale, count)]
        series = Series("pump", version, segment=segment)
        planted.put(device, stats_of(errors), start=START, width=3_600, series=series)


def compare(planted: Planted, **asked: object) -> CompareAnswer:
    planted.commit()
    found = planted.ask("compare", a="1", b="2", **asked)
    assert isinstance(found, CompareAnswer)
    return found


def test_a_canary_on_easy_segments_looks_better_and_is_worse(planted: Planted) -> None:
    rng = np.random.default_rng(1)
    for number in range(8):
        put(planted, rng, f"d{number}", "1", FLEET)
        if number < 5:
            put(planted, rng, f"d{number}", "2", CANARY)
    found = compare(planted)
    mix = found.mix
    assert max(found.ratio, found.pooled.ratio) < 0.8  # worse in each segment, better in all
    assert mix.ratio == pytest.approx(1.2, rel=0.06)
    assert mix.low < 1.2 < mix.high
    assert mix.low > 1
    assert mix.by == ("segment",)
    shares = {part.by["segment"]: (part.share_a, part.share_b) for part in mix.segments}
    assert shares["easy"] == pytest.approx((0.5, 0.9))
    fleet = (8 * 500 + 5 * 900) / 13_000
    assert mix.segments_unlike == pytest.approx(0.9 - fleet)
    assert (mix.devices, mix.devices_a, mix.devices_b, mix.devices_both) == (8, 8, 5, 5)
    assert mix.devices_unlike == pytest.approx(3_000 / 13_000)
    assert mix.covered == 1.0
    said = " ".join(found.sentences())
    assert "not mixed like the fleet's (24.6 % in other segment, 23.1 % on other devices)" in said
    assert CompareAnswer.from_json(found.to_json()).to_json() == found.to_json()


def test_other_devices_are_reweighted_by_segment(planted: Planted) -> None:
    rng = np.random.default_rng(2)
    for number in range(6):
        put(planted, rng, f"a{number}", "1", FLEET)
        put(planted, rng, f"b{number}", "2", CANARY)
    found = compare(planted)
    assert found.method == "unpaired"
    assert found.ratio < 0.8
    assert found.mix.low < 1.2 < found.mix.high
    assert found.mix.devices_both == 0
    assert "with the fleet's mix the ratio is" in " ".join(found.sentences())


def test_a_mix_of_devices_that_cannot_be_taken_out_is_said_so(planted: Planted) -> None:
    rng = np.random.default_rng(9)
    for number in range(6):
        put(planted, rng, f"a{number}", "1", FLEET)
        put(planted, rng, f"b{number}", "2", FLEET)
    said = " ".join(compare(planted).sentences())
    assert "(50.0 % on other devices); these cells cannot take that out" in said


def test_an_attribute_may_be_the_mix(planted: Planted) -> None:
    rng = np.random.default_rng(3)
    for number in range(16):
        old, easy = number % 2 == 0, number < 8
        version = "2" if old == easy or number % 4 == 0 else "1"
        put(planted, rng, f"d{number}", version, {"easy" if easy else "hard": 300})
        planted.say(f"d{number}", site="easy" if easy else "hard")
    found = compare(planted, by=["site"])
    assert found.mix.by == ("site",)
    assert {part.by["site"] for part in found.mix.segments} == {"easy", "hard"}
    assert found.mix.ratio == pytest.approx(1.2, rel=0.1)


def test_a_mix_like_the_fleet_s_changes_nothing_and_is_not_spoken_of(planted: Planted) -> None:
    rng = np.random.default_rng(4)
    for number in range(5):
        for version in "12":
            put(planted, rng, f"d{number}", version, FLEET)
    found = compare(planted)
    assert found.mix.ratio == pytest.approx(found.pooled.ratio, rel=1e-12)
    assert (found.mix.low, found.mix.high) == pytest.approx(
        (found.pooled.low, found.pooled.high), rel=1e-9
    )
    assert "not mixed like" not in " ".join(found.sentences())


def test_too_few_devices_have_a_ratio_without_an_interval(planted: Planted) -> None:
    rng = np.random.default_rng(5)
    put(planted, rng, "d", "1", FLEET)
    put(planted, rng, "d", "2", CANARY)
    mix = compare(planted).mix
    assert mix.ratio == pytest.approx(1.2, rel=0.15)
    assert math.isnan(mix.low)


def test_a_segment_that_one_version_lacks_is_not_covered(planted: Planted) -> None:
    rng = np.random.default_rng(6)
    for number in range(4):
        put(planted, rng, f"d{number}", "1", FLEET)
        put(planted, rng, f"d{number}", "2", {"easy": 500})
    mix = compare(planted).mix
    assert mix.covered == pytest.approx(1_000 / 1_500)
    assert mix.low < 1.2 < mix.high


def test_nobody_ran_a_version(planted: Planted) -> None:
    put(planted, np.random.default_rng(7), "d", "1", FLEET)
    mix = compare(planted).mix
    assert (mix.covered, mix.devices_b) == (0.0, 0)
    assert math.isnan(mix.ratio)
    assert math.isnan(mix.segments_unlike)


@pytest.mark.parametrize("other", [0, 100], ids=["same devices", "other devices"])
def test_the_reweighted_interval_covers(other: int) -> None:
    rng = np.random.default_rng(8)
    truth, held, runs = 1.2, 0, 200
    for _ in range(runs):
        a: dict[tuple[tuple[str, ...], str], ErrorStats] = {}
        b: dict[tuple[tuple[str, ...], str], ErrorStats] = {}
        for number in range(8):
            base = math.exp(rng.normal(0, 0.1))
            for arm, mix in ((a, FLEET), (b, CANARY)):
                base = math.exp(rng.normal(0, 0.1)) if arm is b and other else base
                factor = math.exp(math.log(truth) + rng.normal(0, 0.03)) if arm is b else 1.0
                for segment, count in mix.items():
                    device = f"d{number + (other if arm is b else 0)}"
                    errors = rng.normal(0, base * factor * LEVELS[segment], count)
                    arm[((segment,), device)] = stats_of([float(e) for e in errors])
        fleet = dict.fromkeys(b, 50.0) | dict.fromkeys(a, 500.0)
        low, high = _reweighted(a, b, fleet)[0].interval()
        held += low <= truth <= high
    print(f"seed 8: {held} of {runs} intervals hold the truth")
    assert 0.91 <= held / runs <= 0.99
