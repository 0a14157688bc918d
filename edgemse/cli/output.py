"""Answers as JSON, and as tables for people."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from edgemse.cli.options import Format

__all__ = ["console", "show_devices", "show_variance"]

PIPE_COLUMNS = 200
"""Width of a table that goes into a file or a pipe."""

FIGURES = {
    "count": "samples",
    "rmse": "RMSE",
    "mse": "MSE",
    "mse_standard_error": "± s.e.",
    "bias": "bias",
    "mae": "MAE",
    "r2": "R²",
    "abs_p50": "|e| p50",
    "abs_p95": "|e| p95",
    "nonfinite": "not finite",
}


def console() -> Console:
    """Return a console on standard output, wide where nobody looks on."""
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=PIPE_COLUMNS if wide else shutil.get_terminal_size().columns)


def show_variance(report: Mapping[str, Any], by: Iterable[str], form: Format) -> None:
    """Print the report of edgemse.fleet.figures.variance_report."""
    if form is Format.JSON:
        _print_json(report)
        return
    by = list(by)
    table = _table([*by, *FIGURES.values()], texts=len(by))
    for group in report["groups"] if by else ():
        table.add_row(*(group["by"][name] for name in by), *_cells(group, FIGURES))
    if table.row_count:
        table.add_section()
    total = ["total", *[""] * (len(by) - 1)] if by else []
    table.add_row(*total, *_cells(report["total"], FIGURES), style="bold")
    out = console()
    out.print(table)
    for line in _variance_lines(report["variance"], " and ".join(by) or "group"):
        out.print(line, highlight=False)


def _variance_lines(variance: Mapping[str, Any], what: str) -> Iterable[str]:
    if variance["devices"] < 2 or variance["variance_of_mse"] is None:
        return
    yield (
        f"MSE between groups by {what}: {variance['devices']} groups, mean"
        f" {_text(variance['mean_mse'])}, variance {_text(variance['variance_of_mse'])},"
        f" of which sampling {_text(variance['sampling_variance'])}"
        f" and real differences {_text(variance['tau2'])} ({_percent(variance['i2'])})"
    )
    yield (
        f"  Are there differences at all? Q = {_text(variance['q'])},"
        f" p = {_text(variance['p_value'])}"
    )
    anova = variance["anova"]
    yield (
        f"  Mean error (ANOVA): F({anova['df_between']}, {anova['df_within']}) ="
        f" {_text(anova['f'])}, p = {_text(anova['p_value'])},"
        f" variance between {_text(anova['var_between'])}, within {_text(anova['var_within'])}"
    )


def show_devices(report: Mapping[str, Any], form: Format) -> None:
    """Print the report of edgemse.fleet.devices.devices_report."""
    if form is Format.JSON:
        _print_json(report)
        return
    headings = ["device", "online", "last report", "clock", "windows", "samples", "RMSE", "bias"]
    table = _table([*headings, "not finite", "labelled"], texts=4)
    for each in report["devices"]:
        table.add_row(
            each["device"],
            {True: "yes", False: "no", None: "?"}[each["online"]],
            each["last_report"] or "never",
            each["clock"] or "?",
            *(_text(each[name]) for name in ("windows", "count", "rmse", "bias", "nonfinite")),
            _percent(each["coverage"]),
        )
    console().print(table)


def _table(headings: Iterable[str], *, texts: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < texts else "right", no_wrap=True)
    return table


def _cells(figures: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    return [_text(figures[name]) for name in names]


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _print_json(report: Mapping[str, Any]) -> None:
    print(json.dumps(report, ensure_ascii=False, allow_nan=False))
