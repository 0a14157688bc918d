"""How many labelled incidents do cells of a persistence forecast's errors show, and how late?

The folder has NAB's series (CSV: timestamp, value) and combined_windows.json (Numenta Anomaly
Benchmark: https://github.com/numenta/NAB). Each value is forecast to be the one before; a cell has
twelve errors. After 15 % of a series (NAB's probation) it is looked at with each new cell, as
`fleet trend` would be: a change of the level of log RMSE that was not there before is an alarm.
Beside it the usual rule, RMSE beyond 3 sd of the first 15 %. An incident is found by an alarm in
its window; an alarm outside of all windows, and of a day after them (the level going back), is
false. Minutes.
"""

import argparse
import csv
import json
import statistics
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edgemse import ErrorStats
from edgemse.fleet import drifting

EACH = 12
"""Errors a cell: an hour of values that come every five minutes."""
PROBATION = 0.15
STEPS_MAX = 720
AGAIN_CELLS = 24
"""A change that is found again within a day is the same."""
DAY_SECONDS, MONTH_SECONDS = 86_400.0, 2_592_000.0

Series = tuple[np.ndarray, np.ndarray]


def read(path: Path) -> Series:
    """Return the end of each cell in UTC seconds and its log RMSE; not of cells without error."""
    with path.open(newline="") as file:
        rows = [(seconds(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    times, values = np.array(rows).T
    ends = times[1:]
    found = []
    for start in range(0, len(ends) - EACH + 1, EACH):
        stats = ErrorStats()
        stats.update_many(values[start + 1 : start + EACH + 1], values[start : start + EACH])
        if stats.mse > 0:
            found.append((ends[start + EACH - 1], np.log(stats.rmse)))
    return np.array(found).T[0], np.array(found).T[1]


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def by_trend(times: np.ndarray, values: np.ndarray, first: int) -> Iterator[float]:
    """Yield when a new change of level is seen, its cycle taken out."""
    seen = -STEPS_MAX
    for end in range(first + 1, len(values) + 1):
        begin = max(0, end - STEPS_MAX)
        repeated, _ = drifting.cycle(times[begin:end], values[begin:end], 3_600)
        places = [begin + place for place in drifting.changes(values[begin:end] - repeated)]
        if places and places[-1] >= first - AGAIN_CELLS and places[-1] > seen + AGAIN_CELLS:
            seen = places[-1]
            yield times[end - 1]


def by_deviations(times: np.ndarray, values: np.ndarray, first: int) -> Iterator[float]:
    """Yield when the RMSE begins to be 3 sd beyond the mean of the probation."""
    rmse = np.exp(values)
    mean, sd = rmse[:first].mean(), rmse[:first].std(ddof=1)
    beyond = np.abs(rmse - mean) > 3 * sd
    seen = -STEPS_MAX
    for place in np.flatnonzero(beyond):
        if place >= first and place > seen + AGAIN_CELLS:
            yield times[place]
        seen = place if place >= first else seen


RULES = {"fleet trend": by_trend, "RMSE beyond 3 sd": by_deviations}


def judged(alarms: list[float], windows: list[list[float]], from_time: float) -> dict[str, object]:
    """Return incidents after the probation, those found with their delays, and false alarms."""
    after = [window for window in windows if window[1] > from_time]
    delays = []
    for start, end in after:
        inside = [alarm for alarm in alarms if start <= alarm <= end]
        delays += [(inside[0] - start) / 3_600] if inside else []
    false = sum(
        not any(start <= alarm <= end + DAY_SECONDS for start, end in windows) for alarm in alarms
    )
    return {"incidents": len(after), "delays_hours": delays, "false": false}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    labels = args.folder / "combined_windows.json"
    if not labels.is_file():
        sys.exit(f"{labels}: not there; wanted NAB's series and their combined_windows.json")
    every = {Path(name).name: found for name, found in json.loads(labels.read_text()).items()}
    table = {rule: {"incidents": 0, "delays": [], "false": 0} for rule in RULES}
    months = 0.0
    for path in sorted(args.folder.glob("*.csv")):
        times, values = read(path)
        first = max(drifting.CHANGES_MIN, int(PROBATION * len(values)))
        windows = [[seconds(each) for each in window] for window in every[path.name]]
        months += (times[-1] - times[first]) / MONTH_SECONDS
        for rule, find in RULES.items():
            row = judged(list(find(times, values, first)), windows, times[first])
            table[rule]["incidents"] += row["incidents"]
            table[rule]["delays"] += row["delays_hours"]
            table[rule]["false"] += row["false"]
            if not args.json:
                found = f"{len(row['delays_hours'])} of {row['incidents']}"
                print(f"{path.stem:<42} {rule:<18} found {found:<7} false {row['false']}")
    for rule, row in table.items():
        row["median_delay_hours"] = statistics.median(row["delays"]) if row["delays"] else None
        row["false_alarms_a_month"] = row["false"] / months
        if not args.json:
            print(
                f"{rule}: {len(row['delays'])} of {row['incidents']} incidents,"
                f" {row['median_delay_hours']} h after their window begins (median);"
                f" {row['false_alarms_a_month']:.2f} false alarms a month of a series"
                f" ({months:.1f} months)"
            )
    if args.json:
        print(json.dumps({"months": months, "rules": table}))


if __name__ == "__main__":
    main()
