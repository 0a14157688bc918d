"""A fleet of virtual agents on one MQTT connection."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from threading import Event

from edgemse_agent.clock import Clock, SystemClock
from edgemse_agent.entries import Where

from edgemse.errors import UnacknowledgedError
from edgemse.mqtt import Broker, Connection, Handler, Publication
from edgemse.names import counted
from edgemse.replay.device import VirtualAgent, settings_for
from edgemse.replay.names import producer_of
from edgemse.topics import Topics, checked_device, unescape

__all__ = ["Outcome", "VirtualFleet"]

IN_FLIGHT_MAX = 256
"""Reports of all devices under way: well below the 1,000 that a Mosquitto queues by default."""
ROWS_PER_COMMIT = 500_000
"""Rows after which all cells are closed: it bounds memory, and depends on the file alone."""
WAIT_SECONDS = 0.05
PARKED_MAX = 1_000_000
"""More than a virtual agent's ledger can have parked."""


@dataclass(slots=True)
class Outcome:
    """What a replay has done."""

    devices: int = 0
    rows: int = 0
    rows_without_time: int = 0
    cells: int = 0
    cells_refused: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    """How many cells were refused, by code and reason."""
    reports: int = 0
    report_bytes: int = 0


class VirtualFleet:
    """Feeds rows to one virtual agent a device, and delivers until all is acknowledged."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        digest: bytes,
        *,
        model: str,
        version: str,
        width_seconds: int,
        label_delay_seconds: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self.outcome = Outcome()
        self._topics, self.digest = topics, digest
        self._model, self._version = model, version
        self._width_seconds, self._delay_seconds = width_seconds, label_delay_seconds
        self._clock = clock or SystemClock(trust="wall")
        self._agents: dict[str, VirtualAgent] = {}
        self._collectors: dict[str, bytes] = {}
        self._inbox: queue.SimpleQueue[tuple[Handler, str, bytes]] = queue.SimpleQueue()
        self._closed = False
        """Whether all cells are made, and may leave."""
        self._lost = Event()
        self._broker = broker
        self._connection: Connection | None = None

    def start(self) -> None:
        """Connect, or raise BrokerError."""
        self._connection = Connection(
            self._broker,
            "edgemse-replay",
            handlers={
                f"{self._topics.prefix}/+/ack": self._later(self._take_ack),
                self._topics.any_collector: self._later(self._take_presence),
            },
            on_down=self._lost.set,
        )
        self._connection.start(must_connect=True)

    def stop(self) -> None:
        """Disconnect, if it is connected."""
        if self._connection is not None:
            self._connection.stop()

    def feed(self, device: str, where: Where, time: float, y_true: float, y_pred: float) -> None:
        """Take one row of the file; nothing is sent before `finish`."""
        self.outcome.rows += 1
        if isfinite(time):
            self._agent(device).feed(where, time, y_true, y_pred, 1.0)
        else:
            self.outcome.rows_without_time += 1
        if self.outcome.rows % ROWS_PER_COMMIT == 0:
            for virtual in self._agents.values():
                virtual.close_cells()

    @property
    def progress(self) -> str:
        """How much of what was to be delivered is, for people."""
        if not self._closed:
            return "nothing has been sent"
        settled = self.outcome.cells - sum(self._waiting().values())
        return f"acknowledged: {settled:,} of {counted(self.outcome.cells, 'cell')}"

    def finish(self, *, patience_seconds: float, told: Callable[[int], None]) -> None:
        """Deliver everything; UnacknowledgedError after `patience_seconds` without any progress.

        `told` hears how many cells wait, now and then.
        """
        for virtual in self._agents.values():
            virtual.finish()
        waiting = self._waiting()
        self.outcome.cells = sum(waiting.values())
        self._closed = True
        last, since = sum(waiting.values()), self._clock.monotonic()
        while waiting:
            self.exchange(list(waiting))
            waiting = self._waiting(waiting)
            left = sum(waiting.values())
            told(left)
            if left < last:
                last, since = left, self._clock.monotonic()
            elif self._clock.monotonic() - since > patience_seconds:
                raise UnacknowledgedError(self._complaint(left, patience_seconds))
        self.outcome.devices = len(self._agents)
        for virtual in self._agents.values():
            for parked in virtual.agent.ledger.parked(PARKED_MAX):
                self.outcome.cells_refused += 1
                reason = f"{parked.code}: {parked.reason}"
                self.outcome.refusals[reason] = self.outcome.refusals.get(reason, 0) + 1

    def exchange(self, devices: list[str] | None = None) -> None:
        """Hand over what is due, then take acks for a moment."""
        assert self._connection is not None, "BUG: to be started first"
        if self._lost.is_set():
            self._lost.clear()
            self._collectors.clear()
            for virtual in self._agents.values():
                virtual.agent.uplink.disconnected()
        flying = sum(virtual.agent.uplink.in_flight for virtual in self._agents.values())
        for device in self._agents if devices is None else devices:
            if flying >= IN_FLIGHT_MAX:
                break
            uplink = self._agents[device].agent.uplink
            flying -= uplink.in_flight
            for report in self._agents[device].agent.tick():
                self._connection.publish(Publication(self._topics.report(device), report))
                self.outcome.reports += 1
                self.outcome.report_bytes += len(report)
            flying += uplink.in_flight
        self._take_messages()

    def _later(self, take: Handler) -> Handler:
        """Return the handler as the connection's thread may call it: `exchange` runs it."""
        return lambda rest, payload: self._inbox.put((take, rest, payload))

    def _take_messages(self) -> None:
        try:
            take, rest, payload = self._inbox.get(timeout=WAIT_SECONDS)
            while True:
                take(rest, payload)
                take, rest, payload = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _take_ack(self, level: str, payload: bytes) -> None:
        virtual = self._agents.get(unescape(level))
        if virtual is not None:
            virtual.agent.heard_ack(payload)

    def _take_presence(self, worker: str, payload: bytes) -> None:
        self._collectors[worker] = payload
        for virtual in self._agents.values():
            virtual.agent.heard_collector(worker, payload)

    def _agent(self, device: str) -> VirtualAgent:
        virtual = self._agents.get(device)
        if virtual is None:
            settings = settings_for(
                checked_device(device), self._model, self._version, self._width_seconds
            )
            producer = producer_of(self.digest, device)
            virtual = VirtualAgent(settings, producer, self._clock, self._delay_seconds)
            for worker, payload in self._collectors.items():
                virtual.agent.heard_collector(worker, payload)
            self._agents[device] = virtual
        return virtual

    def _waiting(self, among: dict[str, int] | None = None) -> dict[str, int]:
        """Return how many cells of which devices the collector has not committed."""
        names = self._agents if among is None else among
        counts = {device: self._agents[device].agent.waiting for device in names}
        return {device: count for device, count in counts.items() if count}

    def _complaint(self, left: int, patience_seconds: float) -> str:
        online = any(v.agent.uplink.online for v in self._agents.values())
        why = "it does not answer" if online else "no collector is online there"
        return (
            f"{left:,} of {counted(self.outcome.cells, 'cell')} not acknowledged after"
            f" {patience_seconds:g} s without progress: {why}; start `edgemse collector` on this"
            " broker and run the same command again (what has arrived is not counted twice)"
        )
