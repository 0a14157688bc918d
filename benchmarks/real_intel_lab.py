"""Fifty real motes: which are worse, is the ranking more than chance, and which version is better?

The folder has labels (intelTemperatureTest.csv: a line a mote, a column each half hour of two
days) and predictions of two versions (pred_phase1_temperature_w0.csv, _v25.csv: a heading, then a
mote's number and its values), the same for humidity (w0), of the Intel Berkeley Research Lab's
motes. Cells hold two hours. Beside the figures stands what is usually done: the variance of the
motes' MSE, and F of the errors as if they did not follow each other.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

from edgemse import ErrorStats, merge_all
from edgemse.fleet import variance_components
from edgemse.fleet.arms import by_devices
from edgemse.fleet.asked import Asked
from edgemse.fleet.variance import VarianceAnswer, of_states
from edgemse.fleet.windows import Windows

EACH = 4
"""Half hours a cell."""
CASES = (("Temperature", "w0"), ("Temperature", "v25"), ("Humidity", "w0"))
Motes = dict[tuple[str, ...], ErrorStats]


def numbers(path: Path, heading: bool) -> np.ndarray:
    if not path.is_file():
        sys.exit(f"{path}: not there; see benchmarks/README.md for what the folder has")
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[int(heading) :]
    return np.array([[float(value) for value in row[int(heading) :]] for row in rows if row])


def measured(folder: Path, what: str, version: str) -> tuple[Motes, dict[tuple[str, ...], Windows]]:
    labels = numbers(folder / f"intel{what}Test.csv", heading=False)
    predictions = numbers(folder / f"pred_phase1_{what.lower()}_{version}.csv", heading=True)
    motes, windows = {}, {}
    for place, (y_true, y_pred) in enumerate(zip(labels, predictions, strict=True)):
        key = (f"{place:02d}",)  # as the predictions' first column has it
        motes[key] = ErrorStats()
        motes[key].update_many(np.ascontiguousarray(y_true), np.ascontiguousarray(y_pred))
        parts = (y_pred - y_true).reshape(-1, EACH)
        weight = np.full(len(parts), float(EACH))
        start = np.arange(len(parts)) * EACH * 1_800.0
        windows[key] = Windows(start, weight, weight, (parts**2).sum(1), parts.sum(1))
    return motes, windows


def ranking(found: VarianceAnswer) -> dict[str, object]:
    worst = sorted(found.groups, key=lambda group: -group.rmse)
    return {
        "fleet_mae": found.total.mae,
        "fleet_rmse": found.total.rmse,
        "worst": [[group.by["mote"], round(group.rmse, 3)] for group in worst[:5]],
        "best": [[group.by["mote"], round(group.rmse, 3)] for group in worst[-3:]],
        "unusual": [group.by["mote"] for group in found.groups if group.unusual],
        "materially_worse": [group.by["mote"] for group in found.groups if group.materially_worse],
        "unknown": sum(group.materially_worse is None for group in found.groups),
        "p_value": found.variance.p_value,
        "reliability": found.variance.i2,
        "spread_percent": found.between.spread_percent,
        "spread": [found.between.low, found.between.high],
        "design_effect": found.between.design_effect,
        "bias_p_value": found.variance.bias.p_value,
        "classical_f_p_value": found.variance.anova.p_value,
        "notes": found.notes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    table, arms = {}, {}
    for what, version in CASES:
        motes, windows = measured(args.folder, what, version)
        arms[what, version] = {key[0]: stats for key, stats in motes.items()}
        row = ranking(of_states(Asked(by=("mote",)), motes, windows))
        naive = variance_components(motes)
        row["naive"] = {"p_value": naive.p_value, "reliability": naive.i2}
        table[f"{what.lower()} {version}"] = row
    one, two = arms["Temperature", "w0"], arms["Temperature", "v25"]
    found = by_devices(one, two)
    pooled = merge_all(two.values()).rmse / merge_all(one.values()).rmse
    ratio = [found.ratio, *found.interval(), found.two_sided()]
    table["temperature v25 to w0"] = {"ratio, low, high, p": ratio, "over all samples": pooled}
    if args.json:
        print(json.dumps(table))
        return
    for name, row in table.items():
        print(name)
        for figure, value in row.items():
            print(f"  {figure}: {value}")


if __name__ == "__main__":
    main()
