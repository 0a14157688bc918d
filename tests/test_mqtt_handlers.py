"""One table from topic filters to handlers: which one a message reaches, and with what."""

from __future__ import annotations

import queue
from collections.abc import Callable

import pytest
from support.broker import Mosquitto
from support.waiting import eventually

from edgemse.mqtt import Broker, Connection, Publication
from edgemse.mqtt.handlers import Handlers


def table_of(*filters: str) -> tuple[Handlers, list[tuple[str, str]]]:
    heard: list[tuple[str, str]] = []

    def into(name: str) -> Callable[[str, bytes], None]:
        return lambda rest, _payload: heard.append((name, rest))

    return Handlers({name: into(name) for name in filters}), heard


@pytest.mark.parametrize(
    ("wanted", "topic", "rest"),
    [
        ("a/b", "a/b", ""),
        ("a/b", "a/b/c", None),
        ("a/b", "a", None),
        ("a/+/c", "a/hall 3%2Fnorth/c", "hall 3%2Fnorth"),
        ("a/+/c", "a//c", ""),
        ("+/+/c", "x/y/c", "x/y"),
        ("a/#", "a/b/c", "b/c"),
        ("a/#", "a", ""),
        ("a/+/#", "a/b/c/d", "b/c/d"),
        ("#", "$SYS/broker", None),
        ("+/broker", "$SYS/broker", None),
        ("$SYS/#", "$SYS/broker", "broker"),
        ("$share/group/a/+", "a/b", "b"),
        ("a/+", "A/b", None),
    ],
)
def test_a_filter_matches_as_mqtt_says(wanted: str, topic: str, rest: str | None) -> None:
    table, heard = table_of(wanted)
    assert table(topic, b"") == (rest is not None)
    assert heard == ([] if rest is None else [(wanted, rest)])
    assert table.unasked == (rest is None)


@pytest.mark.parametrize(
    "filters", [("a/+/report", "a/collector/+", "a/#"), ("a/#", "a/collector/+", "a/+/report")]
)
def test_the_filter_that_says_most_goes_first(filters: tuple[str, ...]) -> None:
    table, heard = table_of(*filters)
    for topic in ("a/collector/report", "a/pump/report", "a/pump/ack"):
        table(topic, b"")
    assert heard == [("a/collector/+", "report"), ("a/+/report", "pump"), ("a/#", "pump/ack")]


def test_a_handler_that_raises_loses_its_message_and_nothing_else(broker: Mosquitto) -> None:
    heard: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    def take(who: str, payload: bytes) -> None:
        if payload == b"poison":
            raise ValueError("poison")
        heard.put((who, payload))

    connection = Connection(Broker.at(broker.address), "test", handlers={"a/+/b": take})
    connection.start(must_connect=True)
    connection.publish(Publication("a/pump-7/b", b"poison", retain=True))
    connection.publish(Publication("a/pump-7/b", b"good"))
    assert heard.get(timeout=20) == ("pump-7", b"good")
    assert (connection.connects, connection.handlers.failed) == (1, 1)
    broker.stop()
    eventually(lambda: not connection.up)
    connection.stop()
