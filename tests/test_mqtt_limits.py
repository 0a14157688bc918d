"""Brokers that limit packets, deny topics, or send what is too large; and what is said of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from paho.mqtt import publish as paho_publish
from support.broker import Mosquitto
from support.waiting import eventually

from edgemse.mqtt import Broker, Connection, Publication
from edgemse.mqtt.link import MQTT_PACKET_BYTES_MAX, PACKET_BYTES_MAX, overhead_bytes

StartBroker = Callable[..., Mosquitto]
USERS = {"pi": "p"}
ACCESS = "user pi\ntopic readwrite own/#\n"


class Listener:
    """A connection that writes down what comes, and what is refused."""

    def __init__(self, broker: Broker) -> None:
        self.heard: list[tuple[str, int]] = []
        self.refused: list[tuple[str, str]] = []
        self.connection = Connection(
            broker,
            "test",
            handlers={"own/#": lambda rest, payload: self.heard.append((rest, len(payload)))},
            on_refused=lambda topic, reason: self.refused.append((topic, reason)),
        )
        self.connection.start(must_connect=True)

    def publish(self, topic: str, size: int) -> bool:
        return self.connection.publish(Publication(topic, bytes(size)))


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def start(broker: Mosquitto, **how: object) -> Listener:
        made.append(Listener(Broker.at(broker.address, **how)))
        return made[-1]

    yield start
    for listener in made:
        listener.connection.stop()


def test_the_packet_that_just_fits_arrives_and_a_larger_one_is_not_handed_over(
    start_broker: StartBroker, listen: Callable[..., Listener]
) -> None:
    listener = listen(start_broker(settings=["max_packet_size 600"]))
    assert listener.connection.packet_bytes_max == 600
    fits = listener.connection.payload_bytes_max("own/a")
    assert fits == 600 - overhead_bytes("own/a")
    assert listener.publish("own/a", fits)
    eventually(lambda: listener.heard == [("a", fits)])
    assert not listener.publish("own/a", fits + 1)
    assert listener.refused == [
        ("own/a", f"{fits + 1} bytes; the broker takes packets of at most 600")
    ]
    assert listener.connection.refused == 1
    assert "does not take what is published to own/a" in listener.connection.last_error
    assert (listener.connection.up, listener.connection.connects) == (True, 1)


def test_a_birth_that_is_too_large_costs_only_itself(start_broker: StartBroker) -> None:
    broker = start_broker(settings=["max_packet_size 600"])
    refused: list[str] = []
    connection = Connection(
        Broker.at(broker.address),
        "test",
        birth=Publication("own/presence", bytes(700), retain=True),
        on_refused=lambda topic, _reason: refused.append(topic),
    )
    connection.start(must_connect=True)
    eventually(lambda: refused == ["own/presence"])
    assert connection.up
    connection.stop()


def test_a_broker_without_a_limit_is_taken_at_mqtts_own(
    broker: Mosquitto, listen: Callable[..., Listener]
) -> None:
    listener = listen(broker)
    assert listener.connection.packet_bytes_max == MQTT_PACKET_BYTES_MAX


def test_a_topic_that_is_denied_is_told_with_its_reason(
    start_broker: StartBroker, listen: Callable[..., Listener]
) -> None:
    broker = start_broker(USERS, access=ACCESS)
    listener = listen(broker, username="pi", password="p")
    assert listener.publish("another/a", 5)
    eventually(lambda: listener.refused == [("another/a", "Not authorized")])
    assert listener.publish("own/a", 5)
    eventually(lambda: listener.heard == [("a", 5)])
    assert (listener.connection.refused, listener.connection.connects) == (1, 1)


@pytest.mark.parametrize(
    ("protocol", "limit"),
    [
        ("3.1.1", "max_packet_size 600"),  # it just closes
        ("5", "message_size_limit 600"),  # Mosquitto 2.0 answers what no PUBACK may hold
    ],
)
def test_a_connection_that_closes_after_each_publication_is_told(
    start_broker: StartBroker, listen: Callable[..., Listener], protocol: str, limit: str
) -> None:
    listener = listen(start_broker(settings=[limit]), protocol=protocol)
    seen = 0

    def published_on_each_connection() -> bool:
        nonlocal seen
        connects = listener.connection.connects
        if connects > seen and listener.publish("own/a", 700):
            seen = connects
        return bool(listener.refused)

    eventually(published_on_each_connection)
    topic, reason = listener.refused[0]
    assert topic == "own/a"
    assert reason.startswith("3 connections in a row were closed soon after publishing")
    assert "700 bytes" in reason
    assert ('protocol = "5" can' in reason) == (protocol == "3.1.1")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_message_above_our_limit_never_takes_memory(
    broker: Mosquitto, listen: Callable[..., Listener], protocol: str
) -> None:
    listener = listen(broker, protocol=protocol)

    def send(size: int) -> None:
        paho_publish.single(
            "own/a", bytes(size), qos=1, hostname="127.0.0.1", port=int(broker.port)
        )

    send(PACKET_BYTES_MAX - 100)
    eventually(lambda: listener.heard == [("a", PACKET_BYTES_MAX - 100)])
    send(PACKET_BYTES_MAX + 1)
    if protocol == "3.1.1":
        eventually(lambda: "at most 1,048,576 are taken" in listener.connection.last_error)
        eventually(lambda: listener.connection.up)
    send(7)
    eventually(lambda: listener.heard[-1] == ("a", 7))
    assert len(listener.heard) == 2
    assert listener.connection.connects == (1 if protocol == "5" else 2)


def test_a_broker_that_never_acknowledges_does_not_fill_the_memory(
    broker: Mosquitto, listen: Callable[..., Listener]
) -> None:
    listener = listen(broker)
    link = listener.connection._link
    assert link is not None
    hold = threading.Event()
    link._acknowledged = lambda _mid, _reason: hold.set()  # type: ignore[method-assign]
    for _ in range(500):
        listener.publish("own/a", 5)
    assert hold.wait(20)
    eventually(lambda: len(listener.heard) == 20)
    assert len(link.unacknowledged) == 20
    assert len(listener.connection._outbox) == 480
