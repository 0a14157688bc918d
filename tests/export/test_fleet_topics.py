"""Figures on topics: which series, which numbers, when, and what becomes of old ones."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from support.broker import Mosquitto
from support.cells import cell, filled
from support.device import FakeDevice
from support.fleet import PUMP, Planted, stats_of
from support.processes import CollectorProcess
from support.waiting import eventually

from edgemse.cells import Cell, Series
from edgemse.errors import BrokerError
from edgemse.export.fleet_topics import PUBLICATIONS_MAX, FleetTopics
from edgemse.mqtt import Broker, Connection, Publication
from edgemse.stats.error_stats import merge_all
from edgemse.topics import Topics

MINUTE, HOUR, DAY = 60, 3_600, 86_400
NOW = 1_767_312_000 + 30
"""2026-01-02 00:00:30 UTC."""
TOPIC = "edgemse/v1/fleet/pump/v1/%/%/%"


class World:
    """A store, what a broker retains, and a clock."""

    def __init__(self, devices_min: int = 2, topics_max: int = 100) -> None:
        self.planted = Planted()
        self.retained: dict[str, bytes] = {}
        self.sent: list[str] = []
        self.learned = 0
        self.up = True
        self.time, self.lasts = 0.0, 0.0
        self.told: tuple[int, int] = (0, 0)
        self.job = FleetTopics(
            self.planted.store,
            Topics(),
            devices_min=devices_min,
            topics_max=topics_max,
            publish=self._publish,
            learn=self._learn,
            told=self._tell,
            now=lambda: NOW + self.time,
            monotonic=lambda: self.time,
        )

    def _publish(self, publication: Publication) -> bool:
        self.time += self.lasts
        if not self.up:
            return False
        assert publication.retain
        self.sent.append(publication.topic)
        self.retained.pop(publication.topic, None)
        if publication.payload:
            self.retained[publication.topic] = publication.payload
        return True

    def _learn(self, _stopping: Event) -> Mapping[str, bytes]:
        self.learned += 1
        if not self.up:
            raise BrokerError("down")
        return self.retained

    def _tell(self, *numbers: int) -> None:
        self.told = (numbers[0], numbers[1])

    def run(self) -> list[str]:
        self.sent.clear()
        self.job.run(Event())
        self.time += 10
        return list(self.sent)

    def at(self, topic: str = TOPIC) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.retained[topic])
        return found


def test_window_hour_and_day_of_a_series() -> None:
    world = World()
    start = NOW - 30
    parts = {n: stats_of(0.1 * n + 0.02 * k * k for k in range(40)) for n in range(8)}
    put = world.planted.put
    put("a", parts[0], start=start - 2 * MINUTE)
    put("b", parts[1], start=start - 2 * MINUTE)
    put("a", parts[2], start=start - MINUTE)  # of one device only
    put("a", parts[3], start=start - HOUR)
    put("b", parts[4], start=start - HOUR - MINUTE)
    put("c", parts[5], start=start - DAY)
    put("c", parts[6], start=start - DAY - MINUTE)  # too old
    put("a", parts[7], start=start - MINUTE, series=Series("pump", "v2"))  # one device
    world.planted.commit()
    assert world.run() == [TOPIC]
    found = world.at()
    assert [found.pop(name) for name in Series._fields] == ["pump", "v1", "", "", ""]
    assert found["window"].pop("start") == "2026-01-01T23:58:00Z"
    for name, numbers, devices in (
        ("window", (0, 1), 2),
        ("hour", (0, 1, 2, 3), 2),
        ("day", (0, 1, 2, 3, 4, 5), 3),
    ):
        want = merge_all(parts[n] for n in numbers)
        interval = found[name].pop("interval")
        assert interval == pytest.approx(list(want.rmse_interval()), rel=1e-12)
        assert found[name] == pytest.approx(
            {
                "devices": devices,
                "count": want.count,
                "mse": want.mse,
                "rmse": want.rmse,
                "bias": want.bias,
            },
            rel=1e-12,
        )


def test_only_what_changes_is_published_and_what_is_gone_is_cleared() -> None:
    world = World()
    old = "edgemse/v1/fleet/gone/v1/%/%/%"
    world.retained[old] = b"{}"
    for device in "ab":
        world.planted.put(device, filled(1), start=NOW - 30 - HOUR - MINUTE)
        other = Series("a/b", "", "100%", "é", "loss:huber")
        world.planted.put(device, filled(2), start=NOW - 30 - DAY, series=other)
    world.planted.commit()
    special = "edgemse/v1/fleet/a%2Fb/%/%C3%A9/100%25/loss:huber"
    assert sorted(world.run()) == sorted([old, TOPIC, special])
    assert world.retained.keys() == {TOPIC, special}
    assert (world.at()["window"], world.at()["hour"]) == (None, None)
    assert world.run() == []
    assert world.told == (2, 0)
    world.time += MINUTE  # the oldest minute leaves the day
    assert world.run() == [special]
    assert world.retained.keys() == {TOPIC}
    assert world.learned == 2
    world.planted.put("c", filled(3), start=NOW - 30 - 2 * HOUR)
    world.planted.commit()
    assert world.run() == [TOPIC]
    assert world.at()["day"]["devices"] == 3


def test_a_broker_that_is_away_or_forgets_gets_it_later() -> None:
    world = World(devices_min=1)
    world.planted.put("a", filled(1), start=NOW - 30 - 2 * HOUR)
    world.planted.commit()
    world.up = False
    with pytest.raises(BrokerError):
        world.run()
    world.up = True
    assert world.run() == [TOPIC]
    world.planted.put("b", filled(2), start=NOW - 30 - 2 * HOUR)
    world.planted.commit()
    world.up = False
    assert world.run() == []
    world.up = True
    assert world.run() == [TOPIC]
    world.retained.clear()
    for _ in range(61):
        world.run()
    assert world.retained.keys() == {TOPIC}


def test_the_number_of_topics_and_of_publications_is_bounded() -> None:
    world = World(devices_min=1, topics_max=PUBLICATIONS_MAX + 50)
    for number in range(PUBLICATIONS_MAX + 60):
        series = Series("pump", f"v{number}")
        stats = stats_of([1.0] * (1 if number < 10 else 2))
        world.planted.put("a", stats, start=NOW - 30 - 2 * HOUR, series=series)
    world.planted.commit()
    assert len(world.run()) == PUBLICATIONS_MAX
    assert len(world.run()) == 50
    assert world.run() == []
    assert world.told == (PUBLICATIONS_MAX + 50, 10)
    assert "edgemse/v1/fleet/pump/v5/%/%/%" not in world.retained


def test_a_long_run_lets_turns_pass() -> None:
    world = World(devices_min=1)
    world.planted.put("a", filled(1), start=NOW - 30 - 2 * HOUR)
    world.planted.commit()
    world.lasts = 5.0
    assert world.run() == [TOPIC]
    world.planted.put("b", filled(1), start=NOW - 30 - 2 * HOUR)
    world.planted.commit()
    turns = [world.run() for _ in range(6)]
    assert turns.index([TOPIC]) == 4  # 5 s of work, 45 s of rest


def test_a_collector_publishes_them_and_others_read(broker: Mosquitto, tmp_path: Path) -> None:
    config = tmp_path / "collector.toml"
    config.write_text("[topics]\nenabled = true\nevery_seconds = 1\ndevices_min = 2\n")
    collector = CollectorProcess(tmp_path / "fleet.duckdb", broker.address, "--config", str(config))
    heard: dict[str, list[bytes]] = {}

    def hear(*found: Any) -> None:
        heard.setdefault("/".join(found[:-1]), []).append(found[-1])

    reader = Connection(Broker.at(broker.address), "reader", handlers={Topics().any_fleet: hear})
    reader.start(must_connect=True)
    devices = [FakeDevice(broker.address, name) for name in ("pi-1", "pi-2")]
    devices[0].publish("edgemse/v1/fleet/gone/v1/%/%/%", b"{}", retain=True)
    collector.start()
    try:
        start = int(time.time()) // 60 * 60 - 600
        cells: list[Cell] = [cell(number, start=start, series=PUMP) for number in range(2)]
        for device, each in zip(devices, cells, strict=True):
            device.send([each])
            device.wait_for([each])
        eventually(lambda: heard.get("gone/v1/%/%/%", [b"{}"])[-1] == b"")
        (payload,) = eventually(lambda: heard.get("pump/v1/%/%/%", []))
        found = json.loads(payload)
        assert found["window"]["count"] == found["hour"]["count"] == found["day"]["count"] == 40
        assert found["day"]["mse"] == pytest.approx(
            merge_all(each.stats for each in cells).mse, rel=1e-12
        )
        metrics = str(collector.get("/metrics")[1])
        assert "edgemse_collector_fleet_topics 1\n" in metrics
        assert collector.stop() == 0
    finally:
        for device in devices:
            device.close()
        reader.stop()
        collector.close()
