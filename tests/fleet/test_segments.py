from __future__ import annotations

import math
import random

import numpy as np
import pytest
from support.fleet import START, Planted, follow, stats_of

from edgemse.cells import Series
from edgemse.fleet.noise import noise_of
from edgemse.fleet.segments import SegmentsAnswer
from edgemse.fleet.shrinkage import shrunk
from edgemse.stats.error_stats import ErrorStats


def plant(planted: Planted, scales: dict[str, float], counts: dict[str, int]) -> None:
    """Put twelve hours of each segment, with its scale and samples an hour."""
    rng = random.Random(4)
    for segment, scale in scales.items():
        for hour in range(12):
            errors = [scale * e for e in follow(rng, counts[segment], 0.3)]
            planted.put(
                "pi-1",
                stats_of(errors),
                start=START + 3_600 * hour,
                width=3_600,
                series=Series("pump", "v1", "", segment),
            )
    planted.commit()


def segments(planted: Planted, **asked: object) -> SegmentsAnswer:
    found = planted.ask("segments", **asked)
    assert isinstance(found, SegmentsAnswer)
    return found


def test_segments_are_ranked_by_their_share_of_the_error(planted: Planted) -> None:
    scales = {"day": 1.0, "night": 2.0, "dawn": 1.0, "dusk": 1.0, "noon": 1.1}
    counts = {"day": 100, "night": 50, "dawn": 10, "dusk": 10, "noon": 10}
    plant(planted, scales, counts)
    found = segments(planted)
    assert [group.by["segment"] for group in found.groups[:2]] == ["night", "day"]
    total = sum(group.mse * group.count for group in found.groups)
    for group in found.groups:
        assert group.share == pytest.approx(group.mse * group.count / total, rel=1e-12)
    assert math.fsum(group.share for group in found.groups) == pytest.approx(1, rel=1e-12)
    assert found.table().below[0][:3] == ["total", "2,160", "100.0 %"]
    assert found.groups[0].worse is True
    assert {group.worse for group in found.groups[1:]} == {False}


def test_a_small_group_is_drawn_towards_the_fleet_and_a_large_one_is_not(planted: Planted) -> None:
    names = [f"s{number}" for number in range(12)]
    scales = {name: 1 + 0.01 * place for place, name in enumerate(names)} | {"tiny": 1.6}
    plant(planted, scales, dict.fromkeys(names, 100) | {"tiny": 1})
    found = {group.by["segment"]: group for group in segments(planted).groups}
    tiny, large = found["tiny"], found["s5"]
    middle = sorted(group.rmse for group in found.values())[6]
    assert abs(math.log(tiny.shrunk_rmse / middle)) < 0.5 * abs(math.log(tiny.rmse / middle))
    assert large.shrunk_rmse == pytest.approx(large.rmse, rel=0.05)
    assert tiny.low < tiny.shrunk_rmse < tiny.high
    assert tiny.worse is False


def test_few_groups_are_not_steadied_and_it_is_said(planted: Planted) -> None:
    plant(planted, {"day": 1.0, "night": 2.0}, {"day": 50, "night": 50})
    found = segments(planted)
    assert [group.worse for group in found.groups] == [None, None]
    assert all(group.shrunk_rmse == group.rmse for group in found.groups)
    assert all(group.low < group.rmse < group.high for group in found.groups)
    assert any("fewer than four groups" in note for note in found.notes)


def test_groups_may_be_nested_and_of_attributes(planted: Planted) -> None:
    planted.say("pi-1", site="north")
    plant(planted, {"day": 1.0, "night": 2.0}, {"day": 5, "night": 5})
    found = segments(planted, by=["site", "segment"])
    assert [group.by for group in found.groups] == [
        {"site": "north", "segment": "night"},
        {"site": "north", "segment": "day"},
    ]


def test_a_segment_of_refused_samples_has_no_share(planted: Planted) -> None:
    refused = ErrorStats()
    refused.update(math.nan, 0.0)
    planted.put("pi-1", refused, series=Series("pump", "v1", "", "bad"))
    planted.commit()
    (group,) = segments(planted).groups
    assert (group.nonfinite, math.isnan(group.share), group.worse) == (1, True, None)


def test_steadied_figures_are_nearer_the_truth_and_their_interval_covers() -> None:
    rng = np.random.default_rng(40)
    raw, drawn, covered, groups = 0.0, 0.0, 0, 0
    for _ in range(40):
        truth = np.exp(rng.normal(0, 0.2, size=20))
        sizes = rng.integers(20, 400, size=20)
        states = {}
        for key, (scale, size) in enumerate(zip(truth, sizes, strict=True)):
            states[key] = ErrorStats()
            states[key].update_many(np.zeros(size), scale * rng.laplace(0, 2**-0.5, size))
        found = shrunk(noise_of(states))
        own = np.array([state.rmse for state in states.values()])
        raw += float((np.log(own / truth) ** 2).sum())
        drawn += float((np.log(found.rmse / truth) ** 2).sum())
        covered += int(((found.low <= truth) & (truth <= found.high)).sum())
        groups += 20
    assert drawn < 0.9 * raw
    assert 0.92 < covered / groups < 0.98
