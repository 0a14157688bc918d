"""A store with known cells, and what questions say of it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypedDict

from edgemse.cells import Cell, Identity, Series, Window
from edgemse.fleet.answers import Answer
from edgemse.fleet.asking import ask
from edgemse.presence import Attribute, Presence
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores import Batch, DevicePresence, Store
from edgemse.stores.duckdb import DuckDBStore
from support.cells import offered

START = 1_767_225_600
"""2026-01-01 00:00 UTC, a Thursday."""
NOW = START + 30 * 86_400.0
PUMP = Series("pump", "v1")
OBJECTIVES = (
    'objective=[{name="close",kind="share",tolerance=2.0,target=0.99,period_days=60,owner="anna"}]'
)
SHARE = {"name": "close", "kind": "share", "tolerance": 2, "target": 0.99, "owner": "anna"}
"""One objective, of which tests change what they are about."""
NEEDED = {
    "compare": {"a": "v1", "b": "v2"},
    "drift": {"reference": "2025-12-01/2026-01-01"},
    "gate": {"a": "v1", "b": "v2", "max_ratio": "1.05"},
    "objectives": {"objectives": OBJECTIVES},
    "targets": {"objectives": OBJECTIVES},
}
"""What some questions cannot do without."""


def tables_of(*tables: Mapping[str, object]) -> str:
    """Return the text of a file of objectives."""
    return json.dumps({"objective": tables})


def needed(name: str, folder: Path) -> list[str]:
    """Return the same as options of the command, which takes a file of objectives."""
    given = dict(NEEDED.get(name, {}))
    if "objectives" in given:
        file = folder / "objectives.toml"
        file.write_text(given["objectives"])
        given["objectives"] = str(file)
    return [text for key, value in given.items() for text in (f"--{key}".replace("_", "-"), value)]


class By(TypedDict):
    """Who sets something."""

    who: str
    host: str


BY = By(who="anna", host="desk")


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


class Planted:
    """An empty store in memory (or a file, or the one given), and what puts cells into it."""

    def __init__(self, path: Path | None = None, store: Store | None = None) -> None:
        self.path = path or Path(":memory:")
        self.store: Store = store or DuckDBStore(self.path)
        self.placed: list[tuple[str, Cell]] = []

    def put(
        self,
        device: str,
        stats: ErrorStats,
        *,
        start: int = START,
        width: int = 60,
        series: Series = PUMP,
        coverage: Coverage | None = None,
    ) -> None:
        """Note a cell; `commit` writes what was noted."""
        identity = Identity(len(self.placed).to_bytes(16, "big"), 0)
        window = Window(start, width)
        cell = Cell(identity, 1, True, series, window, stats, coverage or Coverage())
        self.placed.append((device, cell))

    def commit(self) -> None:
        self.store.commit(Batch(cells=offered(*self.placed)))

    def say(self, device: str, at: int = START, **attributes: str) -> None:
        """Commit a birth whose attributes hold since `at`."""
        said = {name: Attribute(value, at) for name, value in attributes.items()}
        presence = Presence(True, "edgemse 1", "run", attributes=said)
        heard = DevicePresence(device, at * 1000, presence)
        self.store.commit(Batch(presences=[heard]))

    def ask(self, question: str, **asked: object) -> Answer:
        with self.store.reading() as reading:
            return ask(reading, question, now=NOW, **asked)  # type: ignore[arg-type]


def stats_of(errors: Iterable[float]) -> ErrorStats:
    """Return the statistics of errors of labels that are 20."""
    stats = ErrorStats()
    found = list(errors)
    stats.update_many([20.0] * len(found), [20.0 + error for error in found])
    return stats


def follow(rng: random.Random, count: int, phi: float) -> list[float]:
    """Return a normal AR(1) series of variance 1."""
    found = [rng.gauss(0, 1)]
    for _ in range(count - 1):
        found.append(phi * found[-1] + math.sqrt(1 - phi * phi) * rng.gauss(0, 1))
    return found


def plant_hours(
    planted: Planted,
    scales: Mapping[str, float],
    *,
    hours: int,
    per_hour: int = 60,
    phi: float = 0.0,
    seed: int = 1,
    series: Series = PUMP,
) -> None:
    """Put hourly cells of normal AR(1) errors, each device with its scale."""
    rng = random.Random(seed)
    for device, scale in scales.items():
        errors = [scale * e for e in follow(rng, hours * per_hour, phi)]
        for hour in range(hours):
            stats = stats_of(errors[hour * per_hour : (hour + 1) * per_hour])
            planted.put(device, stats, start=START + 3_600 * hour, width=3_600, series=series)
