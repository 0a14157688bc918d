"""The report at the end: the fleet by device and version, what it cost, and the proof."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from edgemse.demo.device import MODEL
from edgemse.demo.findings import Findings, find
from edgemse.demo.proof import Key, Proof, prove
from edgemse.demo.truth import Truth, read_truth, truth_path
from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import merged
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores import open_store

__all__ = ["Outcome", "gather", "print_report"]

HEALTH = "SELECT health FROM devices WHERE health IS NOT NULL"


class Outcome(NamedTuple):
    """What a demo came to: the store's figures, the raw samples', and what was sent."""

    merged: Mapping[tuple[str, ...], ErrorStats]
    truth: Mapping[Key, Truth]
    reports: int
    report_bytes: int
    findings: Findings | None
    """None: the store has nothing to ask about."""

    @property
    def proof(self) -> Proof:
        """The two held against each other."""
        return prove({(key[0], key[1]): stats for key, stats in self.merged.items()}, self.truth)


def gather(store: Path, samples: Path, devices: Sequence[str], versions: Sequence[str]) -> Outcome:
    """Read the store that the collector has left, and the samples kept aside."""
    truth = {}
    for device in devices:
        for version in versions:
            path = truth_path(samples, device, version)
            if path.exists():
                truth[device, version] = read_truth(path, version)
    database = open_store(store, read_only=True)
    try:
        with database.reading() as reading:
            asked = Asked(by=("device", "version"), where={"model": MODEL, "measure": ""})
            groups = merged(reading, asked).stats()
            findings = find(reading, *versions) if groups else None
            health = [json.loads(row[0]) for row in reading.rows(HEALTH)]
    finally:
        database.close()
    return Outcome(
        groups,
        truth,
        sum(each.get("reports", 0) for each in health),
        sum(each.get("report_bytes", 0) for each in health),
        findings,
    )


def print_report(console: Console, outcome: Outcome, versions: Sequence[str]) -> None:
    """Print the fleet's report, what the questions find, and the proof."""
    console.print(_fleet_table(outcome, versions))
    float64 = sum(truth.float64_bytes for truth in outcome.truth.values())
    lines = sum(truth.json_bytes for truth in outcome.truth.values())
    _say(
        console,
        f"Sent: {outcome.report_bytes:,} bytes in {outcome.reports:,} reports; the raw samples are"
        f" {float64:,} bytes as pairs of float64, {lines:,} bytes as JSON lines (and"
        " would be ten times as large at ten times the rate; the cells would hardly grow)",
    )
    proof = outcome.proof
    console.print(_proof_table(proof))
    if outcome.findings is not None:
        _say(console, "")
        for line in outcome.findings.lines(outcome.merged, outcome.truth):
            _say(console, line)
        _say(console, "")
    _say(
        console,
        f"{'EXACT' if proof.holds else 'NOT EXACT'}: lost {proof.lost}, counted twice"
        f" {proof.counted_twice}, largest relative difference of an MSE {proof.difference:.1e}",
    )


def _fleet_table(outcome: Outcome, versions: Sequence[str]) -> Table:
    table = Table(title="The fleet, as the collector has merged it", box=None, padding=(0, 1))
    table.add_column("device")
    table.add_column("version")
    for title in ("samples", "RMSE", "bias", f"RMSE against {versions[0]}"):
        table.add_column(title, justify="right")
    for (device, version), stats in outcome.merged.items():
        base = outcome.merged.get((device, versions[0]))
        ratio = stats.rmse / base.rmse - 1 if base is not None and base.rmse > 0 else math.nan
        table.add_row(
            device,
            version,
            f"{stats.count:,}",
            f"{stats.rmse:.4f}",
            f"{stats.bias:+.4f}",
            "" if version == versions[0] else f"{100 * ratio:+.1f} %",
        )
    return table


def _proof_table(proof: Proof) -> Table:
    table = Table(title="Merged, beside the raw samples", box=None, padding=(0, 1))
    table.add_column("device")
    table.add_column("version")
    for title in ("count", "raw\ncount", "MSE", "raw MSE", "relative\ndifference"):
        table.add_column(title, justify="right")
    for (device, version), each in proof.comparisons.items():
        table.add_row(
            device,
            version,
            f"{each.count:,}",
            f"{each.raw_count:,}",
            f"{each.mse:.9g}",
            f"{each.raw_mse:.9g}",
            f"{each.difference:.1e}",
            style=None if each.holds else "bold red",
        )
    return table


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
