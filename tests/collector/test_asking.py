"""Presences that a broker did not deliver are asked for, by device."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event

import pytest
from support.broker import Mosquitto
from support.device import FakeDevice
from support.waiting import eventually

from edgemse.broker import BrokerSettings
from edgemse.collector import Collector, CollectorSettings, asking
from edgemse.collector.asking import Asking
from edgemse.collector.counters import MEANINGS
from edgemse.counters import Counters
from edgemse.presence import Presence, encode_presence
from edgemse.stores import Batch, DevicePresence, DeviceReport
from edgemse.stores.duckdb import DuckDBStore

NOW = 1_000_000.0
BORN = Presence(True, "edgemse 1", "run-1")


def reported(*devices: str, run: str = "run-1", at: float = NOW) -> Batch:
    at_ms = int(at * 1000)
    return Batch(reports=[DeviceReport(each, at_ms, at_ms, True, {}, run) for each in devices])


class World:
    def __init__(self) -> None:
        self.store = DuckDBStore(Path(":memory:"))
        self.asked: list[list[str]] = []
        self.heard: list[tuple[str, bytes]] = []
        self.time = NOW
        self.counters = Counters(MEANINGS)
        self.asking = Asking(
            self.store,
            self._ask,
            lambda device, payload: self.heard.append((device, payload)),
            self.counters,
            lambda: self.time,
        )

    def _ask(self, devices: Sequence[str], _stopping: Event) -> Mapping[str, bytes]:
        self.asked.append(sorted(devices))
        return {each: b"presence" for each in devices if each != "silent"}

    def run(self) -> list[list[str]]:
        self.asked.clear()
        self.asking.run(Event())
        return self.asked


def test_devices_whose_presence_is_missing_or_another_run_is_asked_for() -> None:
    world = World()
    assert world.run() == []
    world.store.commit(reported("a", "b", "silent"))
    world.store.commit(reported("c", run=""))
    world.store.commit(reported("d", at=NOW - 100_000))
    world.store.commit(Batch(presences=[DevicePresence("b", 0, BORN)]))
    assert world.run() == [["a", "silent"]]
    assert world.heard == [("a", b"presence")]
    assert world.counters["presences_asked"] == 2
    assert world.run() == []
    world.store.commit(Batch(presences=[DevicePresence("a", 0, BORN)]))
    world.store.commit(reported("b", run="run-2"))
    assert world.run() == [["b"]]
    world.time += 3_601
    assert world.run() == [["b", "silent"]]


def test_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "AT_ONCE", 3)
    world = World()
    world.store.commit(reported(*"abcdefgh"))
    assert sorted(each for _ in range(4) for asked in world.run() for each in asked) == [
        *"abcdefgh"
    ]


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that keeps no more than 20 messages for a subscriber, and drops the rest."""
    broker = Mosquitto(tmp_path, settings=["max_queued_messages 20", "max_inflight_messages 20"])
    broker.start()
    yield broker
    broker.stop()


def test_no_birth_of_a_large_fleet_is_missed(
    narrow: Mosquitto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(asking, "AT_ONCE", 15)
    device = FakeDevice(narrow.address)
    devices = [f"pi-{number}" for number in range(100)]
    for each in devices:
        device.publish(device.topics.presence(each), encode_presence(BORN), retain=True)
    store = DuckDBStore(Path(":memory:"))
    settings = CollectorSettings("x", broker=BrokerSettings(address=narrow.address))
    collector = Collector(settings, store, over=Event())
    collector.start()

    def known() -> int:
        with store.reading() as reading:
            ((count,),) = reading.rows("SELECT count(*) FROM devices WHERE online")
        return int(count)

    eventually(known)
    assert known() < 100, "the broker should have dropped some"
    store.commit(reported(*devices, at=time.time()))
    with caplog.at_level(logging.INFO):
        for _ in range(10):
            collector.ask_again(Event())
    assert "connected to the broker" not in caplog.text
    eventually(lambda: known() == 100)
    collector.stop()
    device.close()
    store.close()
