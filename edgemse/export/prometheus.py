"""Objectives for Prometheus: their figures as metrics, and the rules that raise alerts on them.

The figures are computed here, by the time of the windows and not by that of a scrape, so that
labels that come late are where they belong; the rules only compare.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from edgemse.errors import SettingsError
from edgemse.fleet.burning import EXPECTED_MIN, PAGE, PAIRS, TICKET, factor
from edgemse.fleet.objectives import ABSENT, ObjectivesAnswer
from edgemse.fleet.promised import Objective

__all__ = ["metrics", "rules"]

STALE_SECONDS = 900
"""Figures are computed every few minutes; after a quarter of an hour something is broken."""
BURNING = "edgemse:objective_burning"
MEANINGS = {
    "burn": "How many times faster than evenly the error budget goes, by window",
    "counted": "How many samples, windows or predictions a window holds",
    "budget_left": "The share of the period's error budget that is left",
    "absent": "1 where there was nothing to count lately, else 0",
}
EVALUATED = "edgemse_objectives_evaluated_seconds"


def metrics(answer: ObjectivesAnswer, now: float) -> str:
    """Return an answer in Prometheus' text format 0.0.4; `now` in UTC seconds.

    Group columns are labels `by_<column>`, other characters than letters and digits as `_`. What is
    not known is left out.

    Raises:
        SettingsError: two columns make one label.
    """
    lines: dict[str, list[str]] = {name: [] for name in MEANINGS}
    for row in answer.objectives:
        own = {"objective": row.name, **_labels(row.by)}
        for window, value in row.burn.items():
            labels = _braced({**own, "window": window})
            if not math.isnan(value):
                lines["burn"].append(f"{labels} {value!r}")
            lines["counted"].append(f"{labels} {row.counted[window]}")
        if not math.isnan(row.budget_left):
            lines["budget_left"].append(f"{_braced(own)} {row.budget_left!r}")
        lines["absent"].append(f"{_braced(own)} {int(row.state == ABSENT)}")
    text = []
    for name, meaning in MEANINGS.items():
        full = f"edgemse_objective_{name}"
        text += [f"# HELP {full} {meaning}", f"# TYPE {full} gauge"]
        text += [f"{full}{each}" for each in lines[name]]
    text += [f"# HELP {EVALUATED} When the objectives were judged, seconds since 1970-01-01 UTC"]
    text += [f"# TYPE {EVALUATED} gauge", f"{EVALUATED} {now:.3f}"]
    return "\n".join(text)


def rules(objectives: Sequence[Objective]) -> str:
    """Return a file of rules for these objectives, in YAML.

    A recording rule says which pairs of windows burn, as `edgemse fleet objectives` does; alerts
    stand on it: one an objective, group and severity, however many pairs burn.
    """
    text = ["groups:"]
    columns = {each.name: each.by for each in objectives}
    for objective in objectives:
        text += [f"  - name: {_quoted(f'edgemse objective {objective.name}')}", "    rules:"]
        for name in PAIRS:
            if name in objective.burn:
                text += _recording(objective, name)
        text += _alerts(objective, columns.get(objective.held_by, []))
    text += ["  - name: edgemse objectives", "    rules:"]
    text += _alert(
        "EdgemseObjectivesStale",
        f"time() - {EVALUATED} > {STALE_SECONDS} or absent({EVALUATED})",
        {"severity": TICKET},
        {"summary": "The objectives are not judged any more: no news of them is no good news"},
    )
    return "\n".join(text)


def _recording(objective: Objective, name: str) -> Iterator[str]:
    pair = PAIRS[name]
    most = factor(pair, objective.period_days)
    least = EXPECTED_MIN / (objective.budget * most)

    def compared(metric: str, window: str, condition: str) -> str:
        chosen = f'objective="{objective.name}",window="{window}"'
        return f"max without (window) (edgemse_objective_{metric}{{{chosen}}} {condition})"

    parts = (
        compared("burn", pair.long, f"> {most!r}"),
        compared("burn", pair.short, f"> {most!r}"),
        compared("counted", pair.long, f">= {least!r}"),
    )
    yield f"      - record: {BURNING}"
    yield f"        expr: {_quoted(' and '.join(parts))}"
    severity = pair.severity if objective.severity == PAGE else TICKET
    own = {"objective": objective.name, "pair": name, "severity": severity}
    yield f"        labels: {json.dumps(own)}"


def _alerts(objective: Objective, guard_by: Sequence[str]) -> Iterator[str]:
    unless = _unless(objective, guard_by)
    severities = {PAIRS[name].severity for name in objective.burn}
    notes = {"runbook_url": objective.runbook} if objective.runbook else {}
    # The series have the label too; said here, no two rules of one owner look alike to promtool.
    own = {"objective": objective.name, "owner": objective.owner}
    for severity in (PAGE, TICKET):
        if severity in (severities if objective.severity == PAGE else {TICKET}):
            chosen = f'{BURNING}{{objective="{objective.name}",severity="{severity}"}}'
            yield from _alert(
                "EdgemseObjectiveBurns",
                f"max without (pair) ({chosen}){unless}",
                own | {"severity": severity},
                {"summary": f"{objective.name}: the error budget burns too fast", **notes},
            )
    chosen = f'edgemse_objective_absent{{objective="{objective.name}"}}'
    yield from _alert(
        "EdgemseObjectiveAbsent",
        f"({chosen} == 1{unless}) or absent({chosen})",
        own | {"severity": TICKET},
        {"summary": f"{objective.name}: nothing was counted lately", **notes},
    )


def _unless(objective: Objective, guard_by: Sequence[str]) -> str:
    """Return the condition under which late labels hold an objective; empty where none do."""
    if not objective.held_by:
        return ""
    on = ", ".join(_label(column) for column in objective.by if column in guard_by)
    chosen = f'{{objective="{objective.held_by}"}}'
    late = f"max by ({on}) ({BURNING}{chosen})"
    return f" unless on ({on}) ({late} or max by ({on}) (edgemse_objective_absent{chosen} == 1))"


def _alert(
    name: str, expression: str, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> Iterator[str]:
    yield f"      - alert: {name}"
    yield f"        expr: {_quoted(expression)}"
    for heading, values in (("labels", labels), ("annotations", annotations)):
        yield f"        {heading}:"
        yield from (f"          {key}: {_quoted(_plain(text))}" for key, text in values.items())


def _quoted(text: str) -> str:
    """Return a text as YAML has it in double quotes: as JSON, but no halves of characters."""
    return json.dumps(text, ensure_ascii=False)


def _plain(text: str) -> str:
    """Return a text that Prometheus, which takes {{ for a template, prints as it is."""
    return text.replace("{{", '{{ "{{" }}')


def _labels(by: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for column, value in by.items():
        label = _label(column)
        if label in found:
            raise SettingsError(
                f"the columns {', '.join(by)} make two labels {label!r}; group by one of them, or"
                " rename the attribute"
            )
        found[label] = value
    return found


def _label(column: str) -> str:
    return f"by_{re.sub('[^a-zA-Z0-9_]', '_', column)}"


def _braced(labels: Mapping[str, str]) -> str:
    values = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, value in labels.items()
    }
    pairs = [f'{name}="{value}"' for name, value in values.items()]
    return f"{{{','.join(pairs)}}}"
