"""The job `fleet_topics`: merged figures of every series, retained, for whatever subscribes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from threading import Event
from typing import Any, TypeAlias

import msgspec

from edgemse.cells import Series
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.merging import merged
from edgemse.fleet.selection import select
from edgemse.mqtt import Publication
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores import Reading, Store
from edgemse.topics import Topics

__all__ = ["FleetTopics", "fleet_figures"]

HOUR_SECONDS, DAY_SECONDS = 3_600, 86_400
MINUTE_SECONDS = 60
"""Spans begin on whole minutes, so that they do not change all the time; a window that started less
than a minute ago is not looked at: few devices have reported it."""
LOAD = 0.1
"""Of a thread's time the job takes at most this share: after a long run it lets turns pass."""
LEARN_SECONDS = 600.0
"""So often the broker is asked what it retains: it may have lost it."""
PUBLICATIONS_MAX = 500
"""A run: acks go the same way, and shall not wait long."""
Spans: TypeAlias = dict[str, dict[str, Any] | None]
NAMES = Series._fields
"""Of which the topic is made; these are its group columns too."""


class FleetTopics:
    """Publishes what has changed and clears what is gone, a run at a time.

    Args:
        store: Of the fleet.
        topics: Where to.
        devices_min: Figures of fewer devices are not published.
        topics_max: Of more series those with the fewest samples in a day are left out.
        publish: Hands a publication to the broker; False: it could not.
        learn: Returns what the broker retains on the topics just now.
        told: Is told how many topics there are, and how many series are left out.
        now: UTC seconds.
        monotonic: Seconds that never jump.
    """

    def __init__(
        self,
        store: Store,
        topics: Topics,
        *,
        devices_min: int,
        topics_max: int,
        publish: Callable[[Publication], bool],
        learn: Callable[[Event], Mapping[str, bytes]],
        told: Callable[[int, int], None],
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._topics = store, topics
        self._devices_min, self._topics_max = devices_min, topics_max
        self._publish, self._learn, self._told = publish, learn, told
        self._now, self._monotonic = now, monotonic
        self._retained: dict[str, bytes] = {}
        self._learned = self._ended = -math.inf
        self._not_before = -math.inf

    def run(self, stopping: Event) -> None:
        """Publish what is new; BrokerError if the broker cannot be asked, StoreError."""
        begun = self._monotonic()
        if begun < self._not_before:
            return
        # After a pause another collector may have published.
        if begun - self._learned > LEARN_SECONDS or begun - self._ended > MINUTE_SECONDS:
            self._retained = dict(self._learn(stopping))
            self._learned = begun
        with self._store.reading() as reading:
            found = fleet_figures(reading, self._now(), self._devices_min)
        size = {series: (spans["day"] or {}).get("count", 0) for series, spans in found.items()}
        kept = sorted(found, key=lambda series: (-size[series], series))[: self._topics_max]
        wanted = {
            self._topics.fleet(**series._asdict()): msgspec.json.encode(
                dict(zip(NAMES, series, strict=True)) | found[series]
            )
            for series in kept
        }
        self._told(len(wanted), len(found) - len(wanted))
        for topic, payload in self._changes(wanted):
            if stopping.is_set() or not self._publish(Publication(topic, payload, retain=True)):
                break
            self._note(topic, payload)
        self._ended = self._monotonic()
        self._not_before = self._ended + (self._ended - begun) * (1 / LOAD - 1)

    def _changes(self, wanted: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
        """Return what is to be published: what is gone first, then what waits for longest."""
        gone = [(topic, b"") for topic in self._retained if topic not in wanted]
        new = [(t, wanted[t]) for t in wanted if t not in self._retained]
        # In the order in which they were published last: see _note.
        old = [(t, wanted[t]) for t, held in self._retained.items() if wanted.get(t, held) != held]
        return [*gone, *new, *old][:PUBLICATIONS_MAX]

    def _note(self, topic: str, payload: bytes) -> None:
        self._retained.pop(topic, None)
        if payload:
            self._retained[topic] = payload


def fleet_figures(reading: Reading, now: float, devices_min: int) -> dict[Series, Spans]:
    """Return of each series the spans `window`, `hour` and `day`, each its figures or None.

    `window` is the newest start of windows that enough devices have reported. Series of which no
    span has enough devices are not there.
    """
    minute = int(now) // MINUTE_SECONDS * MINUTE_SECONDS
    hour = Asked(NAMES, {}, minute - HOUR_SECONDS)
    recent = Asked(NAMES, {}, minute - HOUR_SECONDS, int(now) - MINUTE_SECONDS)
    day = Asked(NAMES, {}, minute - DAY_SECONDS)
    found: dict[Series, Spans] = {}
    for name, asked, step in (("window", recent, 1), ("hour", hour, None), ("day", day, None)):
        for series, start, devices, stats in _merged(reading, asked, step):
            if devices < devices_min or not stats.count:
                continue
            spans = found.setdefault(series, {"window": None, "hour": None, "day": None})
            starts = {} if start is None else {"start": iso_time(start)}
            spans[name] = starts | _figures(stats, devices)  # of windows the newest comes last
    return found


def _merged(
    reading: Reading, asked: Asked, step_seconds: int | None
) -> Iterator[tuple[Series, int | None, int, ErrorStats]]:
    """Yield each group's series, start, number of devices and statistics, starts in order."""
    chosen = select(reading, asked, by=asked.by, step_seconds=step_seconds)
    keys = ", ".join(f"g{place}" for place in range(1, chosen.keys + 1))
    # Made of names of columns; values are parameters.
    counted = f"SELECT {keys}, count(DISTINCT device) FROM ({chosen.sql}) AS chosen"  # noqa: S608
    counted += f" GROUP BY {keys}"
    devices = {tuple(key): n for *key, n in reading.rows(counted, chosen.parameters)}
    for group in merged(reading, asked, step_seconds=step_seconds):
        series = Series(*(group.by[name] for name in NAMES))
        key = series if group.start is None else (*series, group.start)
        yield series, group.start, devices[tuple(key)], group.stats


def _figures(stats: ErrorStats, devices: int) -> dict[str, Any]:
    return {
        "devices": devices,
        "count": stats.count,
        "mse": _known(stats.mse),
        "rmse": _known(stats.rmse),
        "bias": _known(stats.bias),
        "interval": [_known(bound) for bound in stats.rmse_interval()],
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
