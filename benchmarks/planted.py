"""What the shoot-out looks at: two weeks of rows, generated or real, with something in the second.

Real rows: five-minute values of NAB's folder (Lavin and Ahmad, Evaluating real-time anomaly
detection algorithms, 2015; CSV `timestamp,value`, `combined_windows.json`), forecast by the value
before. Days with a labelled incident or a gap are left out; the others are drawn anew, whole days
with what follows in them (a moving-block bootstrap: Künsch, Annals of Statistics 17, 1989), so that
nothing happens in them but what is planted.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr, stdtrit

__all__ = ["DEVICES", "HOURS", "PLANTED", "WEEK", "Scene", "Source", "generated", "real"]

WEEK, DAY = 168, 24
HOURS = 2 * WEEK
PER_HOUR = 120
PHI = 0.6
"""Of rows half a minute apart."""
CYCLE = 0.1
"""By how much errors grow by day and shrink by night."""
TAIL_FREEDOM = 4
DEVICES = 8
SPREAD = 0.05
"""Standard deviation of log RMSE between devices."""
BAD = 1.5
"""RMSE of the one bad device to that of the others; it always was bad."""
SCALE_RISE = 0.6
"""RMSE that a wrong scale of the predictions adds, to that of the errors: 1.17 x in all."""
REAL_DAYS_MIN = 5
FIVE_MINUTES = 300
PLANTED = (
    *("1.05 x", "1.1 x", "1.2 x", "1.3 x", "1.5 x", "ramp to 1.3 x"),
    *("scale", "heavier tail", "one bad device"),
)
RAMP_TO, BETTER = 1.3, 0.95


@dataclass(frozen=True)
class Scene:
    """Rows by hour: a week to learn from, a week that is watched; and what else is in the fleet."""

    name: str
    y_true: np.ndarray
    y_pred: np.ndarray
    others: tuple[Scene, ...] = ()

    @property
    def errors(self) -> np.ndarray:
        return self.y_pred - self.y_true


class Source:
    """Healthy scenes, and what is planted in them; the same seed gives the same scene."""

    def __init__(self, days: list[np.ndarray] | None = None) -> None:
        self._days = days
        self.per_hour = PER_HOUR if days is None else days[0].shape[2] // DAY

    def scene(self, what: str, run: int, seed: int) -> Scene:
        """Return run number `run` of a degradation, of "" (nothing), "better" or "sound"."""
        rng = np.random.default_rng([seed, run])
        name = f"{what or 'healthy'}-{seed}-{run}".replace(" ", "_")
        if what in ("one bad device", "sound"):
            return self._fleet(name, rng, run, BAD if what == "one bad device" else 1.0)
        return _planted(self._healthy(name, rng, run), what)

    def _healthy(self, name: str, rng: np.random.Generator, run: int) -> Scene:
        if self._days is not None:
            days = self._days[run % len(self._days)]
            drawn = days[rng.integers(len(days), size=HOURS // DAY)]
            y_true, y_pred = drawn.transpose(1, 0, 2).reshape(2, HOURS, self.per_hour)
            return Scene(name, y_true, y_pred)
        count = HOURS * PER_HOUR
        phase = np.sin(2 * np.pi * np.arange(count) / (DAY * PER_HOUR))
        errors = _following(rng, count) * (1 + CYCLE * phase)
        y_true = 20 + 5 * phase + 3 * _following(rng, count)
        shape = HOURS, PER_HOUR
        return Scene(name, y_true.reshape(shape), (y_true + errors).reshape(shape))

    def _fleet(self, name: str, rng: np.random.Generator, run: int, bad: float) -> Scene:
        """Let the first week be a sample of the other devices, the second one device's own."""
        scales = np.exp(rng.normal(0, SPREAD, DEVICES))
        scales[0] *= bad
        devices = [
            _scaled(self._healthy(f"{name}-{k}", rng, run), scale) for k, scale in enumerate(scales)
        ]
        watched, others = devices[0], tuple(devices[1:])
        y_true, y_pred = watched.y_true.copy(), watched.y_pred.copy()
        for hour in range(WEEK):
            other = others[hour % len(others)]
            y_true[hour], y_pred[hour] = other.y_true[WEEK + hour], other.y_pred[WEEK + hour]
        return Scene(name, y_true, y_pred, others)


def _following(rng: np.random.Generator, count: int) -> np.ndarray:
    noise = rng.normal(0, np.sqrt(1 - PHI**2), count + 200)
    return lfilter([1], [1, -PHI], noise)[200:]


def _scaled(scene: Scene, factor: float) -> Scene:
    return replace(scene, y_pred=scene.y_true + factor * scene.errors)


def _planted(scene: Scene, what: str) -> Scene:
    errors = scene.errors.copy()
    now = errors[WEEK:]
    if what == "heavier tail":
        now[:] = _heavier(now)
    elif what == "scale":
        ratio = SCALE_RISE * np.sqrt((now**2).mean() / (scene.y_pred[WEEK:] ** 2).mean())
        now += ratio * scene.y_pred[WEEK:]
    elif what.startswith("ramp"):
        now *= np.linspace(1, RAMP_TO, WEEK)[:, None]
    elif what == "better":
        now *= BETTER
    elif what:
        now *= float(what.split()[0])
    return replace(scene, y_pred=scene.y_true + errors)


def _heavier(errors: np.ndarray) -> np.ndarray:
    """Return errors of the same ranks and RMSE, as Student's t to the normal law."""
    deviation = errors.std()
    if not deviation > 0:
        return errors
    scores = np.clip(errors / deviation, -8, 8)
    tailed = errors * np.divide(
        stdtrit(TAIL_FREEDOM, ndtr(scores)), scores, out=np.ones_like(scores), where=scores != 0
    )
    return tailed * np.sqrt((errors**2).mean() / (tailed**2).mean())


def generated() -> Source:
    return Source()


def real(folder: Path) -> Source:
    """Read NAB's folder; ValueError where nothing in it has days enough."""
    nab = folder / "nab" if (folder / "nab").is_dir() else folder
    windows = json.loads((nab / "combined_windows.json").read_text())
    incidents = {Path(name).stem: spans for name, spans in windows.items()}
    found = []
    for path in sorted(nab.glob("*.csv")):
        days = _days(path, incidents.get(path.stem, []))
        if len(days) >= REAL_DAYS_MIN:
            found.append(np.stack(days))
    if not found:
        raise ValueError(
            f"{nab}: wanted CSV files of five-minute values, {REAL_DAYS_MIN} days each"
        )
    return Source(found)


def _days(path: Path, incidents: list[list[str]]) -> list[np.ndarray]:
    """Return the whole days without an incident: values, and the values before them."""
    with path.open(newline="") as file:
        rows = [(_seconds(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    bad = {
        day
        for first, last in incidents
        for day in range(_seconds(first) // 86_400, _seconds(last) // 86_400 + 1)
    }
    by_day: dict[int, list[tuple[float, float]]] = {}
    for (before, last), (second, value) in pairwise(rows):
        if second - before == FIVE_MINUTES and second // 86_400 not in bad:
            by_day.setdefault(second // 86_400, []).append((value, last))
    whole = 86_400 // FIVE_MINUTES
    days = [np.array(day).T for day in by_day.values() if len(day) == whole]
    return [day for day in days if (day[0] != day[1]).mean() > 0.5]


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
