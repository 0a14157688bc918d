"""The real agent, Monitor cells and resending client in a world that breaks on purpose.

Everything is driven by one seeded generator: the network drops, doubles, delays and reorders, the
broker forgets, the collector's acks get lost, agents are killed between and inside transactions,
connections break. What is simulated is only what lies between the parts.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from edgemse_agent.agent import Agent
from edgemse_agent.intake.clients import Client, Intake
from edgemse_agent.ledger import Ledger
from edgemse_agent.settings import AgentSettings, DeliverySettings, WindowSettings
from support.clock import FakeClock

from edgemse.cells import Cell, Identity, newest, unseal
from edgemse.monitor.own_cells import OwnCells
from edgemse.monitor.own_lines import OwnLines
from edgemse.wire import Ack, State, decode_report, encode_ack, encode_state

SETTINGS = AgentSettings(
    "device",
    windows=WindowSettings(width_seconds=10),
    delivery=DeliverySettings(commit_seconds=20.0, ledger_cells_max=6),
)


class KilledError(Exception):
    """The agent process is no more."""


class FragileLedger(Ledger):
    """A ledger under which the process may die before or after any transaction."""

    rng: random.Random
    risk = 0.0

    def _perhaps_die(self) -> None:
        if self.rng.random() < self.risk:
            raise KilledError

    def commit(self, *arguments: object, **named: object) -> None:
        self._perhaps_die()
        super().commit(*arguments, **named)
        self._perhaps_die()

    def expose(self, identities: object) -> None:
        self._perhaps_die()
        super().expose(identities)
        self._perhaps_die()

    def acked(self, committed: object) -> None:
        self._perhaps_die()
        super().acked(committed)
        self._perhaps_die()


class Collector:
    """A store that keeps the highest revision of each identity, as the real ones do."""

    def __init__(self) -> None:
        self.cells: dict[Identity, Cell] = {}

    def take(self, payload: bytes) -> bytes | None:
        held: dict[Identity, int] = {}
        for sealed in decode_report(payload).cells:
            cell = unseal(sealed, "device")
            stored = self.cells.get(cell.identity)
            if newest(stored and stored.revision, cell.revision):
                self.cells[cell.identity] = cell
            held[cell.identity] = self.cells[cell.identity].revision
        return encode_ack(Ack("worker", held)) if held else None


class World:
    """One device, its clients, a network and a collector; `step` is one second."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.clock = FakeClock()
        self.path = folder / "ledger.sqlite"
        self.collector = Collector()
        self.network: list[tuple[float, str, bytes]] = []
        faults = ("drop", "double", "delay", "amnesia", "kill", "disconnect", "offline")
        self.risk = {f: self.rng.choice((0.0, 0.05, 0.2)) for f in faults}
        self.fed: list[float] = []
        self.ids = 0
        self.labels: list[tuple[int, float, float]] = []
        self.monitor = OwnCells("model", "1", cells_max=100, series_max=10)
        self.lines = OwnLines(lines_max=10_000)
        self.start_agent()

    def start_agent(self) -> None:
        ledger = FragileLedger(self.path)
        ledger.rng = self.rng
        self.agent = Agent(SETTINGS, ledger, self.clock, rng=self.rng)
        ledger.risk = self.risk["kill"] / 5
        self.intake = Intake(self.agent)
        self.hello_collector()
        self.hang_up()

    def hello_collector(self) -> None:
        self.agent.heard_collector("worker", encode_state(State(True, "test", "run")))

    def hang_up(self) -> None:
        self.line_client: Client | None = None
        self.cell_client: Client | None = None
        self.line_replies: list[bytes] = []
        self.cell_replies: list[bytes] = []

    def kill_agent(self) -> None:
        self.agent.ledger.close()  # without a last commit: what was not committed is gone
        self.start_agent()

    def feed(self) -> None:
        """Make samples of unique errors, some at once and some as prediction and late label."""
        now = self.clock.wall()
        for _ in range(self.rng.randrange(4)):
            error = float(len(self.fed) + 1)
            self.fed.append(error)
            kind = self.rng.randrange(3)
            if kind == 0:
                self.monitor.add("", self.rng.choice("ab"), now, 0.0, error)
            elif kind == 1:
                self.lines.add({"y_true": 0.0, "y_pred": error, "ts": now})
            else:
                self.ids += 1
                halves = [{"id": self.ids, "y_pred": error, "ts": now}]
                self.labels.append((self.ids, now, now + self.rng.randrange(60)))
                self.lines.add(halves[0])
        due = [label for label in self.labels if label[2] <= now]
        self.labels = [label for label in self.labels if label[2] > now]
        for key, _, when in due:
            self.lines.add({"id": key, "y_true": 0.0, "ts": when})

    def converse(self) -> None:
        """Let the clients and the agent exchange lines, as the Monitor's thread does."""
        if self.line_client is None:
            self.line_client = self.intake.join(self.line_replies.append, "lines")
            self.line_client.feed(json.dumps(self.lines.hello()).encode() + b"\n")
        while self.line_replies:
            reply = json.loads(self.line_replies.pop(0))
            assert "error" not in reply, reply
            if "received" in reply:
                again = self.lines.resume(reply["ledger"], reply["received"])
                if again is not None:
                    self.line_client.feed(json.dumps(again).encode() + b"\n")
            self.lines.durable(reply.get("durable", 0))
        for line in self.lines.due():
            self.line_client.feed(line + b"\n")
        again = self.cell_client is None
        self.monitor.close_ended(self.clock.wall())
        if self.cell_client is None:
            self.cell_client = self.intake.join(self.cell_replies.append, "cells")
            hello = {"producer": self.monitor.producer.hex()}
            self.cell_client.feed(json.dumps(hello).encode() + b"\n")
        for line in self.monitor.lines(again=again):
            self.cell_client.feed(line + b"\n")
        while self.cell_replies:
            reply = json.loads(self.cell_replies.pop(0))
            assert "error" not in reply, reply
            for sequence, revision in reply.get("durable_cells", ()):
                self.monitor.durable(sequence, revision)

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
            self.agent.heard_collector("worker", encode_state(State(False, "test", "run")))
        elif self.rng.random() < 0.3:
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
        if self.rng.random() < self.risk["kill"] / 4:
            self.kill_agent()
        if self.rng.random() < self.risk["disconnect"]:
            self.hang_up()
        try:
            self.converse()
            for report in self.agent.tick():
                self.send("report", report)
            self.intake.notify()
            self.deliver()
        except KilledError:
            self.kill_agent()

    def heal(self) -> None:
        """Stop all faults and run until nothing waits anywhere."""
        self.risk = dict.fromkeys(self.risk, 0.0)
        self.agent.ledger.risk = 0.0
        self.hello_collector()
        self.monitor.close_ended(self.clock.wall(), everything=True)
        for _ in range(2_000):
            self.feed_labels()
            self.step()
            quiet = not (self.labels or self.monitor.undurable or len(self.lines))
            if quiet and not (
                self.agent.waiting or self.agent.windows.waits(self.clock.wall()) or self.network
            ):
                return
        raise AssertionError(f"something never arrives: {self.agent.waiting} cells wait")

    def close(self) -> None:
        self.agent.ledger.close()

    def feed_labels(self) -> None:
        for key, _, when in self.labels:
            self.lines.add({"id": key, "y_true": 0.0, "ts": when})
        self.labels = []

    def held(self) -> tuple[int, float]:
        """Return how many samples the collector has, and the sum of their errors."""
        cells = self.collector.cells.values()
        count = sum(cell.stats.count for cell in cells)
        return count, sum(c.stats.bias * c.stats.count for c in cells if c.stats.count)
