"""The daemon: one event loop around one Agent, with its sockets, signals and MQTT connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgemse.errors import BrokerError, LedgerError
from edgemse.mqtt import Connection, Handler, Publication
from edgemse.presence import Presence, encode_presence
from edgemse.topics import Topics, unescape
from edgemse.wire import REPORT_BYTES_MAX
from edgemse_agent.agent import Agent
from edgemse_agent.clock import SystemClock
from edgemse_agent.hardware import BOARD_VARIABLE, board, health
from edgemse_agent.intake.clients import Clients
from edgemse_agent.intake.labels import LabelTopic
from edgemse_agent.intake.sources import SocketServer, read_stdin
from edgemse_agent.ledger import Ledger
from edgemse_agent.metrics import Metrics
from edgemse_agent.notify import Supervisor
from edgemse_agent.settings import AgentSettings
from edgemse_agent.status import BrokerStatus
from edgemse_agent.steering import Steering

if TYPE_CHECKING:
    from edgemse_agent.intake.local import LocalTopics

__all__ = ["Service", "hardware_serial"]

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
HEALTH_SECONDS = 10.0
"""How often the board is asked how it is."""


def hardware_serial() -> str:
    """Return what names this board, empty if nothing does."""
    return board().serial


class Service:
    """Runs an agent until a signal, or until standard input ends if that is all it has.

    `reload` reads the settings anew when SIGHUP asks for it; without, they stay.
    """

    def __init__(
        self,
        settings: AgentSettings,
        *,
        software: str,
        stdin: bool = False,
        reload: Callable[[], AgentSettings] | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._reload = reload or (lambda: settings)
        self._supervisor = supervisor or Supervisor()
        self._health_at = float("-inf")
        self._settings, self._software, self._stdin = settings, software, stdin
        self._topics = Topics(settings.broker.prefix)
        self._was_up = False
        self._failure: BrokerError | None = None
        self._local: LocalTopics | None = None

    async def run(self) -> int:
        """Serve until stopped; return how many cells the collector has not committed."""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        ledger = Ledger(self._settings.ledger, hardware=hardware_serial())
        clock = SystemClock(self._settings.clock.trust)
        self._agent = Agent(self._settings, ledger, clock)
        self._agent.board = board().source
        if not self._agent.board:
            log.warning(
                "nothing names this board, so a cloned or moved ledger is not seen; in a container"
                " set %s to the board's serial number",
                BOARD_VARIABLE,
            )
        if not self._agent.calendar.placed:
            log.warning(
                "the time is not known: what is measured waits here until the kernel calls the"
                ' clock synchronised; if the clock is right, say trust = "wall" under [clock]'
            )
        self._clients = Clients(self._agent)
        self._loop.set_exception_handler(self._loop_failed)
        threading.excepthook = self._thread_failed
        sockets = await self._open_intake()
        metrics = Metrics(self._exposition)
        if self._settings.metrics:
            await metrics.listen(self._settings.metrics)
        self._steering = Steering(self._agent, self._topics, self._reload, self._announce)
        self._connection = self._connect()
        if self._settings.mqtt:
            from edgemse_agent.intake.local import LocalTopics  # a daemon keeps what it loads

            self._local = LocalTopics(self._settings, self._agent, clock, self._soon)
            self._local.start()
        self._loop.add_signal_handler(signal.SIGHUP, self._read_settings)
        self._supervisor.tell("READY=1")
        try:
            while not self._stopping.is_set():
                self._tick()
                self._look_after(self._loop.time())
                await self._pause()
        finally:
            await metrics.close()
            await self._farewell(sockets)
        if self._failure is not None:
            raise self._failure
        return self._left

    def _connect(self) -> Connection:
        device, agent = self._settings.device, self._agent
        self._offline = encode_presence(Presence(False, self._software, agent.run))
        topic = self._topics.presence(device)
        connection = Connection(
            self._settings.broker.broker(),
            device,
            handlers={name: self._later(h) for name, h in self._topic_handlers().items()},
            on_down=lambda: self._soon(agent.uplink.disconnected),
            on_failure=lambda error: self._soon(self._connection_ended, error),
            birth=self._birth(),
            will=Publication(topic, self._offline, retain=True),
        )
        connection.start()
        return connection

    def _exposition(self) -> str:
        self._agent.status()  # sets the gauges
        return self._agent.counters.exposition("edgemse_agent")

    def _birth(self) -> Publication:
        agent = self._agent
        online = Presence(True, self._software, agent.run, attributes=dict(agent.attributes()))
        topic = self._topics.presence(self._settings.device)
        return Publication(topic, encode_presence(online), retain=True)

    def _announce(self) -> None:
        """Publish the presence anew: what the device says of itself has changed."""
        self._connection.announce(self._birth())

    def _read_settings(self) -> None:
        self._supervisor.reloading(self._loop.time())
        self._steering.reload()
        self._supervisor.tell("READY=1")

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended; so has what was to be told
            self._loop.call_soon_threadsafe(call, *arguments)

    def _topic_handlers(self) -> dict[str, Handler]:
        """Return, by topic filter, what is done with what its wildcard stands for, and payload."""
        device, agent = self._settings.device, self._agent
        label = self._topics.label(device)
        labels = LabelTopic(self._clients, self._answer_labels, label)
        configs = {topic: self._config_handler(topic) for topic in self._steering.topics}
        return configs | {
            self._topics.ack(device): lambda _, payload: agent.heard_ack(payload),
            label: lambda _, payload: labels.take(payload),
            self._topics.any_collector: lambda worker, payload: agent.heard_collector(
                unescape(worker), payload
            ),
        }

    def _config_handler(self, topic: str) -> Handler:
        return lambda _, payload: self._steering.hear(topic, payload)

    def _later(self, handler: Handler) -> Handler:
        """Return the handler as the connection's thread may call it: it runs in our loop."""
        return lambda rest, payload: self._soon(handler, rest, payload)

    def _connection_ended(self, error: BaseException) -> None:
        """End: without its connection the agent would only fill its disk, and nobody would know."""
        self._failure = BrokerError(
            f"the connection to {self._settings.broker.address} ended for good: {error!r};"
            " this is a defect in edgemse, a restart goes on where the ledger stands"
        )
        self._stopping.set()

    def _loop_failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Go on after a callback that failed; the next message may be a good one."""
        where = str(context["message"])
        self._agent.note_defect(where, context.get("exception") or RuntimeError(where))

    def _thread_failed(self, failed: threading.ExceptHookArgs) -> None:
        name = failed.thread.name if failed.thread else "unknown"
        error = failed.exc_value or failed.exc_type()
        self._soon(self._agent.note_defect, f"thread {name} has ended", error)

    def _answer_labels(self, data: bytes) -> None:
        topic = self._topics.label_ack(self._settings.device)
        self._connection.publish(Publication(topic, data))

    def _tick(self) -> None:
        connection, broker = self._connection, self._settings.broker
        if connection.up and not self._was_up:
            self._was_up = True
            self._say_who_we_are()
        self._agent.broker = BrokerStatus(
            broker.address,
            connection.up,
            connection.connects,
            connection.refused,
            connection.last_error,
        )
        room = connection.payload_bytes_max(self._topics.report(self._settings.device))
        self._agent.uplink.report_bytes_max = min(REPORT_BYTES_MAX, room)
        try:
            self._report()
        except Exception as error:  # a bug costs a tick; the next one may be better off
            self._agent.note_defect("a tick", error)

    def _look_after(self, now: float) -> None:
        """Give the supervisor a sign of life while the connection's thread gives one, too."""
        self._steering.tick(now, self._connection.connects)
        if self._connection.alive:
            self._supervisor.beat(now)
        if now - self._health_at >= HEALTH_SECONDS:
            self._health_at = now
            for name, value in health().items():
                self._agent.counters.set(name, value)

    def _say_who_we_are(self) -> None:
        """Warn where nobody else could tell this device from another."""
        broker, device = self._settings.broker, self._settings.device
        if not broker.username and not broker.tls:
            log.warning(
                "the broker %s let this device in without a name: so it does with everybody, who"
                " can read and forge cells and acks; give it users and the access list of"
                " docs/security.md",
                broker.address,
            )
        elif broker.username not in ("", device):
            log.warning(
                "the device is called %r and its user at the broker %r: an access list by user"
                " name denies its topics; give both one name",
                device,
                broker.username,
            )

    def _report(self) -> None:
        topic = self._topics.report(self._settings.device)
        if self._local is not None:
            self._local.tick()
        for report in self._agent.tick():
            self._connection.publish(Publication(topic, report))
        self._clients.notify()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), TICK_SECONDS)

    async def _open_intake(self) -> SocketServer | None:
        path = self._settings.socket
        if self._stdin:
            read_stdin(self._loop, self._clients, self._stopping.set if path is None else None)
        if path is None:
            return None
        sockets = SocketServer(self._clients, self._agent.counters.count)
        await sockets.listen(path)
        return sockets

    async def _farewell(self, sockets: SocketServer | None) -> None:
        """Close all cells, give the collector a moment, and leave the rest in the ledger.

        Raises LedgerError if the ledger did not take the last cells in that time.
        """
        self._supervisor.tell("STOPPING=1")
        if self._local is not None:
            await asyncio.to_thread(self._local.stop)
            self._local.drain_all()
        end = self._loop.time() + self._settings.delivery.farewell_seconds
        written = self._agent.commit(everything=True)
        self._clients.notify()
        while self._loop.time() < end and not (
            written and (self._agent.uplink.deserted or not self._agent.waiting)
        ):
            await asyncio.sleep(TICK_SECONDS / 10)
            written = written or self._agent.commit(everything=True)
            self._tick()
            self._look_after(self._loop.time())
        if self._agent.ledger.owes:  # else the next run sends again what is there already
            self._agent.commit(everything=True)
        self._left = self._agent.waiting
        if sockets is not None:
            await sockets.close()
        farewell = Publication(self._topics.presence(self._settings.device), self._offline, True)
        await asyncio.to_thread(self._connection.stop, farewell)
        self._agent.ledger.close()
        if not written:
            raise LedgerError(
                f"ledger {self._settings.ledger}: took nothing more, so what was measured since"
                " its last commit is lost; make room on the disk"
            )
