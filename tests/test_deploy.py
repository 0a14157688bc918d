"""The files of deploy/ are ones that the programs take, and the access list keeps devices apart."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path

import pytest
from edgemse_agent.settings import read
from support.broker import Mosquitto
from support.waiting import eventually

from edgemse.collector import CollectorSettings
from edgemse.mqtt import Broker, Connection, Publication
from edgemse.settings import load, read_toml
from edgemse.topics import Topics

DEPLOY = Path(__file__).parent.parent / "deploy"
TOPICS = Topics()
USERS = {"collector": "c", "pump-7": "p", "pump-8": "q"}


def test_the_settings_are_read() -> None:
    agent = read(DEPLOY / "agent.toml")
    assert agent.device == agent.broker.username
    path = DEPLOY / "collector.toml"
    collector = load(CollectorSettings, read_toml(path), str(path))
    assert collector.broker.address == agent.broker.address


@pytest.fixture
def bound(start_broker: Callable[..., Mosquitto]) -> Mosquitto:
    return start_broker(USERS, access=(DEPLOY / "mosquitto" / "access").read_text())


def test_a_device_reaches_its_own_topics_and_no_others(bound: Mosquitto) -> None:
    heard: dict[str, queue.SimpleQueue[str]] = {name: queue.SimpleQueue() for name in USERS}
    connections = {}
    for name, password in USERS.items():
        connections[name] = Connection(
            Broker.at(bound.address, username=name, password=password),
            name,
            subscriptions=["edgemse/v1/#"],
            on_message=lambda topic, _, name=name: heard[name].put(topic),
        )
        connections[name].start(must_connect=True)

    def publish(name: str, topic: str) -> None:
        assert connections[name].publish(Publication(topic, b"x"))

    publish("pump-7", TOPICS.report("pump-8"))  # not its own: it goes nowhere
    publish("pump-7", TOPICS.collector("main"))
    publish("pump-7", TOPICS.report("pump-7"))
    assert heard["collector"].get(timeout=20) == TOPICS.report("pump-7")
    publish("collector", TOPICS.ack("pump-7"))
    publish("collector", TOPICS.collector("main"))
    assert heard["pump-8"].get(timeout=20) == TOPICS.collector("main")
    own = [heard["pump-7"].get(timeout=20) for _ in range(3)]
    assert own == [TOPICS.report("pump-7"), TOPICS.ack("pump-7"), TOPICS.collector("main")]
    eventually(lambda: heard["collector"].qsize() == 2)
    for connection in connections.values():
        connection.stop()
