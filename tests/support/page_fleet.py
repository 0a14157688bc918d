"""A fleet with something to find on each view, whose windows end now."""

from __future__ import annotations

import random
import time
from pathlib import Path

from edgemse.cells import Series
from edgemse.stats.coverage import Coverage
from support.fleet import Planted, stats_of

HOUR = 3_600
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp"
"""A device that would be markup, and whose letters run the other way."""
SCALES = {f"pump-{number:02}": 1.0 + 0.02 * number for number in range(11)} | {HOSTILE: 2.4}
SAMPLES = 60
"""A window of an hour has so many."""


def page_fleet(path: Path | None = None, *, hours: int = 96) -> Planted:
    """Return a store: v2 came half-way, is better by day and worse by night; a device is silent."""
    planted = Planted(path)
    rng = random.Random(7)
    end = int(time.time()) // HOUR * HOUR
    for device, scale in SCALES.items():
        planted.say(device, end - hours * HOUR, site="north" if rng.random() < 0.5 else "south")
        left = hours - 30 if device == "pump-03" else hours
        for hour in range(left):
            start = end - (hours - hour) * HOUR
            second = hour >= hours // 2 and device != "pump-10"
            night = hour % 24 < 8
            better = {False: 1.0, True: 1.15 if night else 0.8}[second]
            series = Series("pump", "v2" if second else "v1", "", "night" if night else "day", "")
            errors = [rng.gauss(0.1, scale * better) for _ in range(SAMPLES)]
            planted.put(
                device,
                stats_of(errors),
                start=start,
                width=HOUR,
                series=series,
                coverage=_labelled(rng),
            )
    planted.commit()
    return planted


def _labelled(rng: random.Random) -> Coverage:
    made = Coverage()
    made.predictions = SAMPLES + 6
    for _ in range(SAMPLES):
        made.match(lag_ms=rng.randrange(1_000, 90_000))
    made.expired = 6
    return made


def one_device() -> Planted:
    """Return a store of one device that has one window, without labels."""
    planted = Planted()
    start = int(time.time()) // HOUR * HOUR - HOUR
    planted.say("only", start)
    planted.put("only", stats_of([0.5, -0.5, 1.0]), start=start, width=HOUR)
    planted.commit()
    return planted
