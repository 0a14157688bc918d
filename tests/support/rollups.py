"""Stores that are rolled up, and answers that must not show it."""

from __future__ import annotations

import math
import random

from edgemse.cells import Series
from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import Group, merged
from edgemse.fleet.selection import select
from edgemse.rollups.retention import Retained, retain
from edgemse.rollups.rolling import Backlog, Rolled, backlog, roll_up
from edgemse.stats.coverage import Coverage
from edgemse.stores import Store
from edgemse.stores.keep import Keep
from support.fleet import START, Planted, stats_of

DAY = 86_400
LATER = START + 30.0 * DAY
DEVICES = ("pi-1", "pi-2", "pi-3")


def rolled(store: Store, now: float = LATER) -> Rolled:
    return roll_up(store, now)


def left(store: Store, now: float = LATER) -> Backlog:
    with store.reading() as reading:
        return backlog(reading, now)


def read(store: Store, asked: Asked, step: int | None = None) -> list[Group]:
    with store.reading() as reading:
        return [*merged(reading, asked, step_seconds=step, lag_histograms=True)]


def reads_rollups(store: Store, asked: Asked) -> bool:
    with store.reading() as reading:
        return "FROM rollups" in select(reading, asked, by=asked.by).sql


def same(one: list[Group], other: list[Group]) -> None:
    """Hold counts and histograms to be equal, moments to 8 ulp of what was added up for them."""
    assert [(each.by, each.start) for each in one] == [(each.by, each.start) for each in other]
    for a, b in zip(one, other, strict=True):
        assert a.coverage.to_row() == b.coverage.to_row()
        assert a.stats.histogram == b.stats.histogram
        x, y = a.stats.moments(), b.stats.moments()
        sd = math.sqrt(max(x.m2, y.m2) / x.weight) if x.weight else 0.0
        reach = max(abs(x.min_error), abs(x.max_error)) if x.count else 0.0
        scale = {"mean": reach, "m2": x.m2, "m3": x.weight * max(sd, reach) ** 3, "m4": x.m4}
        scale |= {"y_mean": abs(x.y_mean), "y_m2": x.y_m2, "y_e": math.sqrt(x.y_m2 * x.m2)}
        for name, wanted in x._asdict().items():
            got = getattr(y, name)
            if isinstance(wanted, int) or not x.count:
                assert got == wanted, name
            elif not name.endswith("_lo"):
                most = 8 * math.ulp(scale.get(name, abs(wanted)))
                assert abs(got - wanted) <= most, (name, wanted, got)


def fill(planted: Planted, rng: random.Random, cells: int) -> None:
    """Put cells of all widths into three days."""
    for _ in range(cells):
        width = rng.choice((10, 60, 60, 300, 3_600, 86_400))
        start = START + rng.randrange(3 * DAY) // width * width
        coverage = Coverage()
        coverage.predictions += 3
        if rng.random() < 0.5:
            coverage.match(rng.randrange(10_000))
        count = rng.randrange(4)
        stats = stats_of(rng.gauss(5, 2) for _ in range(count))
        series = Series("pump", rng.choice(("v1", "v2")), "", rng.choice(("", "night")))
        device = rng.choice(DEVICES)
        planted.put(device, stats, start=start, width=width, series=series, coverage=coverage)
    planted.commit()


def counts(store: Store) -> dict[str, int]:
    """Return the samples of each device."""
    return {each.by["device"]: each.stats.count for each in read(store, Asked(("device",)))}


def retained(store: Store, now: float = LATER, **days: int) -> Retained:
    return retain(store, Keep(**days), now)
