"""The delivery tests against other people's brokers, and what each of them supports.

docs/brokers.md has the table; `SUPPORTED` is the same, and a test holds them together.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from support.amqtt import Amqtt
from support.broker import Mosquitto
from support.nats import Nats
from support.rabbitmq import SERVER, RabbitMQ
from support.waiting import eventually
from support.whole import Fleet

pytestmark = pytest.mark.timeout(300)


def mosquitto(folder: Path) -> Mosquitto:
    return Mosquitto(folder)


def rabbitmq(folder: Path) -> RabbitMQ:
    if not SERVER.exists():
        pytest.skip("no RabbitMQ server")
    return RabbitMQ(folder)


def nats(folder: Path) -> Nats:
    if shutil.which("nats-server") is None:
        pytest.skip("no nats-server on PATH")
    return Nats(folder)


BROKERS: dict[str, Any] = {
    "Mosquitto": mosquitto,
    "RabbitMQ": rabbitmq,
    "NATS": nats,
    "amqtt": Amqtt,
}
SUPPORTED = {
    "Mosquitto": {
        "MQTT 5",
        "retained",
        "retained for wildcards",
        "last will",
        "shared",
        "every name",
    },
    "RabbitMQ": {"retained", "last will"},
    "NATS": {"retained", "retained for wildcards", "last will"},
    "amqtt": {"retained", "retained for wildcards", "last will", "every name"},
}
"""What each was seen to do, of what edgemse can make use of."""
OTHERS = ["RabbitMQ", "NATS"]
"""Mosquitto and amqtt go through the same in tests/test_end_to_end.py."""


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = BROKERS[request.param](tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def fleet(broker: Any, tmp_path: Path) -> Iterator[Fleet]:
    with closing(Fleet(broker, tmp_path)) as running:
        running.collector.start()
        running.agent.start()
        yield running


@pytest.mark.parametrize("broker", OTHERS, indirect=True)
def test_everything_arrives_once_whatever_is_killed(fleet: Fleet) -> None:
    fleet.feed()
    fleet.client.exchange()
    fleet.broker.stop()
    fleet.feed()
    eventually(fleet.client.exchange)
    fleet.broker.start()
    fleet.feed()
    fleet.client.exchange()
    fleet.agent.kill()
    fleet.feed()
    fleet.agent.start()
    fleet.client.exchange()
    fleet.collector.close()
    fleet.feed()
    fleet.client.exchange()
    fleet.collector.start()
    fleet.settle()
    fleet.check()


@pytest.mark.parametrize("broker", OTHERS, indirect=True)
def test_what_waits_at_the_agents_end_comes_when_the_collector_is_back(fleet: Fleet) -> None:
    fleet.collector.stop()
    fleet.feed()
    eventually(fleet.client.exchange)
    fleet.monitor.flush(30)
    assert fleet.agent.stop(signal.SIGINT) == 0
    fleet.collector.start()
    fleet.agent.start()
    fleet.settle()
    fleet.check()


class Peer:
    """A client of paho's own, so that the table speaks of the broker alone."""

    def __init__(self, broker: Any, *filters: str, version: int = 4, will: str = "") -> None:
        self.heard: list[bytes] = []
        self.up = self.granted = False
        self._filters = filters
        self._client = client = Client(CallbackAPIVersion.VERSION2, protocol=version)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = lambda _client, _data, message: self.heard.append(message.payload)
        if will:
            client.will_set(will, b"gone", qos=1)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()

    def _connected(self, client: Client, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        self.up = not reason.is_failure
        if self.up and self._filters:
            client.subscribe([(each, 1) for each in self._filters])

    def _subscribed(self, _client: Any, _data: Any, _id: int, codes: Any, _more: Any) -> None:
        self.granted = not any(each.is_failure for each in codes)

    def ready(self) -> Peer:
        eventually(lambda: self.granted if self._filters else self.up)
        return self

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    def cut(self) -> None:
        """Break the connection as a power cut does."""
        self._client.loop_stop()
        socket = self._client.socket()
        assert socket is not None
        socket.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def speaks_5(broker: Any) -> bool:
    """Whether it answers a CONNECT of MQTT 5 with anything but a refusal or a closed line."""
    with closing(Peer(broker, version=5)) as peer, suppress(AssertionError):
        eventually(lambda: peer.up, 5)
    return peer.up


def retains(broker: Any, subscribed: str = "edgemse/v1/pi/presence") -> bool:
    with closing(Peer(broker)) as peer:
        peer.ready().publish("edgemse/v1/pi/presence", b"birth", retain=True)
    with closing(Peer(broker, subscribed)) as late, suppress(AssertionError):
        eventually(lambda: late.heard, 5)
    return late.heard == [b"birth"]


def retains_for_wildcards(broker: Any) -> bool:
    return retains(broker, "edgemse/v1/+/presence")


def takes_every_name(broker: Any) -> bool:
    """Whether a device may be called `pi 1.local`."""
    with (
        closing(Peer(broker, "edgemse/v1/+/report")) as listener,
        closing(Peer(broker)) as sender,
        suppress(AssertionError, RuntimeError, ValueError),
    ):
        listener.ready()
        sender.ready().publish("edgemse/v1/pi 1.local/report", b"named")
        eventually(lambda: listener.heard, 5)
    return listener.heard == [b"named"]


def tells_the_last_will(broker: Any) -> bool:
    with closing(Peer(broker, "edgemse/v1/+/presence")) as listener:
        listener.ready()
        Peer(broker, will="edgemse/v1/pi/presence").ready().cut()
        with suppress(AssertionError):
            eventually(lambda: b"gone" in listener.heard, 10)
        return b"gone" in listener.heard


def shares(broker: Any) -> bool:
    """Whether two subscribers of one group divide what is published between them."""
    name = "$share/group/edgemse/v1/+/report"
    with (
        closing(Peer(broker, name)) as one,
        closing(Peer(broker, name)) as other,
        closing(Peer(broker)) as sender,
    ):
        with suppress(AssertionError):
            eventually(lambda: one.granted and other.granted, 5)
        sender.ready()
        for number in range(40):
            sender.publish("edgemse/v1/pi/report", bytes([number]))
        with suppress(AssertionError):
            eventually(lambda: len(one.heard) + len(other.heard) >= 40, 3)
        return len(one.heard) + len(other.heard) == 40 and bool(one.heard and other.heard)


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
def test_the_table_says_what_it_supports(broker: Any, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["broker"]
    found = {
        each
        for each, works in {
            "MQTT 5": speaks_5,
            "retained": retains,
            "retained for wildcards": retains_for_wildcards,
            "last will": tells_the_last_will,
            "shared": shares,
            "every name": takes_every_name,
        }.items()
        if works(broker)
    }
    assert found == SUPPORTED[name]


def test_the_docs_say_the_same() -> None:
    lines = (Path(__file__).parents[2] / "docs" / "brokers.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    columns = rows[0][1:]
    said = {
        row[0].split()[0]: {
            name for name, word in zip(columns, row[1:], strict=True) if word == "yes"
        }
        for row in rows[2:]
    }
    assert said == SUPPORTED
