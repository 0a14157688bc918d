"""One connection to a broker, from its first byte to its last: a paho client, turned by hand."""

from __future__ import annotations

import os
import secrets
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgemse.mqtt.address import Broker

__all__ = [
    "CONNECT_SECONDS",
    "MQTT_PACKET_BYTES_MAX",
    "PACKET_BYTES_MAX",
    "Link",
    "Message",
    "Publication",
    "Script",
    "overhead_bytes",
    "too_large",
]

CONNECT_SECONDS = 10.0
"""For the TCP connection and TLS, and once more for CONNACK and SUBACK."""
POLL_SECONDS = 0.5
GOODBYE_SECONDS = 1.0
"""For the broker to close its side after a DISCONNECT (MQTT 5.0, 3.14.4: it must)."""
GOODBYE_READS_MAX = 64
"""Or no end of what it has still sent would keep us here."""
PACKET_BYTES_MAX = 1_048_576
"""The largest packet that we take: 16 times the largest report or ack. MQTT 5 brokers are told;
from any other the connection is cut before the packet is in memory."""
READ_AHEAD_BYTES = 65_536
"""Of the socket at once: some hundred reports."""
PACKETS_AT_ONCE = 100
"""Read before the next ones are sent."""
MQTT_PACKET_BYTES_MAX = 268_435_460
"""MQTT 5.0, 2.1.4: a remaining length of 268,435,455 behind a byte and four of length."""
IN_FLIGHT_MAX = 20
"""Publications without a PUBACK: what Mosquitto (max_inflight_messages) and paho both allow."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to publish."""

    topic: str
    payload: bytes
    retain: bool = False


class Message(NamedTuple):
    """One message that came.

    `retained` says that the broker had kept it: it was published before we subscribed; `repeated`
    that the broker sends it a second time, not knowing whether it had arrived.
    """

    topic: str
    payload: bytes
    retained: bool
    repeated: bool


@dataclass(frozen=True, slots=True)
class Script:
    """What is said on every connection, and who hears what comes of it.

    `came_up(packet_bytes_max)` is called once the subscriptions are confirmed, and
    `refused(publication, reason)` for what the broker does not take.
    """

    subscriptions: Sequence[str]
    birth: Publication | None
    will: Publication | None
    heard: Callable[[Message], object]
    came_up: Callable[[int], None]
    refused: Callable[[Publication, str], None]


def overhead_bytes(topic: str) -> int:
    """Return how much larger than its payload a QoS 1 PUBLISH packet on the topic can be.

    MQTT 5.0, 3.3: type, at most four bytes of length, the topic and its length, the packet
    identifier, the length of no properties (which 3.1.1 does not have).
    """
    return 1 + 4 + 2 + len(topic.encode()) + 2 + 1


def too_large(publication: Publication, packet_bytes_max: int) -> str:
    """Say why a publication is not sent at all."""
    return (
        f"{len(publication.payload):,} bytes; the broker takes packets of at most"
        f" {packet_bytes_max:,}"
    )


class _Client(Client):
    """Paho's client, which takes no packet above our limit: MQTT 3.1.1 cannot announce one.

    Paho has no setting for it, and asks the socket for all that remains of a packet at once; so
    what it asks for tells the packet's size before there is memory for it. It also asks for single
    bytes; what the socket has beyond them is read with them, and kept for what it asks next.
    """

    too_large_bytes = 0
    _ahead = b""
    _taken = 0

    @property
    def has_read_ahead(self) -> bool:
        """Whether there is something to read that the socket does not show any more."""
        return self._taken < len(self._ahead)

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > PACKET_BYTES_MAX:
            self.too_large_bytes = bufsize
            raise ConnectionError("a packet above our limit")
        if not self.has_read_ahead:
            self._ahead = super()._sock_recv(max(bufsize, READ_AHEAD_BYTES))
            self._taken = 0
        found = self._ahead[self._taken : self._taken + bufsize]
        self._taken += len(found)
        return found


class Link:
    """One attempt: what was sent and not acknowledged, and why it ended.

    Raises SettingsError when the files for TLS cannot be used.
    """

    def __init__(self, broker: Broker, name: str, script: Script) -> None:
        self._broker, self._script = broker, script
        self.up_since: float | None = None
        """When the subscriptions were confirmed, in monotonic seconds; None before."""
        self.packet_bytes_max = MQTT_PACKET_BYTES_MAX
        """The largest packet that the broker takes; MQTT 3.1.1 brokers do not say."""
        self.unacknowledged: dict[int, Publication] = {}
        self.acknowledged = 0
        self.refused = ""
        """Why the broker does not let us in."""
        self.lost = ""
        """Why the connection ended otherwise."""
        self._in_flight_max = IN_FLIGHT_MAX
        self._deadline = 0.0
        self._client = self._new_client(name)

    @property
    def up(self) -> bool:
        """Whether the subscriptions are confirmed."""
        return self.up_since is not None

    def connect(self) -> None:
        """Open the connection and send CONNECT; raises OSError or ValueError."""
        said = None
        if self._client.protocol is MQTTProtocolVersion.MQTTv5:
            said = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            said.MaximumPacketSize = PACKET_BYTES_MAX
        broker = self._broker
        self._client.connect(broker.host, broker.port, broker.keepalive_seconds, properties=said)
        self._deadline = time.monotonic() + CONNECT_SECONDS

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to turn."""
        return bool(self.lost or self.refused)

    @property
    def flushed(self) -> bool:
        """Whether everything that was handed over has left for the socket."""
        return not self._client.want_write()

    def disconnect(self) -> None:
        """Say goodbye, so that the will is not published, and wait for the broker to hear it.

        Paho closes the socket at once. What the broker has sent meanwhile is then unread, so the
        kernel resets the connection, and a broker that meets the reset first publishes the will.
        """
        sock = self._client.socket()
        if sock is None:
            return
        with socket.socket(fileno=os.dup(sock.fileno())) as held:
            self._client.disconnect()
            held.settimeout(GOODBYE_SECONDS)
            with suppress(OSError):  # a broker that resets or does not answer is gone, too
                held.shutdown(socket.SHUT_WR)
                for _ in range(GOODBYE_READS_MAX):
                    if not held.recv(65_536):
                        break

    def close(self) -> None:
        """Close the socket if it is still open, as a lost connection would."""
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def turn(self, outbox: deque[Publication], wake: socket.socket) -> None:
        """Send what waits, then wait for the broker or for `wake`, and act on what came."""
        sock = self._client.socket()
        if sock is None:
            self.lost = self.lost or self._closed()
            return
        if not self.up and time.monotonic() > self._deadline:
            self.lost = f"it did not answer within {CONNECT_SECONDS:.0f} s"
            return
        while outbox and self.up and len(self.unacknowledged) < self._in_flight_max:
            self._publish(outbox.popleft())
        codes = self._poll(sock, wake)
        bad = [code for code in codes if code != MQTTErrorCode.MQTT_ERR_SUCCESS]
        if self._client.too_large_bytes:
            self.lost = (
                f"it sent a message of {self._client.too_large_bytes:,} bytes, at most"
                f" {PACKET_BYTES_MAX:,} are taken"
            )
        elif bad:
            self.lost = self.lost or f"{self._closed()} ({bad[0].name})"

    def _closed(self) -> str:
        return "the connection was closed" + ("" if self.up else " before it let us in")

    def _poll(self, sock: Any, wake: socket.socket) -> list[MQTTErrorCode]:
        client = self._client
        ready = client.has_read_ahead or (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0)
        poller = select.poll()
        poller.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        poller.register(wake, select.POLLIN)
        events = dict(poller.poll(0 if ready else POLL_SECONDS * 1000))
        if wake.fileno() in events:
            wake.recv(4096)
        event = events.get(sock.fileno(), 0)
        codes = [client.loop_misc()]
        if ready or event & ~select.POLLOUT:
            codes.append(client.loop_read())
            # What was read ahead, but for so much that what is to be sent would wait.
            for _ in range(PACKETS_AT_ONCE - 1):
                if codes[-1] != MQTTErrorCode.MQTT_ERR_SUCCESS or not client.has_read_ahead:
                    break
                codes.append(client.loop_read())
        if event & select.POLLOUT:
            codes.append(client.loop_write())
        return codes

    def _publish(self, publication: Publication) -> None:
        topic, payload = publication.topic, publication.payload
        if len(payload) + overhead_bytes(topic) > self.packet_bytes_max:
            self._script.refused(publication, too_large(publication, self.packet_bytes_max))
            return
        sent = self._client.publish(topic, payload, qos=1, retain=publication.retain)
        self.unacknowledged[sent.mid] = publication

    def _new_client(self, name: str) -> _Client:
        broker, will = self._broker, self._script.will
        known = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
        protocol = known[broker.protocol]
        client = _Client(
            CallbackAPIVersion.VERSION2,
            # A random suffix, so that two boards of one name don't throw each other off.
            client_id=f"{name}-{secrets.token_hex(4)}",
            clean_session=None if protocol is MQTTProtocolVersion.MQTTv5 else True,
            protocol=protocol,
        )
        client.connect_timeout = CONNECT_SECONDS
        if broker.username:
            client.username_pw_set(broker.username, broker.password)
        if broker.tls:
            client.tls_set_context(broker.tls_context())
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_message = lambda _client, _data, message: self._received(message)
        client.on_connect = lambda _c, _d, _flags, reason, said: self._connected(reason, said)
        client.on_subscribe = lambda _c, _d, _mid, reasons, _said: self._subscribed(reasons)
        client.on_publish = lambda _c, _d, mid, reason, _said: self._acknowledged(mid, reason)
        client.on_disconnect = lambda _c, _d, flags, reason, _said: self._disconnected(
            reason, by_broker=flags.is_disconnect_packet_from_server
        )
        return client

    def _connected(self, reason: ReasonCode, said: Properties | None) -> None:
        if reason.is_failure:
            self.refused = str(reason)
            return
        self.packet_bytes_max = getattr(said, "MaximumPacketSize", MQTT_PACKET_BYTES_MAX)
        self._in_flight_max = min(IN_FLIGHT_MAX, getattr(said, "ReceiveMaximum", IN_FLIGHT_MAX))
        subscriptions = self._script.subscriptions
        if subscriptions:
            self._client.subscribe([(topic, 1) for topic in subscriptions])
        else:
            self._subscribed(())

    def _subscribed(self, reasons: Sequence[ReasonCode]) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            asked = ", ".join(self._script.subscriptions)
            self.refused = f"{', '.join(refused)} (subscribing to {asked})"
            return
        self.up_since = time.monotonic()
        self._script.came_up(self.packet_bytes_max)
        if self._script.birth is not None:
            self._publish(self._script.birth)

    def _acknowledged(self, mid: int, reason: ReasonCode) -> None:
        publication = self.unacknowledged.pop(mid, None)
        if publication is None:
            return  # an acknowledgement of something else than what we sent says nothing
        if reason.is_failure:
            self._script.refused(publication, str(reason))
        else:
            self.acknowledged += 1

    def _disconnected(self, reason: ReasonCode, *, by_broker: bool) -> None:
        if by_broker:
            self.lost = f"the broker ended the connection: {reason}"

    def _received(self, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # MQTT 5.0, 1.5.4 forbids it; no filter matches the empty topic
        self._script.heard(Message(topic, bytes(message.payload), message.retain, message.dup))
