"""The connection, against a real Mosquitto: up, refused, broken, back, goodbye."""

from __future__ import annotations

import queue
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from support.broker import Mosquitto, free_port
from support.waiting import eventually

from edgemse.errors import BrokerError, BrokerRefusedError, SettingsError
from edgemse.mqtt import Broker, Connection, Publication, _Link

Connect = Callable[..., Connection]


@pytest.fixture
def inbox() -> queue.SimpleQueue[tuple[str, bytes]]:
    return queue.SimpleQueue()


@pytest.fixture
def connect(inbox: queue.SimpleQueue[tuple[str, bytes]]) -> Iterator[Connect]:
    made: list[Connection] = []

    def start(
        address: Broker, *topics: str, must_connect: bool = True, **how: object
    ) -> Connection:
        connection = Connection(
            address,
            "test",
            subscriptions=topics,
            on_message=lambda topic, payload: inbox.put((topic, payload)),
            rng=random.Random(1),
            **how,
        )
        connection.start(must_connect=True)
        made.append(connection)
        return connection

    yield start
    for connection in made:
        connection.stop()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_is_published_arrives(
    protocol: str, broker: Mosquitto, connect: Connect, inbox: queue.SimpleQueue
) -> None:
    connection = connect(Broker.at(broker.address, protocol=protocol), "a/#")
    for number in range(300):
        assert connection.publish(Publication("a/b", str(number).encode()))
    assert [inbox.get(timeout=20) for _ in range(300)] == [
        ("a/b", str(number).encode()) for number in range(300)
    ]


def test_nobody_there_is_told_at_once(connect: Connect) -> None:
    with pytest.raises(BrokerError, match=r"no MQTT broker at 127\.0\.0\.1:.*check the address"):
        connect(Broker("127.0.0.1", free_port()))
    with pytest.raises(BrokerError, match=r"nowhere\.invalid"):
        connect(Broker("nowhere.invalid", 1883))


def test_a_wrong_password_is_told_from_no_broker(
    start_broker: Callable[..., Mosquitto], connect: Connect
) -> None:
    broker = start_broker({"pi": "right"})
    with pytest.raises(BrokerRefusedError, match=r"refuses the connection: .*check username"):
        connect(Broker.at(broker.address, username="pi", password="wrong"))
    assert connect(Broker.at(broker.address, username="pi", password="right")).up


def test_it_comes_back_and_holds_nothing_from_before(
    broker: Mosquitto, connect: Connect, inbox: queue.SimpleQueue
) -> None:
    downs: list[int] = []
    connection = connect(Broker.at(broker.address), "a/#", on_down=lambda: downs.append(1))
    broker.stop()
    eventually(lambda: not connection.up)
    assert not connection.publish(Publication("a/b", b"while away"))
    broker.start()
    eventually(lambda: connection.up)
    assert connection.connects == 2
    assert downs == [1]
    connection.publish(Publication("a/b", b"afterwards"))
    assert inbox.get(timeout=20) == ("a/b", b"afterwards")


def test_birth_will_and_farewell_are_retained(
    broker: Mosquitto, connect: Connect, inbox: queue.SimpleQueue
) -> None:
    address = Broker.at(broker.address)
    watcher = connect(address, "s/#")
    born = connect(
        address,
        birth=Publication("s/1", b"born", retain=True),
        will=Publication("s/1", b"gone", retain=True),
    )
    assert inbox.get(timeout=20) == ("s/1", b"born")
    born.stop(farewell=Publication("s/1", b"goodbye", retain=True))
    assert inbox.get(timeout=20) == ("s/1", b"goodbye")
    watcher.stop()
    connect(address, "s/#")
    assert inbox.get(timeout=20) == ("s/1", b"goodbye")


def test_a_subscription_that_is_refused_is_told() -> None:
    # Mosquitto refuses none by itself, so this is what paho says when another broker does.
    connection = Connection(
        Broker("somewhere"), "test", subscriptions=["a/#"], on_message=lambda *_: None
    )
    link = _Link(Client(CallbackAPIVersion.VERSION2))
    connection._subscribed(link, [ReasonCode(PacketTypes.SUBACK, "Not authorized")])
    assert not link.up
    assert link.refused == "Not authorized (subscribing to a/#)"
    assert isinstance(connection._explain(link), BrokerRefusedError)
    connection.stop()


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_tls_trusts_only_whom_it_was_told_to(
    start_broker: Callable[..., Mosquitto],
    tmp_path: Path,
    connect: Connect,
    inbox: queue.SimpleQueue,
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    server = authority.issue_cert("localhost")
    files = {
        name: tmp_path / f"{name}.pem" for name in ("authority", "stranger", "key", "certificate")
    }
    authority.cert_pem.write_to_path(files["authority"])
    stranger.cert_pem.write_to_path(files["stranger"])
    server.private_key_pem.write_to_path(files["key"])
    server.cert_chain_pems[0].write_to_path(files["certificate"])
    broker = start_broker(tls=(files["certificate"], files["key"]))
    address = f"localhost:{broker.port}"
    connection = connect(Broker.at(address, tls=True, ca_file=str(files["authority"])), "a/#")
    connection.publish(Publication("a/b", b"x" * 200_000))
    assert inbox.get(timeout=20) == ("a/b", b"x" * 200_000)
    with pytest.raises(BrokerError, match="certificate"):
        connect(Broker.at(address, tls=True, ca_file=str(files["stranger"])))


@pytest.mark.parametrize("address", ["", "host:", "host:x", "host:0", "host:70000", ":1883"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="wanted HOST:PORT"):
        Broker.at(address)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("h", "h", 1883), ("h:1", "h", 1), ("[::1]:99", "::1", 99), ("[::1]", "::1", 1883)],
)
def test_an_address_is_understood(address: str, host: str, port: int) -> None:
    assert (Broker.at(address).host, Broker.at(address).port) == (host, port)
