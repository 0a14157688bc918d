"""The connection, against a real Mosquitto: up, refused, broken, back, goodbye."""

from __future__ import annotations

import logging
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from support.broker import Mosquitto, free_port
from support.waiting import eventually

from edgemse.errors import BrokerError, BrokerRefusedError, SettingsError
from edgemse.mqtt import Broker, Connection, Handler, Publication
from edgemse.mqtt import link as link_module
from edgemse.mqtt.link import Link

Connect = Callable[..., Connection]


@pytest.fixture
def inbox() -> queue.SimpleQueue[tuple[str, bytes]]:
    return queue.SimpleQueue()


@pytest.fixture
def connect(inbox: queue.SimpleQueue[tuple[str, bytes]]) -> Iterator[Connect]:
    made: list[Connection] = []

    def noted(topic: str) -> Handler:
        stem = topic.rstrip("#")
        return lambda rest, payload: inbox.put((stem + rest, payload))

    def start(
        address: Broker, *topics: str, must_connect: bool = True, **how: object
    ) -> Connection:
        connection = Connection(
            address,
            "test",
            handlers={topic: noted(topic) for topic in topics},
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


@pytest.mark.parametrize(("ahead", "at_once"), [(1, 1), (7, 3), (1_000, 2), (65_536, 100)])
def test_packets_arrive_however_they_are_cut_and_read_ahead(
    monkeypatch: pytest.MonkeyPatch,
    broker: Mosquitto,
    connect: Connect,
    inbox: queue.SimpleQueue,
    ahead: int,
    at_once: int,
) -> None:
    monkeypatch.setattr("edgemse.mqtt.link.READ_AHEAD_BYTES", ahead)
    monkeypatch.setattr("edgemse.mqtt.link.PACKETS_AT_ONCE", at_once)
    connection = connect(Broker.at(broker.address), "a/#")
    payloads = [bytes([number % 256]) * (number**2 % 5_003) for number in range(200)]
    for payload in payloads:
        assert connection.publish(Publication("a/b", payload))
    assert [inbox.get(timeout=20)[1] for _ in payloads] == payloads
    assert connection.connects == 1


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
    connection = Connection(Broker("somewhere"), "test", handlers={"a/#": lambda *_: None})
    link = Link(connection.broker, "test", connection._script)
    link._subscribed([ReasonCode(PacketTypes.SUBACK, "Not authorized")])
    assert not link.up
    assert link.refused == "Not authorized (subscribing to a/#)"
    assert isinstance(connection._explain(link), BrokerRefusedError)
    connection.stop()


def test_a_broker_that_accepts_and_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setattr(link_module, "CONNECT_SECONDS", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(BrokerError, match=r"did not answer within 0 s"),
    ):
        connect(Broker(*mute.getsockname()))


def test_a_signal_ends_a_start_that_waits() -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        connection = Connection(Broker(*mute.getsockname()), "test")
        begin = time.monotonic()
        threading.Timer(0.2, over.set).start()
        connection.start(must_connect=True, over=over)
        assert not connection.up
        connection.stop()
        assert time.monotonic() - begin < link_module.CONNECT_SECONDS / 2


def test_what_happens_is_logged_once_each(
    broker: Mosquitto, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="edgemse.mqtt")
    for ration in logging.getLogger("edgemse.mqtt.connection").filters:
        ration._seen.clear()  # of other tests
    connection = connect(Broker.at(broker.address))
    broker.stop()
    eventually(lambda: "no MQTT broker" in connection.last_error)
    broker.start()
    eventually(lambda: connection.up)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told[0] == ("INFO", f"connected to the broker {broker.address}")
    assert told[1][0] == "WARNING"
    assert told[1][1].startswith(f"lost the connection to the broker {broker.address}: ")
    assert told[-1][0] == "WARNING"
    assert told[-1][1].startswith(f"connected to the broker {broker.address} again, after ")
    assert {text.split(":")[0] for _, text in told[2:-1]} == {"no MQTT broker at 127.0.0.1"}


def test_a_thread_that_ends_for_good_says_so(broker: Mosquitto) -> None:
    """Nothing that a broker or a file does gets there: a bug does, here a broken generator."""

    class Broken(random.Random):
        def uniform(self, *_: float) -> float:
            raise RuntimeError("no jitter today")

    failures: list[BaseException] = []
    connection = Connection(
        Broker.at(broker.address), "test", on_failure=failures.append, rng=Broken()
    )
    connection.start(must_connect=True)
    broker.stop()
    eventually(lambda: failures)
    assert connection.failure is failures[0]
    assert "has ended for good: RuntimeError('no jitter today')" in connection.last_error
    assert not connection.up
    assert not connection.publish(Publication("a", b""))
    connection.stop()


def test_what_fails_when_the_connection_goes_does_not_keep_it_down(
    broker: Mosquitto, connect: Connect
) -> None:
    def broken() -> None:
        raise RuntimeError("on_down is broken")

    connection = connect(Broker.at(broker.address), on_down=broken)
    broker.restart()
    eventually(lambda: connection.connects == 2)


def test_the_pauses_grow_until_a_connection_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    class Still:
        def __init__(self) -> None:
            self.waits: list[float] = []

        def is_set(self) -> bool:
            return len(self.waits) > 9

        def wait(self, seconds: float) -> None:
            self.waits.append(seconds)

    class Full(random.Random):
        def uniform(self, _low: float, high: float) -> float:
            return high

    held = iter([0.0, 0.0, 0.0, 9.9, 10.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    connection = Connection(Broker("nowhere.invalid"), "test", rng=Full())
    still = Still()
    monkeypatch.setattr(connection, "_stopping", still)
    monkeypatch.setattr(connection, "_attempt", lambda: next(held))
    connection._keep_up()
    assert still.waits == [0.5, 1.0, 2.0, 4.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    connection._close_wake()


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


def test_a_goodbye_is_the_last_word_although_its_echo_is_unread(
    broker: Mosquitto, connect: Connect, inbox: queue.SimpleQueue
) -> None:
    connect(Broker.at(broker.address), "will/#")
    for number in range(40):
        will, echo = f"will/{number}", f"echo/{number}"
        leaving = Connection(
            Broker.at(broker.address),
            "leaving",
            handlers={echo: lambda _level, _payload: None},
            will=Publication(will, b"will"),
        )
        leaving.start(must_connect=True)
        for _ in range(20):
            leaving.publish(Publication(echo, bytes(1_000)))
        leaving.stop(Publication(will, b"goodbye"))
    told = [inbox.get(timeout=10) for _ in range(40)]
    assert sorted(told) == sorted((f"will/{number}", b"goodbye") for number in range(40))
    assert inbox.empty()
