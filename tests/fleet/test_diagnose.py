"""Diagnoses of planted truths: each names what was planted, and nothing else before it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from support.engines import Factory, duckdb_file
from support.fleet import PUMP, START, Planted, stats_of

from edgemse.cells import Series
from edgemse.cli import entry
from edgemse.errors import UsageError
from edgemse.fleet.diagnose import DiagnoseAnswer
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats

HOUR = 3_600
HOURS, TROUBLE = 96, 84
"""Four days, the trouble in the last twelve hours."""
DEVICES = [f"pi-{number}" for number in range(8)]
SEGMENTS = ("indoor", "outdoor", "roof", "cellar")


@pytest.fixture
def engine() -> Factory:
    """DuckDB alone: a diagnosis asks what test_engines.py holds to one answer on every engine."""
    return duckdb_file


@dataclass(frozen=True)
class Hour:
    """How one device measured one segment in one hour."""

    scale: float = 1.0
    mean: float = 20.0
    unit: float = 1.0
    version: str = "1"
    labelled: float = 1.0
    count: int = 40


Plan = Callable[[str, str, int], Hour]


@cache
def covered(predictions: int, came: int) -> Coverage:
    coverage = Coverage()
    coverage.predictions = predictions
    for _ in range(came):
        coverage.match(60_000)
    return coverage


def plant(planted: Planted, plan: Plan, *, seed: int = 1, hours: int = HOURS) -> None:
    rng = np.random.default_rng(seed)
    for device in DEVICES:
        for segment in SEGMENTS:
            for hour in range(hours):
                each = plan(device, segment, hour)
                y = rng.normal(each.mean, 5.0, each.count)
                predicted = (y + rng.normal(0, each.scale, each.count)) * each.unit
                stats, came = ErrorStats(), round(each.labelled * each.count)
                stats.update_many(y[:came], predicted[:came])
                coverage = covered(each.count, came)
                series = Series("pump", each.version, segment=segment)
                at = START + hour * HOUR
                planted.put(device, stats, start=at, width=HOUR, series=series, coverage=coverage)
    planted.commit()


def diagnose(planted: Planted, **asked: object) -> DiagnoseAnswer:
    found = planted.ask("diagnose", **({"model": "pump"} | asked))
    assert isinstance(found, DiagnoseAnswer)
    return found


def verdicts(found: DiagnoseAnswer) -> dict[str, str]:
    return {step.name: step.verdict for step in found.steps}


def done(found: DiagnoseAnswer) -> list[tuple[str, str]]:
    return [(action.do, action.what) for action in found.actions]


def test_nothing_is_wrong_and_that_is_said(planted: Planted) -> None:
    plant(planted, lambda _device, _segment, _hour: Hour())
    found = diagnose(planted)
    assert verdicts(found) == dict.fromkeys(
        ("labels", "version", "devices", "segments", "drift"), "fine"
    )
    assert done(found) == [("nothing", "")]
    assert "nothing is wrong that these figures could show" in found.actions[0].why
    assert (found.began, found.until) == ("recent", "2026-01-05T00:00:00Z")
    assert (found.since, found.reference) == (
        "2026-01-04T00:00:00Z",
        "2026-01-01T00:00:00Z/2026-01-04T00:00:00Z",
    )
    assert [step.step for step in found.steps] == [1, 2, 3, 3, 4]
    assert DiagnoseAnswer.from_json(found.to_json()).to_json() == found.to_json()


def test_labels_that_are_late_make_it_wait(planted: Planted) -> None:
    plant(planted, lambda _d, _s, hour: Hour(labelled=0.3 if hour >= TROUBLE else 0.95))
    found = diagnose(planted, since="2026-01-04T12:00Z")
    assert verdicts(found)["labels"] == "trouble"
    assert done(found)[0] == ("wait", "")
    step = found.steps[0]
    assert step.named == ("late",)
    assert step.evidence["labelled now"] == pytest.approx(0.3)
    assert step.evidence["labelled then"] == pytest.approx(0.95)
    assert "30.0 % of the predictions of now have their label (95.0 % then)" in step.finding


def test_labels_that_never_come_make_it_wait(planted: Planted) -> None:
    plant(planted, lambda _d, _s, _h: Hour(labelled=0.0), hours=24)
    assert done(diagnose(planted))[0] == ("wait", "")


def test_labels_that_are_refused_are_looked_at(planted: Planted) -> None:
    refused = ErrorStats()
    refused.update_many([float("nan")] * 5_000, [1.0] * 5_000)
    planted.put("pi-0", refused, start=START + TROUBLE * HOUR, width=HOUR, series=PUMP)
    plant(planted, lambda _d, _s, _h: Hour())
    found = diagnose(planted, since="2026-01-04T12:00Z")
    assert done(found) == [("look at labels", "")]
    assert found.steps[0].named == ("nonfinite",)


@pytest.mark.parametrize(("predictions", "orphans"), [(10, 6), (10, 1_000), (0, 5)])
def test_advice_about_labels_rests_on_enough_of_them(
    planted: Planted, predictions: int, orphans: int
) -> None:
    coverage = covered(predictions, predictions).copy()
    coverage.orphan = orphans
    stats = ErrorStats()
    stats.update_many([1.0] * predictions, [1.5] * predictions)
    planted.put("pi-0", stats, start=START, width=HOUR, series=PUMP, coverage=coverage)
    planted.commit()
    found = diagnose(planted, since="2026-01-01")
    advised = [action.do for action in found.actions]
    enough = predictions + orphans >= 20
    assert ("look at labels" in advised) == (verdicts(found)["labels"] == "trouble") == enough


def test_a_time_without_cells_is_not_enough_data(planted: Planted) -> None:
    plant(planted, lambda _d, _s, _h: Hour(), hours=24)
    found = diagnose(planted, since="2026-01-20")
    assert set(verdicts(found).values()) == {"fine", "not enough data"}
    assert done(found) == [("wait", "")]
    assert "version, devices, segments, drift" in found.actions[0].why
    assert not found.cells_found


def test_a_bad_version_is_rolled_back(planted: Planted) -> None:
    def plan(_device: str, _segment: str, hour: int) -> Hour:
        return Hour(version="2", scale=1.4) if hour >= TROUBLE else Hour()

    plant(planted, plan)
    found = diagnose(planted)
    assert (found.began, found.since) == ("change", "2026-01-04T12:00:00Z")
    assert done(found) == [("roll back", "2")]
    assert found.steps[1].named == ("2",)
    assert found.steps[1].evidence["ratio 2"] == pytest.approx(1.4, rel=0.03)
    assert "one after the other" in found.steps[1].finding


@pytest.mark.parametrize("canaries", [2, 3])
def test_a_canary_on_devices_that_always_were_worse_is_not_blamed(
    planted: Planted, canaries: int
) -> None:
    """The version changes nothing; compared with other devices it is 1.5 times as wrong."""

    def plan(device: str, _segment: str, hour: int) -> Hour:
        if device not in DEVICES[:canaries]:
            return Hour()
        return Hour(scale=1.5, version="2" if hour >= TROUBLE else "1")

    plant(planted, plan)
    found = diagnose(planted, since="2026-01-04T12:00Z")
    assert sorted(done(found)) == [("look at device", device) for device in DEVICES[:canaries]]
    assert verdicts(found)["version"] == "fine"
    assert all("as before" in action.why for action in found.actions)
    assert "its devices to themselves before" in found.steps[1].finding


def test_nothing_is_wrong_but_a_device_is_silent(planted: Planted) -> None:
    planted.say("pi-9", site="roof")
    plant(planted, lambda _device, _segment, _hour: Hour())
    found = diagnose(planted)
    assert done(found) == [("nothing", "")]
    assert found.actions[0].why.endswith("; silent, and so without figures: pi-9")


def test_two_canaries_are_not_blamed_for_what_all_devices_did(planted: Planted) -> None:
    def plan(device: str, _segment: str, hour: int) -> Hour:
        canary = device in DEVICES[:2] and hour >= TROUBLE
        return Hour(scale=1.5 if hour >= TROUBLE else 1.0, version="2" if canary else "1")

    plant(planted, plan)
    assert done(diagnose(planted, since="2026-01-04T12:00Z")) == [("retrain", "")]


def test_a_bad_canary_is_rolled_back_and_its_devices_are_not_blamed(planted: Planted) -> None:
    def plan(device: str, _segment: str, hour: int) -> Hour:
        canary = device in DEVICES[:2] and hour >= TROUBLE
        return Hour(version="2", scale=1.8) if canary else Hour()

    plant(planted, plan)
    # Two canaries are too few to compare by devices; by windows the figures speak of these two.
    found = diagnose(planted, since="2026-01-04T12:00Z")
    assert done(found) == [("roll back", "2")]
    assert set(found.steps[2].named) == set(DEVICES[:2])


def test_a_version_that_is_worse_in_one_segment_is_rolled_back_though_better_in_all(
    planted: Planted,
) -> None:
    plant(planted, lambda _d, _s, _h: Hour(version="9"))

    def plan(_device: str, segment: str, _hour: int) -> Hour:
        return Hour(version="10", scale=1.25 if segment == "roof" else 0.8)

    plant(planted, plan, seed=2)
    found = diagnose(planted)
    assert done(found)[0] == ("roll back", "10")
    assert "worse in segment roof" in found.actions[0].why
    assert found.steps[1].evidence["ratio 10"] < 1


def test_an_old_version_that_still_runs_is_nothing_to_roll_back(planted: Planted) -> None:
    def plan(device: str, _segment: str, hour: int) -> Hour:
        old = device in DEVICES[:3] or hour < 6
        return Hour(version="1", scale=1.3) if old else Hour(version="2")

    plant(planted, plan)
    found = diagnose(planted)
    assert "roll back" not in [action.do for action in found.actions]
    assert verdicts(found)["version"] == "fine"


def test_a_good_new_version_stays(planted: Planted) -> None:
    plant(planted, lambda _d, _s, hour: Hour(version="2", scale=0.8) if hour >= 72 else Hour())
    found = diagnose(planted)
    assert verdicts(found)["version"] == "fine"
    assert done(found)[0][0] in ("nothing", "watch")


@pytest.mark.parametrize("since", [0, TROUBLE], ids=["always", "new"])
def test_one_bad_device(planted: Planted, since: int) -> None:
    def plan(device: str, _segment: str, hour: int) -> Hour:
        return Hour(scale=1.8) if device == "pi-3" and hour >= since else Hour()

    plant(planted, plan)
    found = diagnose(planted)
    assert done(found) == [("look at device", "pi-3")]
    assert found.steps[2].named == ("pi-3",)
    assert ("new" if since else "as before") in found.actions[0].why


@pytest.mark.parametrize("since", [0, TROUBLE], ids=["always", "new"])
def test_one_bad_segment(planted: Planted, since: int) -> None:
    def plan(_device: str, segment: str, hour: int) -> Hour:
        return Hour(scale=1.8) if segment == "roof" and hour >= since else Hour()

    plant(planted, plan)
    found = diagnose(planted)
    assert done(found) == [("look at segment", "roof")]
    assert found.steps[3].named == ("roof",)


def test_one_of_two_devices_that_got_worse(planted: Planted) -> None:
    def plan(device: str, _segment: str, hour: int) -> Hour:
        bad = device == "pi-1" and hour >= TROUBLE
        return Hour(scale=1.35) if bad else Hour()

    plant(planted, plan)
    for where in ({"device": "pi-1"}, {}):
        found = diagnose(planted, since="2026-01-04T12:00Z", where=where)
        assert found.actions[0].do == ("retrain" if where else "look at device")


def test_labels_that_drift_ask_for_training(planted: Planted) -> None:
    def plan(_device: str, _segment: str, hour: int) -> Hour:
        return Hour(mean=26.0, scale=1.4) if hour >= TROUBLE else Hour()

    plant(planted, plan)
    found = diagnose(planted)
    assert done(found) == [("retrain", "")]
    assert "label" in found.steps[4].named
    assert "label drifted, and the error rose with it" in found.actions[0].why


def test_labels_that_drift_without_harm_are_watched(planted: Planted) -> None:
    plant(
        planted,
        lambda _d, _s, hour: (
            Hour(mean=26.0, scale=0.9 if hour >= TROUBLE else 1.0) if hour >= TROUBLE else Hour()
        ),
    )
    found = diagnose(planted, since="2026-01-04T12:00Z")
    assert done(found) == [("watch", "")]


def test_another_scale_is_named_so(planted: Planted) -> None:
    plant(planted, lambda _d, _s, hour: Hour(unit=0.001 if hour >= TROUBLE else 1.0))
    found = diagnose(planted)
    assert done(found) == [("check the scale", "")]
    assert "scaling" in found.steps[4].named
    assert found.steps[4].evidence["calibration slope now"] == pytest.approx(1000, rel=0.1)


def test_an_error_that_grew_everywhere_asks_for_training(planted: Planted) -> None:
    plant(planted, lambda _d, _s, hour: Hour(scale=1.3 if hour >= TROUBLE else 1.0))
    found = diagnose(planted)
    assert done(found) == [("retrain", "")]
    assert "explains it" in found.actions[0].why


def test_a_feature_that_drifts_is_named(planted: Planted) -> None:
    rng = np.random.default_rng(3)
    for hour in range(HOURS):
        stats = ErrorStats()
        mean = 5.0 if hour >= TROUBLE else 0.0
        stats.update_many(np.zeros(200), rng.normal(mean, 2.0, 200))
        series = Series("pump", "1", measure="feature:temperature")
        planted.put("pi-0", stats, start=START + hour * HOUR, width=HOUR, series=series)
    plant(planted, lambda _d, _s, hour: Hour(scale=1.3 if hour >= TROUBLE else 1.0))
    found = diagnose(planted)
    assert done(found) == [("retrain", "")]
    assert "feature:temperature" in found.steps[4].named


def test_two_hours_are_not_enough_data(planted: Planted) -> None:
    plant(planted, lambda _d, _s, _h: Hour(count=3), hours=2)
    found = diagnose(planted)
    assert done(found) == [("wait", "")]
    assert "not enough data" in found.actions[0].why
    assert verdicts(found)["drift"] == "not enough data"


def test_it_is_a_command_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = Planted(tmp_path / "fleet.duckdb")
    plant(planted, lambda device, _s, _h: Hour(scale=2.0 if device == "pi-3" else 1.0), hours=48)
    planted.store.close()

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["edgemse", *arguments, "--from", str(planted.path)])
        assert entry.main() == 0
        return capsys.readouterr().out

    table = run("diagnose", "pump")
    assert "Do: look at device pi-3 (pi-3 has 1." in " ".join(table.split())
    assert run("fleet", "diagnose", "--model", "pump") == table
    told = json.loads(run("diagnose", "pump", "--format", "json"))
    assert told["actions"][0] | {"why": ""} == {"do": "look at device", "what": "pi-3", "why": ""}
    lines = run("diagnose", "pump", "--format", "markdown").splitlines()
    place = lines.index("| step | question | verdict |")
    assert lines[place + 1 : place + 3] == ["| --- | --- | --- |", "| 1 | labels | fine |"]
    assert any(line.startswith("Do: look at device pi-3") for line in lines[:place])


def test_one_model_at_a_time(planted: Planted) -> None:
    for model in ("fan", "pump"):
        stats = ErrorStats()
        stats.update(1.0, 2.0)
        planted.put("pi", stats, series=Series(model, "1"))
    planted.commit()
    with pytest.raises(UsageError, match="wanted one model, one of fan, pump"):
        planted.ask("diagnose")
    assert diagnose(planted).steps


def test_a_version_without_a_name_is_named(planted: Planted) -> None:
    planted.put("pi", stats_of([1.0, 2.0]), series=Series("pump", ""))
    planted.commit()
    assert diagnose(planted).steps[1].finding == "one version, ''"


def test_outputs_that_are_mixed_are_noted(planted: Planted) -> None:
    for output in ("", "1h"):
        planted.put("pi", stats_of([1.0, 2.0]), series=Series("pump", "1", output))
    planted.commit()
    mixed = "2 outputs are taken together; ask for one, of '', 1h"
    assert mixed in diagnose(planted).notes
    assert mixed not in diagnose(planted, output="1h").notes


def test_spans_that_overlap_are_refused(planted: Planted) -> None:
    plant(planted, lambda _d, _s, _h: Hour(count=3), hours=4)
    with pytest.raises(UsageError, match="do not overlap"):
        diagnose(planted, reference="2026-01-01/2026-01-02", since="2026-01-01T12:00Z")
