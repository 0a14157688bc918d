"""Keeps one connection to a broker, whatever happens to the network, the broker or its files."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from edgemse.errors import BrokerError, BrokerRefusedError, EdgemseError, SettingsError
from edgemse.logs import Ration
from edgemse.mqtt.address import Broker
from edgemse.mqtt.handlers import Handler, Handlers
from edgemse.mqtt.link import (
    MQTT_PACKET_BYTES_MAX,
    Link,
    Message,
    Publication,
    Script,
    overhead_bytes,
    too_large,
)

__all__ = ["Connection"]

log = logging.getLogger(__name__)
log.addFilter(Ration())

BACKOFF_SECONDS = (0.5, 60.0)
"""First and longest pause between attempts; each doubles the last, less up to half at random."""
STEADY_SECONDS = 10.0
"""A connection that held so long lets the pauses begin anew; one that breaks sooner does not."""
CUTS_MAX = 3
"""Connections that broke soon with publications unacknowledged, one after the other, until it is
said that the publications may be why."""
OUTBOX_MAX = 10_000
"""Messages that may wait for the socket; past that `publish` says no."""
TURN_SECONDS_MAX = 150.0
"""A pause and an attempt, with a name that resolves slowly, take less."""
FAREWELL_SECONDS = 5.0
"""How long `stop` waits for what is handed over to leave."""


class Connection:
    """Keeps one MQTT connection: subscribes, announces, and starts over when it breaks.

    `handlers` maps each topic filter to what is done with its messages; with `on_message` instead,
    that hears every message of `subscriptions`. `on_down` is called when
    a connection that was up has ended; `on_refused(topic, reason)` when the broker does not take
    a publication; `on_failure(error)` if the connection's thread ends without being told to,
    after which nothing more comes or goes. All are called in that thread (`on_refused` also in the
    one that calls `publish`) and must not block. QoS 1 throughout. That it is connected is logged
    at `level`, each time again as a warning.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        *,
        handlers: Mapping[str, Handler] = {},
        subscriptions: Sequence[str] = (),
        on_message: Callable[[Message], None] | None = None,
        on_down: Callable[[], None] = lambda: None,
        on_refused: Callable[[str, str], None] = lambda _topic, _reason: None,
        on_failure: Callable[[BaseException], None] = lambda _error: None,
        birth: Publication | None = None,
        will: Publication | None = None,
        rng: random.Random | None = None,
        level: int = logging.INFO,
    ) -> None:
        self.broker = broker
        self._level = level
        self.connects = 0
        """How often the connection came up."""
        self.refused = 0
        """Publications that the broker did not take, for their size, its access list, a quota."""
        self.last_error = ""
        """What last went wrong, in the words of the log; empty: nothing yet."""
        self.failure: BaseException | None = None
        """What ended the thread, if it was not `stop`."""
        self.handlers = Handlers(handlers)
        """The table, which counts what it could not hand over."""
        self._name = name
        self._script = Script(
            subscriptions=(*handlers, *subscriptions),
            birth=birth,
            will=will,
            heard=on_message or (lambda heard: self.handlers(heard.topic, heard.payload)),
            came_up=self._came_up,
            refused=self._refuse,
        )
        self._on_down, self._on_refused, self._on_failure = on_down, on_refused, on_failure
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._outbox: deque[Publication] = deque()
        self._link: Link | None = None
        self._packet_bytes_max = MQTT_PACKET_BYTES_MAX
        self._error: EdgemseError | None = None
        self._must_connect = False
        self._refusing = threading.Lock()
        self._cuts = 0
        self._lost_at: float | None = None
        self._turned_at = time.monotonic()
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

    @property
    def alive(self) -> bool:
        """Whether the thread runs and has turned lately: it waits for nothing for so long."""
        turned = time.monotonic() - self._turned_at < TURN_SECONDS_MAX
        return self._thread.is_alive() and turned

    @property
    def packet_bytes_max(self) -> int:
        """The largest packet that the broker said it takes, when it was last connected.

        MQTT's own 268,435,460 where it said nothing, as always with MQTT 3.1.1.
        """
        return self._packet_bytes_max

    def payload_bytes_max(self, topic: str) -> int:
        """Return the largest payload that the broker takes on the topic; 0 if none at all."""
        return max(0, self._packet_bytes_max - overhead_bytes(topic))

    def start(self, *, must_connect: bool = False, over: threading.Event | None = None) -> None:
        """Begin; with `must_connect`, wait for the first attempt and raise what it met.

        Does not wait, nor raise, once `over` is set: that is how a signal ends a start.
        """
        self._must_connect = must_connect
        self._thread.start()
        if not must_connect:
            return
        while not self._tried.wait(timeout=0.1):
            if over is not None and over.is_set():
                return
        if not self.connects:
            self.stop()
            error = self._error or self.failure
            assert error is not None
            raise error

    def publish(self, publication: Publication) -> bool:
        """Hand a message over; False if it surely was not.

        That is: no connection, too many wait, or larger than the broker takes, which also counts
        as refused.
        """
        if not self.up or len(self._outbox) >= OUTBOX_MAX:
            return False
        if len(publication.payload) > self.payload_bytes_max(publication.topic):
            self._refuse(publication, too_large(publication, self._packet_bytes_max))
            return False
        self._outbox.append(publication)
        self._wake()
        return True

    def announce(self, birth: Publication) -> None:
        """Say this at each connection from now on, and at once if there is one."""
        self._script = replace(self._script, birth=birth)
        if self.up:
            self.publish(birth)

    def stop(self, farewell: Publication | None = None) -> None:
        """Publish the farewell if connected, send what waits, disconnect and end the thread.

        Takes at most a few seconds: an attempt to connect that hangs is left behind.
        """
        if farewell is not None and self.up:
            self._outbox.append(farewell)
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout=FAREWELL_SECONDS + 1)
        elif self._thread.ident is None:
            self._close_wake()

    def _wake(self) -> None:
        try:
            self._wake_write.send(b"\0")
        except (BlockingIOError, OSError):
            return  # full: it is awake already; closed: it has ended

    def _close_wake(self) -> None:
        self._wake_read.close()
        self._wake_write.close()

    def _run(self) -> None:
        try:
            self._keep_up()
        except BaseException as error:
            self.failure = error
            self.last_error = f"the connection to {self.broker} has ended for good: {error!r}"
            log.critical("%s", self.last_error)
            self._on_failure(error)
        finally:
            self._link = None
            self._tried.set()
            self._close_wake()

    def _keep_up(self) -> None:
        pause, longest = BACKOFF_SECONDS
        while not self._stopping.is_set():
            held_seconds = self._attempt()
            self._tried.set()
            if self._stopping.is_set() or (self._must_connect and not self.connects):
                return
            if held_seconds >= STEADY_SECONDS:
                pause = BACKOFF_SECONDS[0]
            wait = pause * self._rng.uniform(0.5, 1.0)
            self.last_error = str(self._error)
            log.warning("%s; trying again in %.1f s", self._error, wait)
            self._turned_at = time.monotonic()
            self._stopping.wait(wait)
            pause = min(longest, pause * 2)

    def _attempt(self) -> float:
        """Connect and serve one connection until it ends; return how long it was up."""
        link: Link | None = None
        try:
            link = Link(self.broker, self._name, self._script)
            self._serve(link)
            self._error = self._explain(link)
        except SettingsError as error:  # a certificate that is missing now may be there later
            self._error = error
        except (OSError, ValueError) as error:  # ValueError: what idna makes of a bad host name
            self._error = self._unreachable(str(error))
        except Exception as error:
            log.exception("the connection to %s failed unexpectedly", self.broker)
            self._error = self._unreachable(f"an unexpected {error!r}; see the log")
        self._link = None
        self._outbox.clear()
        if link is None:
            return 0.0
        link.close()
        return 0.0 if link.up_since is None else self._was_up(link, link.up_since)

    def _serve(self, link: Link) -> None:
        link.connect()
        self._link = link
        end: float | None = None
        while not link.ended:
            self._turned_at = time.monotonic()
            if self._stopping.is_set():
                if not link.up:
                    return
                end = end or time.monotonic() + FAREWELL_SECONDS
                if (not self._outbox and link.flushed) or time.monotonic() > end:
                    link.disconnect()
                    return
            link.turn(self._outbox, self._wake_read)

    def _was_up(self, link: Link, since: float) -> float:
        """Note the end of a connection that was up; return how long it was."""
        self._lost_at = time.monotonic()
        held_seconds = self._lost_at - since
        soon = held_seconds < STEADY_SECONDS and bool(link.unacknowledged)
        self._cuts = self._cuts + 1 if soon and not self._stopping.is_set() else 0
        if self._cuts >= CUTS_MAX:
            largest = max(link.unacknowledged.values(), key=lambda each: len(each.payload))
            self._refuse(largest, self._suspicion(largest))
        try:
            self._on_down()
        except Exception:
            log.exception("what is done when the connection to %s ends has failed", self.broker)
        return held_seconds

    def _suspicion(self, largest: Publication) -> str:
        """Say what connections may mean that are closed again and again after a publication."""
        mute = self.broker.protocol != "5"
        return (
            f"{self._cuts} connections in a row were closed soon after publishing (the largest:"
            f" {len(largest.payload):,} bytes); the broker may limit packets or deny the topic"
            + ('; MQTT 3.1.1 cannot say why, protocol = "5" can' if mute else "")
        )

    def _explain(self, link: Link) -> BrokerError:
        if link.refused:
            return BrokerRefusedError(
                f"broker {self.broker} refuses the connection: {link.refused};"
                " check username, password and the broker's access list"
            )
        why = link.lost or "the connection was closed"
        if link.up:
            return BrokerError(f"lost the connection to the broker {self.broker}: {why}")
        return self._unreachable(why)

    def _unreachable(self, why: str) -> BrokerError:
        return BrokerError(f"no MQTT broker at {self.broker}: {why}; {self._advice(why)}")

    def _advice(self, why: str) -> str:
        """Return what to look at; a broker does not say what it has against a certificate."""
        if self.broker.tls and "CERTIFICATE_VERIFY_FAILED" in why:
            return "check ca_file, and the name and the dates in the broker's certificate"
        if self.broker.tls and ("closed before it let us in" in why or "reset" in why):
            if not self.broker.cert_file:
                return "it may want a client certificate: set cert_file"
            return f"it may not take {self.broker.cert_file}: expired, or of another authority"
        return "check the address, and that the broker runs"

    def _came_up(self, packet_bytes_max: int) -> None:
        self._packet_bytes_max = packet_bytes_max
        self.connects += 1
        self._tried.set()
        if self._lost_at is None:
            log.log(self._level, "connected to the broker %s", self.broker)
        else:
            away = time.monotonic() - self._lost_at
            log.warning("connected to the broker %s again, after %.1f s", self.broker, away)

    def _refuse(self, publication: Publication, reason: str) -> None:
        with self._refusing:
            self.refused += 1
        self.last_error = (
            f"broker {self.broker} does not take what is published to {publication.topic}: {reason}"
        )
        log.warning("%s", self.last_error)
        self._on_refused(publication.topic, reason)
