"""What is lost if only cells leave the device? Planted degradations, hourly cells against raw rows.

Errors of 600 an hour that follow each other by 0.9 (normal, seeded): a week to learn from, then a
week in which something may happen. edgemse sees a cell an hour; each peer sees every row. Peers run
as they are, and again at the first of a few thresholds that has no more false alarms than edgemse
on healthy series of another seed. Target: 95 % of the best tuned peer's power with 1 % of the bytes
at 10 samples a second. Minutes; needs numpy, scipy and River.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import numpy as np
from river.drift import ADWIN, PageHinkley
from scipy.signal import lfilter
from scipy.special import ndtr, stdtrit

from edgemse import ErrorStats
from edgemse.cells import Cell, Identity, Series, Window, seal
from edgemse.fleet import drifting, shifting
from edgemse.stats.coverage import Coverage
from edgemse.wire import Report, encode_report

SEED = 20261125
PER_HOUR, WEEK = 600, 168
PHI = 0.9
HOURS = 2 * WEEK
LOOK_HOURS = 3
"""edgemse's trend is looked at so often; its drift once a day."""
MONTH_HOURS = 720
RAW_BYTES = 16
"""Of a row: two doubles, without a name or a time; JSON takes about 45."""
PAIRS_A_SECOND = 10
TAIL_FREEDOM = 4
PLANTED = ("1.05 x", "1.1 x", "1.2 x", "1.3 x", "1.5 x", "ramp to 1.3 x", "heavier tail")

Find = Callable[[np.ndarray], list[int]]


def healthy(rng: np.random.Generator) -> np.ndarray:
    """An AR(1) of variance 1, a row for each hour."""
    count = HOURS * PER_HOUR
    noise = rng.normal(0, np.sqrt(1 - PHI**2), count + 200)
    return lfilter([1], [1, -PHI], noise)[200:].reshape(HOURS, PER_HOUR)


def planted(errors: np.ndarray, what: str) -> np.ndarray:
    """The same with something in the second week."""
    found = errors.copy()
    if what == "heavier tail":  # of the same RMSE
        t = stdtrit(TAIL_FREEDOM, ndtr(found[WEEK:]))
        found[WEEK:] = t / np.sqrt(TAIL_FREEDOM / (TAIL_FREEDOM - 2))
    elif what.startswith("ramp"):
        found[WEEK:] *= np.linspace(1, 1.3, WEEK)[:, None]
    elif what:
        found[WEEK:] *= float(what.split()[0])
    return found


def cells(errors: np.ndarray) -> list[ErrorStats]:
    states = []
    for hour in errors:
        state = ErrorStats()
        state.update_many(np.full(PER_HOUR, 20.0), 20.0 + hour)
        states.append(state)
    return states


def by_trend(errors: np.ndarray) -> list[int]:
    """Hours at which `fleet trend` shows a new change of the second week, up or down."""
    values = np.log([state.rmse for state in cells(errors)])
    return list(_new_changes(values))


def _new_changes(values: np.ndarray) -> Iterator[int]:
    last = -HOURS
    for end in range(WEEK + LOOK_HOURS, HOURS + 1, LOOK_HOURS):
        places = [place for place in drifting.changes(values[:end]) if place >= WEEK - LOOK_HOURS]
        if places and places[-1] > last + 24:
            last = places[-1]
            yield end


def by_drift(errors: np.ndarray) -> list[int]:
    """Days (in hours) on which `fleet drift` of the last day against the first week alarms."""
    states, found, alarmed = cells(errors), [], False
    for end in range(WEEK + 24, HOURS + 1, 24):
        places = [*range(WEEK), *range(end - 24, end)]
        now = [place >= WEEK for place in places]
        starts, chosen = [3_600 * place for place in places], [states[place] for place in places]
        side = shifting.Side.of(starts, now, chosen, 3_600)
        drawn = shifting.draws(side.start, side.now, np.random.default_rng([SEED, end]))
        moved = shifting.residual_moved(side, drawn)
        alarm = moved.p_value < 0.01 and moved.psi - moved.noise > 0.05
        if alarm and not alarmed:
            found.append(end)
        alarmed = alarm
    return found


def by_rows(make: Callable[[], Any]) -> Find:
    """Hours at which a detector of River, fed with every squared error, finds a change."""

    def find(errors: np.ndarray) -> list[int]:
        detector, found = make(), []
        for place, value in enumerate((errors.ravel() ** 2).tolist()):
            detector.update(value)
            if detector.drift_detected and place >= WEEK * PER_HOUR:
                found.append(place // PER_HOUR + 1)
        return found

    return find


def by_hours(errors: np.ndarray) -> list[int]:
    """Hours whose RMSE is 3 sd from the mean of the first week's: a rule that many tools have."""
    rmse = np.sqrt((errors**2).mean(axis=1))
    mean, sd = rmse[:WEEK].mean(), rmse[:WEEK].std(ddof=1)
    return [WEEK + int(place) + 1 for place in np.flatnonzero(np.abs(rmse[WEEK:] - mean) > 3 * sd)]


TUNABLE: dict[str, list[Callable[[], Any]]] = {
    "River ADWIN": [
        lambda delta=delta: ADWIN(delta=delta)
        for delta in (0.002, 1e-9, 1e-24, 1e-60, 1e-120, 1e-250)
    ],
    "River PageHinkley": [
        lambda threshold=threshold: PageHinkley(threshold=threshold)
        for threshold in (50.0, 200.0, 500.0, 1_000.0, 2_000.0, 4_000.0)
    ],
}


def false_alarms(find: Find, seed: int, runs: int) -> float:
    """How many in a month of healthy hours."""
    rng = np.random.default_rng(seed)
    return sum(len(find(healthy(rng))) for _ in range(runs)) * MONTH_HOURS / (runs * WEEK)


def detectors(runs: int) -> dict[str, Find]:
    found: dict[str, Find] = {"edgemse trend": by_trend, "edgemse drift": by_drift}
    most = false_alarms(by_trend, SEED + 1, runs)
    for name, makers in TUNABLE.items():
        found[name] = by_rows(makers[0])
        for make in makers[1:]:
            find = by_rows(make)
            if false_alarms(find, SEED + 1, runs) <= most:
                found[f"{name}, tuned"] = find
                break
    return {**found, "hours beyond 3 sd": by_hours}


def measured(find: Find, runs: int) -> dict[str, object]:
    """Power and median delay of each degradation, and false alarms a month."""
    row: dict[str, object] = {}
    for what in PLANTED:
        rng, delays = np.random.default_rng(SEED), []
        for _ in range(runs):
            found = find(planted(healthy(rng), what))
            delays += [found[0] - WEEK] if found else []
        delay = statistics.median(delays) if delays else None
        row[what] = {"power": len(delays) / runs, "delay_hours": delay}
    row["false_alarms_a_month"] = false_alarms(find, SEED + 2, 2 * runs)
    return row


def sizes() -> tuple[int, int]:
    """Bytes an hour at 10 samples a second: of a report with its cell, and of bare rows."""
    count = PAIRS_A_SECOND * 3_600
    rng, state = np.random.default_rng(SEED), ErrorStats()
    labels = rng.normal(20, 5, count)
    state.update_many(labels, labels + rng.normal(0, 1, count))
    series, window = Series("pump", "1", segment="north"), Window(1_767_225_600, 3_600)
    cell = Cell(Identity(bytes(range(16)), 7), 1, True, series, window, state, Coverage())
    report = Report("pi-0001", 1_767_229_200_000, True, (seal(cell),), {}, run="0123456789abcdef")
    return len(encode_report(report)), RAW_BYTES * count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    ours, rows = sizes()
    table = {}
    for name, find in detectors(args.runs).items():
        table[name] = measured(find, args.runs)
        table[name]["bytes_an_hour"] = ours if name.startswith("edgemse") else rows
        if not args.json:
            print(line(name, table[name]), flush=True)
    if args.json:
        about = {"river": metadata.version("river"), "runs": args.runs}
        print(json.dumps({"about": about, "detectors": table}))
    else:
        print(f"an hour at 10 samples a second: {ours} bytes, {100 * ours / rows:.2g} % of {rows}")


def line(name: str, row: dict[str, Any]) -> str:
    parts = []
    for what in PLANTED:
        delay = row[what]["delay_hours"]
        after = "" if delay is None else f" ({delay:g} h)"
        parts.append(f"{100 * row[what]['power']:.0f} %{after}")
    cells = [name, *parts, f"{row['false_alarms_a_month']:.2g}", str(row["bytes_an_hour"])]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
