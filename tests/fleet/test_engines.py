"""The same cells in two engines: every question has the same answer, to 1e-12."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from support.engines import duckdb_file, postgres_schemas
from support.fleet import NEEDED, START, Planted, plant_hours
from support.postgres import Postgres

from edgemse.cells import Series
from edgemse.fleet.questions import NAMES
from edgemse.stats.coverage import Coverage

ASKED: dict[str, list[dict[str, Any]]] = {
    name: [
        {},
        {"since": START + 3_600, "until": START + 30 * 3_600},
        {"where": {"site": "north"}},
    ]
    for name in NAMES
}
for name in ("variance", "segments"):
    ASKED[name] += [{"by": ["site", "version"]}, {"by": ["hour_of_day", "weekday"]}]
ASKED["trend"] += [{"step": "6h"}]


@pytest.fixture(scope="module")
def both(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Planted, Planted]]:
    """The same fleet in both engines: two versions, sites that change, segments, late labels."""
    folder: Path = tmp_path_factory.mktemp("engines")
    stores = [make(folder, time.time) for make in (duckdb_file, postgres_schemas(postgres))]
    planted = Planted(store=stores[0]), Planted(store=stores[1])
    for each in planted:
        fill(each)
    yield planted
    for store in stores:
        store.close()


def fill(planted: Planted) -> None:
    scales = {"pi-1": 1.0, "pi-2": 1.3, "pi-3": 2.0, "pümpe 4": 0.7}
    for number, version in enumerate(("v1", "v2", "v2")):
        series = Series("pump", version, "", "day" if number % 2 else "night")
        grown = {device: scale * (1 + number / 5) for device, scale in scales.items()}
        plant_hours(planted, grown, hours=40, per_hour=15, phi=0.3, seed=number, series=series)
    rng = random.Random(5)
    for device, cell in planted.placed[::3]:
        coverage = Coverage()
        coverage.predictions += 20
        for _ in range(15):
            coverage.match(rng.randrange(100_000))
        planted.put(
            device, cell.stats, start=cell.window.start, series=cell.series, coverage=coverage
        )
    for device in scales:
        planted.say(device, site="north" if device < "pi-3" else "south", hardware="pi4")
    planted.say("pi-1", START + 20 * 3_600, site="south", hardware="pi5")
    planted.commit()


def same(one: object, other: object) -> None:
    if is_dataclass(one) and not isinstance(one, type):
        assert type(one) is type(other)
        same(asdict(one), asdict(other))  # type: ignore[call-overload]
    elif isinstance(one, dict):
        assert isinstance(other, dict)
        assert [*one] == [*other]
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, list | tuple):
        assert isinstance(other, list | tuple)
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            same(mine, theirs)
    elif isinstance(one, float):
        assert isinstance(other, float)
        assert one == pytest.approx(other, rel=1e-12, abs=1e-12) or math.isnan(one + other)
    else:
        assert one == other


@pytest.mark.parametrize("name", NAMES)
def test_every_question_has_the_same_answer(both: tuple[Planted, Planted], name: str) -> None:
    for asked in ASKED[name]:
        answers = [each.ask(name, **NEEDED.get(name, {}), **asked) for each in both]
        same(*answers)
