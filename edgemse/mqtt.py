"""The one place that knows paho: a connection to a broker that comes back by itself.

What paho 2 does on its own account is left out on purpose: every connection is a fresh client with
a clean session and nothing left over from the last one, we turn its loop ourselves in one thread
and see it end, and what it says about a publish is a hint. Delivery is settled end to end by the
collector's acks.
"""

from __future__ import annotations

import logging
import random
import secrets
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edgemse.errors import BrokerError, BrokerRefusedError, SettingsError

__all__ = ["Broker", "Connection", "Publication"]

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
BACKOFF_SECONDS = (0.5, 60.0)
"""First and longest pause between attempts; each doubles the last, less up to half at random."""
OUTBOX_MAX = 10_000
"""Messages that may wait for the socket; past that `publish` says no."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to speak to it."""

    host: str
    port: int = 1883
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca_file: str = ""
    protocol: str = "5"
    keepalive_seconds: int = 30
    connect_seconds: float = 10.0

    @classmethod
    def at(cls, address: str, **settings: object) -> Broker:
        """Return the broker at HOST, HOST:PORT or [IPV6]:PORT.

        >>> Broker.at("broker.example:8883").port
        8883
        """
        host, colon, port = address.rpartition(":")
        if not colon or address.endswith("]"):
            host, port = address, "1883"
        host = host.strip("[]")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
            raise SettingsError(f"broker {address!r}: wanted HOST:PORT, for example 127.0.0.1:1883")
        return cls(host, int(port), **settings)  # type: ignore[arg-type]  # checked by settings.py

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to publish."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(slots=True)
class _Link:
    """What the present attempt knows: the paho client, and how far it got."""

    client: Client
    up: bool = False
    refused: str = ""
    lost: str = ""


class Connection:
    """Keeps one MQTT connection: subscribes, announces, and starts over when it breaks.

    `on_message(topic, payload)` and `on_up()` (subscriptions confirmed) are called in the
    connection's own thread and must not block. QoS 1 throughout.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        *,
        subscriptions: Sequence[str],
        on_message: Callable[[str, bytes], None],
        on_up: Callable[[], None] = lambda: None,
        on_down: Callable[[], None] = lambda: None,
        birth: Publication | None = None,
        will: Publication | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.broker = broker
        self.connects = 0
        """How often the connection came up."""
        self._name = name
        self._subscriptions = subscriptions
        self._on_message, self._on_up, self._on_down = on_message, on_up, on_down
        self._birth, self._will = birth, will
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._outbox: deque[Publication] = deque()
        self._link: _Link | None = None
        self._error: BrokerError | None = None
        self._must_connect = False
        self._stopping = threading.Event()
        self._tried = threading.Event()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=f"mqtt {broker}", daemon=True)

    @property
    def up(self) -> bool:
        """Whether the broker is connected and the subscriptions are confirmed."""
        link = self._link
        return link is not None and link.up

    def start(self, *, must_connect: bool = False) -> None:
        """Begin; with `must_connect`, wait for the first attempt and raise what it met."""
        self._must_connect = must_connect
        self._thread.start()
        if must_connect:
            self._tried.wait()
            if not self.up:
                self.stop()
                assert self._error is not None
                raise self._error

    def publish(self, publication: Publication) -> bool:
        """Hand a message over; False if it surely was not (no connection, or too many wait)."""
        if not self.up or len(self._outbox) >= OUTBOX_MAX:
            return False
        self._outbox.append(publication)
        self._wake()
        return True

    def stop(self, farewell: Publication | None = None) -> None:
        """Publish the farewell if connected, send what waits, disconnect and end the thread."""
        if farewell is not None and self.up:
            self._outbox.append(farewell)
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout=self.broker.connect_seconds + 5)
        self._wake_read.close()
        self._wake_write.close()

    def _wake(self) -> None:
        try:
            self._wake_write.send(b"\0")
        except (BlockingIOError, OSError):
            return  # full: it is awake already; closed: it has ended

    def _run(self) -> None:
        pause, longest = BACKOFF_SECONDS
        while not self._stopping.is_set():
            link = _Link(self._new_client())
            try:
                self._turn(link)
            except (OSError, ValueError) as error:
                # ValueError is what ssl and idna make of a bad host name or certificate file
                link.lost = str(error)
            except Exception:
                log.exception("the MQTT connection to %s failed unexpectedly", self.broker)
                link.lost = "an unexpected error; see the log"
            finally:
                was_up, self._link = link.up, None
                self._outbox.clear()
            self._error = self._explain(link)
            self._tried.set()
            if self._must_connect and not self.connects:
                return
            if was_up:
                pause = BACKOFF_SECONDS[0]
                self._on_down()
            if self._stopping.is_set():
                return
            log.warning("%s; trying again", self._error)
            self._stopping.wait(pause * self._rng.uniform(0.5, 1.0))
            pause = min(longest, pause * 2)

    def _explain(self, link: _Link) -> BrokerError:
        if link.refused:
            return BrokerRefusedError(
                f"broker {self.broker} refuses the connection: {link.refused};"
                " check username, password and the broker's access list"
            )
        return BrokerError(
            f"no MQTT broker at {self.broker}: {link.lost or 'the connection was closed'};"
            " check the address, and that the broker runs"
        )

    def _new_client(self) -> Client:
        known = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
        protocol = known[self.broker.protocol]
        five = protocol is MQTTProtocolVersion.MQTTv5
        client = Client(
            CallbackAPIVersion.VERSION2,
            # A random suffix, so that two boards of one name don't throw each other off.
            client_id=f"{self._name}-{secrets.token_hex(4)}",
            clean_session=None if five else True,
            protocol=protocol,
        )
        client.connect_timeout = self.broker.connect_seconds
        if self.broker.username:
            client.username_pw_set(self.broker.username, self.broker.password)
        if self.broker.tls:
            context = ssl.create_default_context(cafile=self.broker.ca_file or None)
            client.tls_set_context(context)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=self._will.retain)
        return client

    def _turn(self, link: _Link) -> None:
        """Connect and serve one connection until it ends."""
        client = link.client
        client.on_message = lambda _client, _data, message: self._received(message)
        client.on_connect = lambda _c, _d, _f, reason, _p: self._connected(link, reason)
        client.on_subscribe = lambda _c, _d, _mid, reasons, _p: self._subscribed(link, reasons)
        client.connect(self.broker.host, self.broker.port, self.broker.keepalive_seconds)
        self._link = link
        while not link.lost and not link.refused:
            stopping = self._stopping.is_set()
            if stopping and not self._outbox and not client.want_write():
                client.disconnect()
                return
            self._poll(link)
            if stopping and not link.up:
                return

    def _poll(self, link: _Link) -> None:
        client, sock = link.client, link.client.socket()
        if sock is None:
            link.lost = link.lost or "the connection was closed"
            return
        while self._outbox and link.up:
            publication = self._outbox.popleft()
            client.publish(publication.topic, publication.payload, 1, publication.retain)
        ready = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        poller = select.poll()
        poller.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        poller.register(self._wake_read, select.POLLIN)
        events = dict(poller.poll(0 if ready else POLL_SECONDS * 1000))
        if self._wake_read.fileno() in events:
            self._wake_read.recv(4096)
        event = events.get(sock.fileno(), 0)
        codes = [client.loop_misc()]
        if ready or event & ~select.POLLOUT:
            codes.append(client.loop_read())
        if event & select.POLLOUT:
            codes.append(client.loop_write())
        bad = [code for code in codes if code != MQTTErrorCode.MQTT_ERR_SUCCESS]
        if bad:
            link.lost = link.lost or f"the connection was lost ({bad[0].name})"

    def _connected(self, link: _Link, reason: ReasonCode) -> None:
        if reason.is_failure:
            link.refused = str(reason)
            return
        if self._subscriptions:
            link.client.subscribe([(topic, 1) for topic in self._subscriptions])
        else:
            self._subscribed(link, ())

    def _subscribed(self, link: _Link, reasons: Sequence[ReasonCode]) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            link.refused = f"{', '.join(refused)} (subscribing to {', '.join(self._subscriptions)})"
            return
        if self._birth is not None:
            birth = self._birth
            link.client.publish(birth.topic, birth.payload, qos=1, retain=birth.retain)
        link.up = True
        self.connects += 1
        self._tried.set()
        self._on_up()

    def _received(self, message: MQTTMessage) -> None:
        self._on_message(message.topic, bytes(message.payload))
