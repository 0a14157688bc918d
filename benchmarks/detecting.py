"""The shoot-out's detectors: each gives the alarms that it raises in the second week of a scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from peers import Peer
from planted import DEVICES, HOURS, WEEK, Scene
from river.drift import ADWIN, PageHinkley

from edgemse import ErrorStats
from edgemse.cells import Cell, Identity, Series, Window, seal
from edgemse.fleet import arms, drifting, shifting, windows
from edgemse.fleet.asked import Asked
from edgemse.fleet.drift import ALPHA, tail_differs
from edgemse.fleet.variance import of_states
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import merge_all
from edgemse.wire import Report, encode_report

__all__ = ["Alarm", "Cells", "Detector", "Rows", "Scored", "report_bytes"]

HOUR, DAY = 3_600, 24
LOOK_HOURS = 6
"""edgemse's trend is looked at so often, its drift once a day."""
PSI_BEYOND = 0.05
NEW_HOURS = 24
"""A change nearer to one that was reported is not reported again."""
SEED = 20261125


class Alarm(NamedTuple):
    """When, in hours since the second week began, and whether it says "worse" (None: no word)."""

    hour: float
    worse: bool | None


class Detector(Protocol):
    """`levels` settings, of which number `usual` is how it comes."""

    name: str
    levels: int
    usual: int

    def alarms(self, scene: Scene, level: int) -> list[Alarm]: ...


def cells_of(scene: Scene) -> list[ErrorStats]:
    states = []
    for y_true, y_pred in zip(scene.y_true, scene.y_pred, strict=True):
        state = ErrorStats()
        state.update_many(y_true, y_pred)
        states.append(state)
    return states


_FOUND: dict[str, dict[str, list[Alarm]]] = {}
"""By scene: each row of the table asks for the same."""


class Cells:
    """edgemse: `fleet trend` every six hours, `drift` daily; `variance` where there is a fleet.

    All from an hourly cell; with a fleet it is asked at the week's end which device is worse.
    """

    levels, usual = 1, 0

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = parts
        self.name = "edgemse " + " and ".join(parts)

    def alarms(self, scene: Scene, level: int) -> list[Alarm]:
        assert level == 0
        if scene.name not in _FOUND:
            states = cells_of(scene)
            _FOUND[scene.name] = (
                dict.fromkeys(("trend", "drift"), self._fleet(scene, states))
                if scene.others
                else {"trend": self._trend(states), "drift": self._drift(states)}
            )
        found = {alarm for part in self._parts for alarm in _FOUND[scene.name][part]}
        return sorted(found, key=lambda alarm: alarm.hour)

    def worse(self, scene: Scene) -> bool:
        """Whether the second week would be rolled back: `compare`'s interval is above 1."""
        first, second = (
            windows_of(half) for half in (cells_of(scene)[:WEEK], cells_of(scene)[WEEK:])
        )
        estimate = arms.by_windows(first, _shifted(second), 1)
        return bool(estimate.method) and estimate.interval()[0] > 1

    def _fleet(self, scene: Scene, states: list[ErrorStats]) -> list[Alarm]:
        named = {("watched",): states[WEEK:]}
        named |= {(f"{k}",): cells_of(other)[WEEK:] for k, other in enumerate(scene.others)}
        assert len(named) == DEVICES
        answer = of_states(
            Asked(by=("device",)),
            {key: merge_all(weeks) for key, weeks in named.items()},
            {key: windows_of(weeks) for key, weeks in named.items()},
        )
        group = next(each for each in answer.groups if each.by["device"] == "watched")
        return [Alarm(WEEK, True)] if group.unusual or group.materially_worse else []

    def _trend(self, states: list[ErrorStats]) -> list[Alarm]:
        """Changes that an earlier look did not show, wherever it puts them."""
        found: list[Alarm] = []
        values = np.log([state.rmse for state in states])
        seconds = HOUR * np.arange(HOURS, dtype=float)
        known: list[int] = []
        for end in range(WEEK, HOURS + 1, LOOK_HOURS):
            level = values[:end] - drifting.cycle(seconds[:end], values[:end], HOUR)[0]
            places = drifting.changes(level)
            new = [p for p in places if all(abs(p - old) > NEW_HOURS for old in known)]
            known += new
            if new and end > WEEK:
                after, before = level[new[-1] :], level[max(0, new[-1] - WEEK) : new[-1]]
                found.append(Alarm(end - WEEK, bool(after.mean() > before.mean())))
        return found

    def _drift(self, states: list[ErrorStats]) -> list[Alarm]:
        """The last two days against the first six; told once, until it is quiet again."""
        found, alarmed = [], False
        for end in range(WEEK + DAY, HOURS + 1, DAY):
            first = end - 2 * DAY
            places = [*range(WEEK - DAY), *range(first, end)]
            chosen, now = [states[p] for p in places], [p >= first for p in places]
            starts = [HOUR * p for p in places]
            width = shifting.unit_seconds([(starts, now, chosen)], HOUR)
            if width is None:  # not enough data: even days follow each other
                alarmed = False
                continue
            side = shifting.Side.of(starts, now, chosen, width)
            drawn = shifting.draws(side.start, side.now, np.random.default_rng([SEED, end]))
            moved = shifting.residual_moved(side, drawn)
            alarm = moved.p_value < ALPHA and moved.psi - moved.noise > PSI_BEYOND
            alarm = alarm or tail_differs(shifting.tail_moved(side, drawn))
            if alarm and not alarmed:
                then, last = merge_all(states[: WEEK - DAY]), merge_all(states[first:end])
                found.append(Alarm(end - WEEK, last.rmse > then.rmse))
            alarmed = alarm
        return found


def windows_of(states: Sequence[ErrorStats]) -> windows.Windows:
    weight = np.array([state.weight for state in states])
    return windows.Windows(
        HOUR * np.arange(len(states), dtype=float),
        np.array([float(state.count) for state in states]),
        weight,
        np.array([state.mse for state in states]) * weight,
        np.array([state.bias for state in states]) * weight,
    )


def _shifted(week: windows.Windows) -> windows.Windows:
    return windows.Windows(
        week.start + WEEK * HOUR, week.count, week.weight, week.squares, week.errors
    )


class Rows:
    """A detector of River, fed with every squared error; the first setting is how it comes."""

    usual = 0

    def __init__(self, name: str, makers: Sequence[Callable[[], Any]]) -> None:
        self.name, self._makers, self.levels = name, makers, len(makers)

    def alarms(self, scene: Scene, level: int) -> list[Alarm]:
        detector, found = self._makers[level](), []
        per_hour = scene.errors.shape[1]
        before = None
        for place, value in enumerate((scene.errors.ravel() ** 2).tolist()):
            detector.update(value)
            if detector.drift_detected and place >= WEEK * per_hour:
                after = getattr(detector, "estimation", None)
                worse = None if after is None or before is None else after > before
                found.append(Alarm((place + 1) / per_hour - WEEK, worse))
            elif place % per_hour == 0:
                before = getattr(detector, "estimation", None)
        return found


RIVER = (
    Rows(
        "River ADWIN",
        [
            lambda delta=delta: ADWIN(delta=delta)
            for delta in (0.002, 1e-4, 1e-6, 1e-9, 1e-14, 1e-24, 1e-40, 1e-60, 1e-120, 1e-250)
        ],
    ),
    Rows(
        "River PageHinkley",
        [
            lambda threshold=threshold: PageHinkley(threshold=threshold)
            for threshold in (50.0, 100.0, 200.0, 350.0, 500.0, 1_000.0, 2_000.0, 4_000.0)
        ],
    ),
)


class Scored:
    """A peer that gives a score a window, and its rule on it at several thresholds.

    `read` returns the score of each window, how long a window is (hours), whether a high score
    says "worse", and of a threshold whether each window alarms.
    """

    def __init__(
        self,
        name: str,
        peer: Peer,
        window_hours: int,
        thresholds: Sequence[float],
        usual: float,
        rule: Callable[[dict[str, Any], float], tuple[np.ndarray, np.ndarray | None]],
    ) -> None:
        self.name, self._peer, self._window_hours = name, peer, window_hours
        self._thresholds, self._rule = thresholds, rule
        self.levels, self.usual = len(thresholds), list(thresholds).index(usual)

    def alarms(self, scene: Scene, level: int) -> list[Alarm]:
        alarming, worse = self._rule(_asked(self._peer, scene), self._thresholds[level])
        found = []
        for place in np.flatnonzero(alarming & ~np.concatenate([[False], alarming[:-1]])):
            direction = None if worse is None else bool(worse[place])
            found.append(Alarm(float(place + 1) * self._window_hours, direction))
        return found


_SAID: dict[tuple[str, str], dict[str, Any]] = {}


def _asked(peer: Peer, scene: Scene) -> dict[str, Any]:
    key = peer.name, scene.name
    if key not in _SAID:
        _SAID[key] = peer.ask(scene.y_true, scene.y_pred)
    return _SAID[key]


def scored(evidently: Peer, nannyml: Peer) -> list[Scored]:
    def rmse(found: dict[str, Any], share: float) -> tuple[np.ndarray, np.ndarray]:
        """Evidently's test of a metric against the reference: off by more than a share of it."""
        ratio = np.array(found["rmse"]) / found["reference"]
        return np.abs(ratio - 1) > share, ratio > 1

    def drift(found: dict[str, Any], threshold: float) -> tuple[np.ndarray, None]:
        return np.array(found["drift"]) >= threshold, None

    def deviations(what: str, *, both: bool) -> Callable[..., Any]:
        def rule(found: dict[str, Any], factor: float) -> tuple[np.ndarray, np.ndarray | None]:
            """NannyML's standard deviation threshold: mean of the reference's chunks -+ 3 sd."""
            then, now = (np.array(found[what][period]) for period in ("then", "now"))
            high = now > then.mean() + factor * then.std()
            low = (now < then.mean() - factor * then.std()) & both
            return high | low, now > then.mean() if both else None

        return rule

    shares = (0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
    factors = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 12.0)
    return [
        Scored("Evidently RMSE", evidently, DAY, shares, 0.1, rmse),
        Scored("Evidently drift", evidently, DAY, shares, 0.1, drift),
        Scored("NannyML RMSE", nannyml, 1, factors, 3.0, deviations("rmse", both=True)),
        *(
            Scored(f"NannyML {name}", nannyml, DAY, factors, 3.0, deviations(method, both=False))
            for name, method in (
                ("KS", "kolmogorov_smirnov"),
                ("Jensen-Shannon", "jensen_shannon"),
                ("Wasserstein", "wasserstein"),
            )
        ),
    ]


def report_bytes(y_true: np.ndarray, y_pred: np.ndarray) -> int:
    """Bytes of the report that takes one hour's rows, as a cell, to the collector."""
    state = ErrorStats()
    state.update_many(y_true, y_pred)
    series, window = Series("pump", "1", segment="north"), Window(1_767_225_600, HOUR)
    cell = Cell(Identity(bytes(range(16)), 7), 1, True, series, window, state, Coverage())
    report = Report("pi-0001", 1_767_229_200_000, True, (seal(cell),), {}, run="0123456789abcdef")
    return len(encode_report(report))
