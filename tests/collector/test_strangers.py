"""What a collector's log says of who may come in, and of devices that are hard to tell apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from support.broker import Mosquitto
from support.cells import batch, cell

from edgemse.broker import BrokerSettings
from edgemse.collector import Collector
from edgemse.collector.settings import CollectorSettings
from edgemse.stats.coverage import Coverage
from edgemse.stores import Batch, DeviceReport, open_store
from edgemse.stores.base import Store

OPEN = "let this collector in without a name: so it does with everybody"
PASSWORD = "secret"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "fleet.duckdb")
    yield store
    store.close()


@pytest.fixture
def collector(store: Store, tmp_path: Path) -> Iterator[Callable[[BrokerSettings], Collector]]:
    made: list[Collector] = []

    def make(broker: BrokerSettings) -> Collector:
        settings = CollectorSettings(store=tmp_path / "fleet.duckdb", broker=broker)
        made.append(Collector(settings, store, over=Event(), now=lambda: 5.0))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_a_broker_that_takes_everybody_is_told(
    broker: Mosquitto,
    collector: Callable[[BrokerSettings], Collector],
    caplog: pytest.LogCaptureFixture,
) -> None:
    collector(BrokerSettings(address=broker.address)).start()
    assert caplog.text.count(OPEN) == 1


def test_of_a_broker_that_asks_who_one_is_nothing_is_told(
    tmp_path: Path,
    collector: Callable[[BrokerSettings], Collector],
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Mosquitto(tmp_path, {"collector": PASSWORD})
    broker.start()
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    running = collector(
        BrokerSettings(address=broker.address, username="collector", password_file=password)
    )
    try:
        running.start()
    finally:
        broker.stop()
    assert OPEN not in caplog.text


def test_a_producer_under_a_second_name_is_told_once(
    store: Store,
    collector: Callable[[BrokerSettings], Collector],
    caplog: pytest.LogCaptureFixture,
) -> None:
    idle = collector(BrokerSettings())
    store.commit(batch(cell(1), device="pi-1"))
    idle.announce(Event())
    assert caplog.text == ""
    for device in ("evil", "worse"):
        store.commit(batch(cell(1, 1), device=device))
        for _ in range(2):
            idle.announce(Event())
    told = "devices report cells of a producer of another device"
    assert [text[:2] for text in caplog.messages if told in text] == ["1 ", "2 "]


def test_what_became_of_labels_is_in_the_metrics(
    store: Store, collector: Callable[[BrokerSettings], Collector]
) -> None:
    idle = collector(BrokerSettings())
    idle.count_labels(Event())
    assert "edgemse_collector_labels_orphan 0" in idle.metrics()
    coverage = Coverage()
    coverage.predictions, coverage.expired, coverage.orphan = 9, 4, 3
    coverage.duplicate, coverage.conflicting = 2, 1
    coverage.match(1_000)
    for number in (1, 2):
        store.commit(batch(cell(number, coverage=coverage), device=f"pi-{number}"))
    idle.count_labels(Event())
    labels = {"matched": 2, "orphan": 6, "duplicate": 4, "conflicting": 2}
    told = {f"labels_{name}": total for name, total in labels.items()}
    for name, total in (told | {"predictions_expired": 8}).items():
        assert f"\nedgemse_collector_{name} {total}\n" in idle.metrics()


def test_twins_are_told_once(
    store: Store,
    collector: Callable[[BrokerSettings], Collector],
    caplog: pytest.LogCaptureFixture,
) -> None:
    idle = collector(BrokerSettings())
    for run in ("a", "b", "a", "b"):
        store.commit(Batch(reports=[DeviceReport("pi-1", 5_000, 5_000, True, {}, run)]))
        idle.announce(Event())
    told = "two boards report in turn under one name"
    assert [told in text for text in caplog.messages] == [True]
