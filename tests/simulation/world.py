"""The real agent, Monitor cells and resending client in a world that breaks on purpose.

Everything is driven by one seeded generator: the network drops, doubles, delays and reorders, the
broker forgets, the collector's acks get lost, agents are killed between and inside transactions,
connections break. What is simulated is only what lies between the parts.
"""

from __future__ import annotations

import json
import random
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgemse_agent.agent import Agent
from edgemse_agent.intake.clients import Clients, LineClient
from edgemse_agent.ledger import Defect, Ledger
from edgemse_agent.settings import AgentSettings, DeliverySettings, WindowSettings
from support.clock import FakeClock

from edgemse.cells import Cell, Identity, Series, newest, unseal
from edgemse.counters import Counters
from edgemse.monitor.cells import CellConversation
from edgemse.monitor.clock import DeviceClock
from edgemse.monitor.monitor import MEANINGS
from edgemse.monitor.session import SessionConversation
from edgemse.presence import Presence, encode_presence
from edgemse.wire import Ack, decode_report, encode_ack

SETTINGS = AgentSettings(
    "device",
    windows=WindowSettings(width_seconds=10),
)
CELLS_MAX = (1, 3, 10)
"""Few cells, so that the device coarsens, and so that times all over the calendar fill it."""


class KilledError(Exception):
    """The agent process is no more."""


class NeverArrivesError(AssertionError):
    """Something is still under way long after all faults have ended."""


class FragileLedger(Ledger):
    """A ledger under which the process may die before or after any transaction."""

    rng: random.Random
    risk = 0.0

    def _perhaps_die(self) -> None:
        if self.rng.random() < self.risk:
            raise KilledError

    def commit(self, *arguments: object, **named: object) -> list[Defect]:
        self._perhaps_die()
        defects = super().commit(*arguments, **named)
        self._perhaps_die()
        return defects

    def expose(self, revisions: object) -> None:
        self._perhaps_die()
        super().expose(revisions)
        self._perhaps_die()

    def place(self, *arguments: object) -> tuple[int, int]:
        if self.rng.random() < 20 * self.risk:  # it happens once
            raise KilledError
        placed = super().place(*arguments)
        if self.rng.random() < 20 * self.risk:
            raise KilledError
        return placed

    def acked(self, *arguments: object) -> int:
        self._perhaps_die()
        ahead = super().acked(*arguments)
        self._perhaps_die()
        return ahead


class Collector:
    """A store that keeps the highest revision of each identity, as the real ones do."""

    def __init__(self) -> None:
        self.cells: dict[Identity, Cell] = {}

    def take(self, payload: bytes) -> bytes | None:
        held: dict[Identity, int] = {}
        for sealed in decode_report(payload).cells:
            assert not sealed.window.unplaced, f"exposed without a place: {sealed.window}"
            cell = unseal(sealed)
            stored = self.cells.get(cell.identity)
            if newest(stored and stored.revision, cell.revision):
                self.cells[cell.identity] = cell
            held[cell.identity] = self.cells[cell.identity].revision
        return encode_ack(Ack("worker", held)) if held else None


class Wire:
    """One connection of a conversation to the agent: bytes wait in it, or are lost with it.

    What a side has written is read by the other some time later; a reader that stalls finds all of
    it at once, and a connection that breaks takes with it what was not read.
    """

    def __init__(self, clients: Clients, name: str) -> None:
        self._up: list[bytes] = []
        self._down: list[bytes] = []
        self._clients = clients
        self._client: LineClient = clients.join(self._down.append, name)

    def write(self, lines: list[bytes]) -> None:
        self._up += lines

    def agent_reads(self) -> None:
        while self._up:
            self._client.feed(self._up.pop(0))

    def close(self) -> None:
        self._clients.leave(self._client)

    def read(self) -> list[dict[str, Any]]:
        replies = [json.loads(line) for data in self._down for line in data.splitlines()]
        self._down.clear()
        return replies


class World:
    """One device, its clients, a network and a collector; `step` is one second."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.clock = FakeClock()
        self.time_known_at = self.rng.choice((0.0, 0.0, 60.0, 500.0))
        self.clock.is_synchronised = not self.time_known_at
        self.path = folder / "ledger.sqlite"
        self.collector = Collector()
        self.network: list[tuple[float, str, bytes]] = []
        faults = ("drop", "double", "delay", "amnesia", "kill", "disconnect", "offline")
        faults += ("stall", "agent stalls", "part read", "linger", "scatter")
        self.risk = {f: self.rng.choice((0.0, 0.05, 0.2)) for f in faults}
        away = self.rng.uniform(0.0, 100.0)
        self.away = (away, away + self.rng.choice((0.0, 0.0, 100.0)))
        """From when to when the collector is away."""
        self.fed: list[float] = []
        self.refused: set[float] = set()
        """Errors of the samples that an agent took and counted as refused for their window."""
        delivery = DeliverySettings(
            durable_seconds=20.0, ledger_cells_max=self.rng.choice(CELLS_MAX)
        )
        self.settings = replace(SETTINGS, delivery=delivery)
        self.ids = 0
        self.wires: dict[str, Wire] = {}
        self.lingering: list[Wire] = []
        self.labels: list[tuple[int, float, float]] = []
        self.counters = Counters(MEANINGS)
        self.device_clock = DeviceClock(self.clock.wall, self.clock.boot)
        self.cells = CellConversation(
            "model",
            "1",
            self.counters,
            cells_max=100,
            series_max=10,
            clock=self.device_clock.now,
        )
        self.cells.await_clock()
        self.session = SessionConversation(lines_max=10_000)
        self.start_agent()

    def start_agent(self) -> None:
        ledger = FragileLedger(self.path)
        ledger.rng = self.rng
        self.agent = Agent(self.settings, ledger, self.clock, rng=self.rng)
        self.note_refusals()
        ledger.risk = self.risk["kill"] / 5
        self.clients = Clients(self.agent)
        self.hello_collector()
        self.wires.clear()
        self.lingering.clear()

    def note_refusals(self) -> None:
        """Remember which samples are refused; the agent has to count at least as many."""
        growing, counters = self.agent.growing, self.agent.counters
        sample = growing.sample

        def noted(series: Series, time: float, y_true: float, y_pred: float, weight: float) -> bool:
            before = counters["windows_refused"]
            if sample(series, time, y_true, y_pred, weight):
                return True
            assert counters["windows_refused"] == before + 1, "refused, and not counted"
            self.refused.add(y_pred)
            return False

        growing.sample = noted  # type: ignore[method-assign]

    def hello_collector(self) -> None:
        if self.away[0] <= self.clock.passed < self.away[1]:
            self.agent.heard_collector("worker", encode_presence(Presence(False, "test", "run")))
            return
        self.agent.heard_collector("worker", encode_presence(Presence(True, "test", "run")))

    def hang_up(self) -> None:
        """Break the connections: what was written and not read is gone with them."""
        for name in list(self.wires):
            self.break_off(name)

    def break_off(self, name: str) -> None:
        """Break one connection; the agent may yet find in its buffer what had reached it."""
        wire = self.wires.pop(name)
        if self.rng.random() < self.risk["linger"]:
            self.lingering.append(wire)
        else:
            wire.close()

    def kill_agent(self) -> None:
        self.agent.ledger.close()  # without a last commit: what was not committed is gone
        self.start_agent()

    def feed(self) -> None:
        """Make samples of unique errors, some at once and some as prediction and late label."""
        now, when = self.clock.wall(), {"boot": self.clock.boot()}
        for _ in range(self.rng.randrange(4)):
            error = float(len(self.fed) + 1)
            self.fed.append(error)
            kind = self.rng.randrange(3)
            if kind == 0:
                self.cells.add("", self.rng.choice("ab"), self.device_clock.now(), 0.0, error)
            elif kind == 1:
                if self.rng.random() < 4 * self.risk["scatter"]:
                    day = {"ts": now - 86_400.0 * self.rng.randrange(1, 8_000)}
                    self.session.add({"y_true": 0.0, "y_pred": error} | day)
                else:
                    self.session.add({"y_true": 0.0, "y_pred": error} | when)
            else:
                self.ids += 1
                self.labels.append((self.ids, now, now + self.rng.randrange(60)))
                self.session.add({"id": self.ids, "y_pred": error} | when)
        due = [label for label in self.labels if label[2] <= now]
        self.labels = [label for label in self.labels if label[2] > now]
        for key, _, when in due:
            self.session.add({"id": key, "y_true": 0.0, "ts": when})

    def converse(self) -> None:
        """Let the conversations and the agent exchange lines, as the Monitor's thread does."""
        self.cells.close_ended(self.device_clock.now())
        if self.rng.random() < 0.02:
            self.cells.flush()
            self.session.flush()
        for name, conversation in (("lines", self.session), ("cells", self.cells)):
            if self.rng.random() < self.risk["stall"]:
                continue
            wire = self.wires.get(name)
            if wire is None:
                wire = self.wires[name] = Wire(self.clients, name)
                wire.write([conversation.hello()])
            self.hear(wire, conversation)
            lines = conversation.due()
            if self.rng.random() < self.risk["part read"]:  # the connection breaks in the middle
                wire.write(lines[: self.rng.randrange(len(lines) + 1)])
                if self.rng.random() < 0.5:
                    wire.agent_reads()
                self.break_off(name)
            else:
                wire.write(lines)
        self.read_what_lingers()
        for wire in self.wires.values():
            if self.rng.random() >= self.risk["agent stalls"]:
                wire.agent_reads()

    def hear(self, wire: Wire, conversation: SessionConversation | CellConversation) -> None:
        for reply in wire.read():
            assert "error" not in reply, reply
            conversation.heard(reply)
            offset = self.device_clock.heard(reply) if conversation is self.cells else None
            if offset is not None:
                self.cells.follow_clock(self.device_clock.follow(offset))

    def read_what_lingers(self) -> None:
        if self.lingering and self.rng.random() < 0.5:
            wire = self.lingering.pop(0)
            wire.agent_reads()
            wire.close()

    def send(self, kind: str, payload: bytes) -> None:
        if self.rng.random() < self.risk["drop"]:
            return
        copies = 2 if self.rng.random() < self.risk["double"] else 1
        for _ in range(copies):
            slow = self.rng.random() < self.risk["delay"]
            self.network.append(
                (self.clock.passed + (self.rng.uniform(0, 60) * slow), kind, payload)
            )

    def deliver(self) -> None:
        if self.rng.random() < self.risk["amnesia"] / 4:
            self.network.clear()
            self.agent.uplink.disconnected()
            self.hello_collector()
        if self.rng.random() < self.risk["offline"] / 4:
            self.agent.heard_collector("worker", encode_presence(Presence(False, "test", "run")))
        elif self.rng.random() < 0.3 or self.away[0] <= self.clock.passed < self.away[1]:
            self.hello_collector()
        ready = [m for m in self.network if m[0] <= self.clock.passed]
        self.network = [m for m in self.network if m[0] > self.clock.passed]
        self.rng.shuffle(ready)
        for _, kind, payload in ready:
            if kind == "report":
                ack = self.collector.take(payload)
                if ack is not None:
                    self.send("ack", ack)
            else:
                self.agent.heard_ack(payload)

    def step(self) -> None:
        """Let one second pass."""
        self.clock.passed += 1.0
        self.clock.is_synchronised = self.clock.passed >= self.time_known_at
        if self.rng.random() < self.risk["kill"] / 4:
            self.kill_agent()
        if self.rng.random() < self.risk["disconnect"]:
            self.hang_up()
        try:
            self.converse()
            for report in self.agent.tick():
                self.send("report", report)
            self.clients.notify()
            self.deliver()
        except KilledError:
            self.kill_agent()

    def heal(self) -> None:
        """Stop all faults and run until nothing waits anywhere."""
        self.risk = dict.fromkeys(self.risk, 0.0)
        self.agent.ledger.risk = 0.0
        self.time_known_at, self.away = 0.0, (0.0, 0.0)
        self.hello_collector()
        self.cells.close_ended(self.device_clock.now(), everything=True)
        for _ in range(2_000):
            self.feed_labels()
            self.step()
            quiet = not (self.labels or self.cells.undurable or len(self.session))
            if quiet and not (self.agent.waiting or len(self.agent.growing) or self.network):
                return
        raise NeverArrivesError(f"{self.agent.waiting} cells wait for ever")

    def close(self) -> None:
        self.agent.ledger.close()

    def feed_labels(self) -> None:
        for key, _, when in self.labels:
            self.session.add({"id": key, "y_true": 0.0, "ts": when})
        self.labels = []

    def held(self) -> tuple[int, float]:
        """Return how many samples the collector has, and the sum of their errors."""
        cells = self.collector.cells.values()
        count = sum(cell.stats.count for cell in cells)
        return count, sum(c.stats.bias * c.stats.count for c in cells if c.stats.count)


def lived(seed: int, folder: Path, steps: int = 200) -> str:
    """Run one world; return what is wrong with what arrived, or nothing."""
    with closing(World(seed, folder)) as world:
        for _ in range(steps):
            world.feed()
            world.step()
        world.heal()
        count, total = world.held()
        missing, lost = len(world.fed) - count, sum(world.fed) - round(total)
        # One that was refused may have come again, after a power cut, and found room then.
        some = 0 <= missing < len(world.refused) and 0 <= lost < sum(world.refused)
        if (missing, lost) == (len(world.refused), sum(world.refused)) or some:
            return ""
        refused = len(world.refused)
        return f"{count} of {len(world.fed)} samples arrived; {refused} refused for their window"
