"""More than the collector can take: memory is bounded, and devices are told to wait."""

from __future__ import annotations

import random
from collections import deque
from pathlib import Path
from threading import Event, Thread

import pytest
from edgemse_agent.counting import MEANINGS as AGENT_MEANINGS
from edgemse_agent.ledger import Ledger, Written
from edgemse_agent.pace import Pace
from edgemse_agent.relay import Relay
from edgemse_agent.uplink import IN_FLIGHT_MAX, Stamp, Uplink
from support.cells import START, cell
from support.waiting import eventually

from edgemse.broker import BrokerSettings
from edgemse.cells import Identity, seal
from edgemse.collector.counters import MEANINGS
from edgemse.collector.inbox import MESSAGES_MAX, Inbox, Kind, Message
from edgemse.collector.pressure import Pressure
from edgemse.collector.service import Collector
from edgemse.collector.settings import CollectorSettings
from edgemse.counters import Counters
from edgemse.mqtt import Publication
from edgemse.presence import Presence, decode_presence
from edgemse.stores import Batch
from edgemse.stores.duckdb import DuckDBStore
from edgemse.wire import Ack, Report, decode_report, encode_report


class Clock:
    time = 1_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_inbox_knows_how_old_its_oldest_message_is(clock: Clock) -> None:
    inbox = Inbox(Counters(MEANINGS), now=clock)
    message = Message(Kind.REPORT, "pi-1", b"1")
    assert inbox.age_seconds() == 0
    inbox.put(message)
    clock.time += 3
    inbox.put(message)
    assert inbox.age_seconds() == 3
    assert inbox.take(1, 0.0) == [message]
    clock.time += 1
    assert inbox.age_seconds() == 4  # what was taken out is not committed yet
    assert inbox.take(1, 0.0) == [message]
    assert inbox.age_seconds() == 1
    inbox.close()
    assert inbox.take(1, 0.0) == []
    assert inbox.age_seconds() == 0


def test_devices_are_told_in_steps_and_not_too_often(clock: Clock) -> None:
    pressure = Pressure(clock)
    assert not pressure.changes(2.0)
    assert pressure.changes(2.1)
    assert pressure.told_seconds == 5
    assert not pressure.changes(30)
    clock.time += 5
    assert pressure.changes(30)
    assert pressure.told_seconds == 80
    clock.time += 59
    assert not pressure.changes(0)
    clock.time += 1
    assert pressure.changes(0)
    assert pressure.told_seconds == 0
    clock.time += 5
    assert pressure.changes(10_000)
    assert pressure.told_seconds == 300


def report(number: int) -> bytes:
    sealed = seal(cell(number % 50, number))
    return encode_report(Report("pi-1", START * 1_000, True, (sealed,), {}))


def test_a_store_that_stalls_is_told_and_bounds_what_waits(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DuckDBStore(tmp_path / "fleet.duckdb")
    settings = CollectorSettings(store="x", broker=BrokerSettings())
    collector = Collector(
        settings, store, over=Event(), now=lambda: START + 100_000.0, monotonic=clock
    )
    published: list[Publication] = []

    def publish(publication: Publication) -> bool:
        published.append(publication)
        return True

    def told() -> list[float]:
        return [decode_presence(p.payload).ack_seconds for p in published if p.retain]

    monkeypatch.setattr(collector._connection, "publish", publish)
    stalled, goes_on = Event(), Event()
    commit = store.commit

    def stalling(batch: Batch) -> dict[Identity, int]:
        stalled.set()
        assert goes_on.wait(60)
        return commit(batch)

    monkeypatch.setattr(store, "commit", stalling)
    thread = Thread(target=collector._ingest.run, args=(collector._inbox, Event()))
    thread.start()
    collector._queue(Kind.REPORT, "pi-1", report(0))
    assert stalled.wait(60)
    small = report(1)
    for _ in range(MESSAGES_MAX + 500):
        collector._queue(Kind.REPORT, "pi-1", small)
    assert len(collector._inbox) == MESSAGES_MAX
    assert collector.counters["messages_dropped"] == 500
    assert told() == []
    clock.time += 8
    collector._queue(Kind.REPORT, "pi-1", small)
    assert told() == [20]
    assert "edgemse_collector_queue_seconds 8" in collector.metrics()
    assert "edgemse_collector_ack_seconds 20" in collector.metrics()
    goes_on.set()
    eventually(lambda: collector._inbox.age_seconds() == 0, seconds=60)
    clock.time += 60
    collector._queue(Kind.REPORT, "pi-1", small)
    collector._inbox.close()
    thread.join()
    assert told() == [20, 0]
    collector.stop()
    store.close()


class Fleet:
    """Agents' uplinks and a collector that takes so many reports a second, second by second."""

    def __init__(self, agents: int, capacity: int, *, tells: bool) -> None:
        self.now, self.capacity, self.tells = 0.0, capacity, tells
        self.pressure = Pressure(lambda: self.now)
        self.queue: deque[tuple[float, int, Report]] = deque()
        self.longest = 0
        self.held: set[Identity] = set()
        self.made = 0
        self.counters = [Counters(AGENT_MEANINGS) for _ in range(agents)]
        self.ledgers = [Ledger(None) for _ in range(agents)]
        pace = Pace(75.0)
        self.uplinks = [
            Uplink(f"pi-{n}", f"run {n}", self.ledgers[n], Relay(pace), self.counters[n], rng, pace)
            for n, rng in enumerate(map(random.Random, range(agents)))
        ]
        self.tell()

    def tell(self) -> None:
        said = self.pressure.told_seconds if self.tells else 0.0
        for uplink in self.uplinks:
            uplink.heard("w", Presence(True, "s", "run", ack_seconds=said))

    def second(self, offered: float) -> None:
        """Let the fleet make so many cells, and the collector work for a second."""
        self.now += 1
        while self.made < offered:
            sealed = seal(cell(1 + self.made, 0, final=True))
            self.ledgers[self.made % len(self.ledgers)].commit([Written(sealed)])
            self.made += 1
        for number, uplink in enumerate(self.uplinks):
            for each in uplink.round(Stamp(self.now, 1e9 + self.now, True)):
                self.queue.append((self.now, number, decode_report(each)))
        self.longest = max(self.longest, len(self.queue))
        for _ in range(min(self.capacity, len(self.queue))):
            _, number, read = self.queue.popleft()
            revisions = {each.identity: each.revision for each in read.cells}
            self.held |= revisions.keys()
            self.uplinks[number].acked(Ack("w", revisions))
        age = self.now - self.queue[0][0] if self.queue else 0.0
        if self.pressure.changes(age):
            self.tell()

    def resent(self) -> int:
        return sum(counters["reports_resent"] for counters in self.counters)

    def close(self) -> None:
        for ledger in self.ledgers:
            ledger.close()


def test_agents_of_a_collector_that_is_behind_do_not_send_the_same_again() -> None:
    """Twice what it can take for a minute: all arrives once the load ends."""
    resent, longest = [], []
    for tells in (False, True):
        fleet = Fleet(30, capacity=5, tells=tells)
        for second in range(60):
            fleet.second(10 * second)
        while len(fleet.held) < fleet.made:
            assert fleet.now < 600, "they never come to an end"
            fleet.second(fleet.made)
        resent.append(fleet.resent())
        longest.append(fleet.longest)
        fleet.close()
    assert resent[0] > 0
    assert resent[1] == 0
    assert longest[1] <= 30 * IN_FLIGHT_MAX < longest[0]
