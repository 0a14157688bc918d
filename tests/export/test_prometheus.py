"""Objectives in Prometheus: metrics that it reads, and rules that its own tool finds sound."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.fleet import SHARE, START, tables_of

from edgemse.errors import SettingsError
from edgemse.export.prometheus import metrics, rules
from edgemse.fleet.asked import Asked
from edgemse.fleet.burning import SPANS, Counted
from edgemse.fleet.goods import PERIOD
from edgemse.fleet.objectives import ObjectivesAnswer, row_of
from edgemse.fleet.promised import Objective, objectives_of

PROMTOOL = shutil.which("promtool")
NAMED = 'Halle "3" \\ süd'
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None and "CI" not in os.environ, reason="promtool is not installed"
)


def objective(**table: object) -> Objective:
    (found,) = objectives_of(tables_of(SHARE | table))
    return found


def answered(
    found: Objective, by: dict[str, str], bad: dict[str, int], total: int
) -> ObjectivesAnswer:
    """Return an answer in which each span has so many in all, and so many that are bad."""
    spans = {
        name: Counted(good=float(total - bad.get(name, 0)), total=total)
        for name in (*SPANS, PERIOD)
    }
    return ObjectivesAnswer(asked=Asked(), objectives=(row_of(found, by, spans, recent=True),))


def promtool(*arguments: object, text: str | None = None) -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_figures_become_metrics() -> None:
    found = objective(by=["site"])
    answer = answered(found, {"site": NAMED}, {"5m": 7}, 100)
    text = metrics(answer, START + 0.25)
    label = 'objective="close",by_site="Halle \\"3\\" \\\\ süd"'
    lines = text.splitlines()
    (burn,) = [
        each for each in lines if each.startswith("edgemse_objective_burn{") and "5m" in each
    ]
    assert burn.startswith(f'edgemse_objective_burn{{{label},window="5m"}} ')
    assert float(burn.rpartition(" ")[2]) == pytest.approx(7)
    assert f'edgemse_objective_counted{{{label},window="3d"}} 100' in lines
    assert f"edgemse_objective_budget_left{{{label}}} 1.0" in lines
    assert f"edgemse_objective_absent{{{label}}} 0" in lines
    assert f"edgemse_objectives_evaluated_seconds {START}.250" in lines


def test_what_is_not_known_is_no_metric() -> None:
    row = answered(objective(), {}, {}, 0).objectives[0]
    answer = ObjectivesAnswer(asked=Asked(), objectives=(replace(row, state="absent"),))
    text = metrics(answer, START)
    assert math.isnan(row.budget_left)
    assert "nan" not in text.lower()
    assert 'edgemse_objective_absent{objective="close"} 1' in text
    assert 'edgemse_objective_counted{objective="close",window="1h"} 0' in text


def test_two_columns_of_one_label_are_refused() -> None:
    answer = answered(objective(), {"a-b": "1", "a_b": "2"}, {}, 1)
    with pytest.raises(SettingsError, match="the columns a-b, a_b make two labels 'by_a_b'"):
        metrics(answer, START)


def test_a_ticket_has_no_page() -> None:
    text = rules([objective(severity="ticket", burn=["1h/5m"])])
    assert '"page"' not in text
    assert text.count("record: edgemse:objective_burning") == 1
    assert text.count("alert: EdgemseObjectiveBurns") == 1
    assert "runbook_url" not in text
    assert rules([objective()]).count("alert: EdgemseObjectiveBurns") == 2


@needs_promtool
def test_prometheus_takes_the_metrics_and_the_rules(tmp_path: Path) -> None:
    text = metrics(answered(objective(), {"site": NAMED}, {"1h": 3}, 100), START)
    promtool("check", "metrics", text=text + "\n")
    file = tmp_path / "rules.yml"
    odd = "see {{ $value }} \U0001f600 \u00fc and 'so' \"on\": # no"
    both = [objective(runbook=odd, owner=odd), objective(name="b", severity="ticket")]
    file.write_text(rules(both))
    # A month of 28 days: four pairs each, two alerts and one, absence each, and staleness.
    assert "SUCCESS: 14 rules found" in promtool("check", "rules", "--lint-fatal", file)
    file.write_text(rules([objective(), objective(name="b")]))
    assert "SUCCESS: 15 rules found" in promtool("check", "rules", "--lint-fatal", file)


def series(metric: str, window: str, values: Sequence[float]) -> dict[str, str]:
    name = f'edgemse_objective_{metric}{{objective="close",by_site="north",window="{window}"}}'
    return {"series": name, "values": " ".join(map(repr, values))}


@needs_promtool
@pytest.mark.parametrize(
    ("long", "short", "total", "fires"),
    [
        (20.0, 20.0, 1_000, True),
        (20.0, 13.0, 1_000, False),  # it is over
        (13.44, 20.0, 1_000, False),  # not above the factor
        (20.0, 20.0, 37, False),  # 37 * 0.01 * 13.44 is below 5
        (20.0, 20.0, 38, True),
    ],
)
def test_an_alert_is_raised_when_the_question_says_so(
    tmp_path: Path, long: float, short: float, total: int, fires: bool
) -> None:
    found = objective(runbook="https://wiki/{{close}}")
    (tmp_path / "rules.yml").write_text(rules([found]))
    spans: dict[str, Counted | None] = {name: Counted() for name in (*SPANS, PERIOD)}
    for name, burn in (("1h", long), ("5m", short)):
        spans[name] = Counted(good=total * (1 - burn * found.budget), total=total)
    row = row_of(found, {"site": "north"}, spans, recent=True)
    assert row.raises == ("page" if fires else "")
    raised = {
        "exp_labels": {
            "objective": "close",
            "by_site": "north",
            "severity": "page",
            "owner": "anna",
        },
        "exp_annotations": {
            "summary": "close: the error budget burns too fast",
            "runbook_url": "https://wiki/{{close}}",
        },
    }
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    series("burn", "1h", [0.5, long, 0.5]),
                    series("burn", "5m", [0.5, short, 0.5]),
                    series("counted", "1h", [total] * 3),
                    series("counted", "5m", [total] * 3),
                ],
                "alert_rule_test": [
                    {
                        "eval_time": f"{minute}m",
                        "alertname": "EdgemseObjectiveBurns",
                        "exp_alerts": [raised] if minute == 1 and fires else [],
                    }
                    for minute in range(3)
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(test))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "test.yml")


@needs_promtool
@pytest.mark.parametrize("guard_by", [["site"], []])
def test_late_labels_hold_what_they_make_provisional(tmp_path: Path, guard_by: list[str]) -> None:
    guard = {"name": "labels", "kind": "coverage", "labels_within_seconds": 60, "target": 0.99}
    guard |= {"owner": "ben", "severity": "ticket", "by": guard_by}
    both = objectives_of(tables_of(SHARE | {"held_by": "labels", "by": ["site"]}, guard))
    (tmp_path / "rules.yml").write_text(rules(both))
    site = ',by_site="north"' if guard_by else ""
    south = [
        {key: value.replace("north", "south") for key, value in each.items()}
        for each in (series("burn", "1h", [20.0] * 3), series("burn", "5m", [20.0] * 3))
    ]
    late = {"series": f'edgemse_objective_absent{{objective="labels"{site}}}', "values": "0 1 0"}

    def raised(minute: int) -> list[dict[str, object]]:
        sites = ("north", "south") if minute != 1 else ("south",) if guard_by else ()
        own = {"objective": "close", "severity": "page", "owner": "anna"}
        said = {"summary": "close: the error budget burns too fast"}
        return [{"exp_labels": own | {"by_site": s}, "exp_annotations": said} for s in sites]

    counted = [series("counted", "1h", [1_000.0] * 3)]
    counted += [{k: v.replace("north", "south") for k, v in counted[0].items()}]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    series("burn", "1h", [20.0] * 3),
                    series("burn", "5m", [20.0] * 3),
                    *south,
                    *counted,
                    late,
                ],
                "alert_rule_test": [
                    {
                        "eval_time": f"{minute}m",
                        "alertname": "EdgemseObjectiveBurns",
                        "exp_alerts": raised(minute),
                    }
                    for minute in range(3)
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(test))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "test.yml")


@needs_promtool
def test_silence_raises_tickets(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rules([objective()]))
    own = {"severity": "ticket", "owner": "anna", "objective": "close"}
    said = {"summary": "close: nothing was counted lately"}
    absent = {"exp_labels": own, "exp_annotations": said}
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": 'edgemse_objective_absent{objective="close"}', "values": "0 1 _"},
                    {"series": "edgemse_objectives_evaluated_seconds", "values": "0x60"},
                ],
                "alert_rule_test": [
                    {"eval_time": "0m", "alertname": "EdgemseObjectiveAbsent"},
                    {
                        "eval_time": "1m",
                        "alertname": "EdgemseObjectiveAbsent",
                        "exp_alerts": [absent],
                    },
                    {
                        "eval_time": "30m",
                        "alertname": "EdgemseObjectiveAbsent",
                        "exp_alerts": [absent],
                    },
                    {"eval_time": "15m", "alertname": "EdgemseObjectivesStale"},
                    {
                        "eval_time": "16m",
                        "alertname": "EdgemseObjectivesStale",
                        "exp_alerts": [
                            {
                                "exp_labels": {"severity": "ticket"},
                                "exp_annotations": {
                                    "summary": "The objectives are not judged any more:"
                                    " no news of them is no good news"
                                },
                            }
                        ],
                    },
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(test))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "test.yml")
