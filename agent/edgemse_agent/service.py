"""The daemon: one event loop around one Agent, with its sockets, signals and MQTT connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from edgemse.errors import LedgerError, LineError
from edgemse.mqtt import Connection, Publication
from edgemse.topics import Topics
from edgemse.wire import State, encode_state
from edgemse_agent.agent import Agent
from edgemse_agent.clock import SystemClock
from edgemse_agent.intake.clients import Intake
from edgemse_agent.intake.sources import SocketServer, read_stdin
from edgemse_agent.ledger import Ledger
from edgemse_agent.lines import LabelLine, parse
from edgemse_agent.settings import AgentSettings

__all__ = ["Service", "hardware_serial"]

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
SERIAL_FILES = ("/proc/device-tree/serial-number", "/etc/machine-id")


def hardware_serial() -> str:
    """Return what names this board: a Pi's serial number, else the machine id, else nothing."""
    for name in SERIAL_FILES:
        with contextlib.suppress(OSError):
            serial = Path(name).read_text().strip("\0\n ")
            if serial:
                return serial
    return ""


class Service:
    """Runs an agent until a signal, or until standard input ends if that is all it has."""

    def __init__(self, settings: AgentSettings, *, software: str, stdin: bool = False) -> None:
        self._settings, self._software, self._stdin = settings, software, stdin
        self._topics = Topics(settings.broker.prefix)
        self._label_topic = self._topics.label(settings.device)
        self._ack_topic = self._topics.ack(settings.device)

    async def run(self) -> int:
        """Serve until stopped; return how many cells the collector has not committed."""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        ledger = Ledger(self._settings.ledger, hardware=hardware_serial())
        self._agent = Agent(self._settings, ledger, SystemClock())
        self._intake = Intake(self._agent)
        sockets = await self._open_intake()
        self._connection = self._connect()
        try:
            while not self._stopping.is_set():
                self._tick()
                await self._pause()
        finally:
            await self._farewell(sockets)
        return self._left

    def _connect(self) -> Connection:
        device, agent = self._settings.device, self._agent
        run = agent.windows.producer.hex()
        online = State(True, self._software, run, attributes=self._settings.attributes)
        self._offline = encode_state(State(False, self._software, run))
        topic = self._topics.state(device)
        connection = Connection(
            self._settings.broker.broker(),
            device,
            subscriptions=[self._ack_topic, self._label_topic, self._topics.any_collector],
            on_message=lambda topic, payload: self._soon(self._received, topic, payload),
            on_down=lambda: self._soon(agent.uplink.disconnected),
            birth=Publication(topic, encode_state(online), retain=True),
            will=Publication(topic, self._offline, retain=True),
        )
        connection.start()
        return connection

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended; so has what was to be told
            self._loop.call_soon_threadsafe(call, *arguments)

    def _received(self, topic: str, payload: bytes) -> None:
        if topic == self._ack_topic:
            self._agent.heard_ack(payload)
        elif topic == self._label_topic:
            self._labels(payload)
        else:
            self._agent.heard_collector(topic.rpartition("/")[2], payload)

    def _labels(self, payload: bytes) -> None:
        for line in payload.splitlines():
            try:
                message = parse(line)
                if not isinstance(message, LabelLine):
                    raise LineError("not a label; wanted an id and y_true")
                self._agent.take(message)
            except LineError as error:
                self._agent.health.count("lines_bad")
                log.warning("%s: %s", self._label_topic, error)

    def _tick(self) -> None:
        topic = self._topics.report(self._settings.device)
        for report in self._agent.tick():
            self._connection.publish(Publication(topic, report))
        self._intake.notify()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), TICK_SECONDS)

    async def _open_intake(self) -> SocketServer | None:
        path = self._settings.socket
        if self._stdin:
            read_stdin(self._loop, self._intake, self._stopping.set if path is None else None)
        if path is None:
            return None
        sockets = SocketServer(self._intake, self._agent.health.count)
        await sockets.listen(path)
        return sockets

    async def _farewell(self, sockets: SocketServer | None) -> None:
        """Close all cells, give the collector a moment, and leave the rest in the ledger.

        Raises LedgerError if the ledger did not take the last cells in that time.
        """
        end = self._loop.time() + self._settings.delivery.farewell_seconds
        written = self._agent.commit(everything=True)
        self._intake.notify()
        while self._loop.time() < end and not (
            written and (self._agent.uplink.deserted or not self._agent.waiting)
        ):
            await asyncio.sleep(TICK_SECONDS / 10)
            written = written or self._agent.commit(everything=True)
            self._tick()
        self._left = self._agent.waiting
        if sockets is not None:
            await sockets.close()
        farewell = Publication(self._topics.state(self._settings.device), self._offline, True)
        await asyncio.to_thread(self._connection.stop, farewell)
        self._agent.ledger.close()
        if not written:
            raise LedgerError(
                f"ledger {self._settings.ledger}: took nothing more, so what was measured since"
                " its last commit is lost; make room on the disk"
            )
