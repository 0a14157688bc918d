"""The file of objectives: what it may say, and what is refused in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.fleet import NOW, OBJECTIVES

from edgemse.errors import SettingsError
from edgemse.fleet.asked import Asked
from edgemse.fleet.promised import Objective, objectives_of
from edgemse.fleet.questions import find

ROOT = Path(__file__).parent.parent.parent
SHARE = {"name": "a", "kind": "share", "tolerance": 2, "target": 0.999, "owner": "anna"}
LABELS = {"name": "b", "kind": "coverage", "labels_within_seconds": 60, "target": 0.99}
LABELS |= {"owner": "anna"}
RMSE = {"name": "a", "kind": "rmse", "limit": 1.5, "target": 0.99, "owner": "anna"}


def read(**table: object) -> Objective:
    (found,) = objectives_of(json.dumps({"objective": [table]}))
    return found


def test_what_is_not_said_has_a_default() -> None:
    found = read(**SHARE)
    assert (found.period_days, found.severity, found.by, found.tolerance) == (28, "page", [], 2.0)
    assert found.burn == ["1h/5m", "6h/30m", "1d/2h", "3d/6h"]
    assert found.budget == pytest.approx(0.001)
    assert found.selection() == {"measure": ""}
    window = read(**RMSE, window_seconds="6h", model="pump", where={"site": "north"})
    assert (window.window_seconds, window.samples_min, window.per_device) == (21_600, 20, True)
    assert window.selection() == {"model": "pump", "measure": "", "site": "north"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (SHARE | {"colour": "red"}, "unknown key 'colour'; known are name, kind"),
        (SHARE | {"kind": "mean"}, "kind: got 'mean', wanted one of share, rmse, cost, coverage"),
        (SHARE | {"target": 1}, "target: got 1, wanted 0.01 to 0.999999"),
        (SHARE | {"target": "99 %"}, "target: got '99 %', wanted a number"),
        (SHARE | {"period_days": 3}, "period_days: got 3, wanted 7 to 366"),
        (SHARE | {"held_by": "b"}, "a: held_by: got 'b', wanted another objective, of kind cov"),
        (SHARE | {"severity": "fax"}, "severity: got 'fax', wanted one of page, ticket"),
        (SHARE | {"tolerance": 0}, "tolerance: got 0, wanted 1e-60 to 1e+60"),
        (SHARE | {"owner": " "}, "owner: got ' ', wanted a text of at least one character"),
        (SHARE | {"runbook": "a\nb"}, "runbook: got 'a\\nb', wanted a text of one line"),
        (SHARE | {"name": "a/b"}, "name 'a/b': wanted 1 to 64 letters"),
        (SHARE | {"limit": 2}, "limit is of kind rmse or cost, not share"),
        (SHARE | {"by": ["site", "site"]}, "by: wanted up to 5 columns, each once"),
        (SHARE | {"burn": ["1h/10m"]}, "burn: got '1h/10m', wanted some of 1h/5m"),
        (SHARE | {"burn": []}, "burn: wanted at least one pair, each once"),
        (SHARE | {"model": "a", "where": {"model": "b"}}, "model: given beside where and in it"),
        (SHARE | {"where": {"site": "\ud800"}}, "the character U+D800; wanted a name"),
        (RMSE | {"window_seconds": 7}, "window_seconds: got 7, wanted one of 60, 300"),
        (RMSE | {"measure": "latency"}, "measure: a rmse is of the error; wanted no measure"),
        (RMSE | {"kind": "cost"}, "cost is missing; cost needs it"),
        (RMSE | {"kind": "cost", "cost": "over=1"}, "cost 'over=1': wanted two numbers"),
        (RMSE | {"kind": "coverage"}, "labels_within_seconds is missing; coverage needs it"),
        ({"name": "a"}, "kind is missing; wanted a string"),
    ],
)
def test_what_is_wrong_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**table)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_burn_that_a_target_can_never_reach_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        read(**SHARE | {"target": 0.9, "period_days": 30})
    assert (
        "1h/5m raises an alert above 14.4 times the budget; a target of 0.9 burns at most 10 times,"
        ' so that it never would; say burn = ["6h/30m", "1d/2h", "3d/6h"], or a higher target'
    ) in str(caught.value)
    found = read(**SHARE | {"target": 0.9, "burn": ["6h/30m", "1d/2h", "3d/6h"]})
    assert found.burn == ["6h/30m", "1d/2h", "3d/6h"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objective = 3", "objective: got 3, wanted a list"),
        ("", "objective is missing"),
        ("objective = []", "0 objectives; wanted 1 to 100"),
        ("[[objective", "not TOML"),
        ("{", "not TOML"),
        ("{" + '"a":[' * 100_000, "not TOML"),
        (
            json.dumps({"objective": [SHARE | {"held_by": "b"}, LABELS | {"held_by": "b"}]}),
            "b: held_by: got 'b', wanted another objective, of kind coverage; there are b",
        ),
        (json.dumps({"objective": [SHARE, SHARE]}), "two objectives are called 'a'"),
    ],
)
def test_a_file_that_is_none(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match="objectives: ") as caught:
        objectives_of(text)
    assert message in str(caught.value)


def test_a_tolerance_snaps_where_it_is_asked_to() -> None:
    assert read(**SHARE | {"tolerance": 1.5}).counted_tolerance == 1.5
    assert read(**SHARE | {"tolerance": 1.5, "snap": True}).counted_tolerance == 2 ** (5 / 8)
    assert read(**SHARE | {"tolerance": 4, "snap": True}).counted_tolerance == 4.0


def test_what_is_asked_and_what_is_promised_exclude_each_other_or_not() -> None:
    found = read(**SHARE | {"model": "pump", "by": ["site"]})
    asked = found.selected(Asked(where={"measure": "", "segment": "day"}))
    assert asked is not None
    assert (asked.by, asked.where["model"], asked.where["segment"]) == (("site",), "pump", "day")
    assert found.selected(Asked(where={"measure": "", "model": "fan"})) is None
    assert found.selected(Asked(where={"measure": "latency"})) is None
    other = found.selected(Asked(by=("device",)))
    assert other is not None
    assert other.by == ("device",)


def test_a_question_carries_the_objectives_without_what_a_url_need_not_have() -> None:
    question = find("objectives")
    text = f"# What we owe.\n{OBJECTIVES}  # to whom\n"
    asked = question.parse({"objectives": [text]}, now=NOW)
    again = question.parse({name: [v] for name, v in asked.parameters()[1:]}, now=NOW + 60)
    assert again.options == asked.options
    assert again.until == asked.until == NOW
    assert "owe" not in asked.options["objectives"]
    assert objectives_of(asked.options["objectives"]) == objectives_of(text)
