"""The real agent, Monitor cells and resending client in a world that breaks on purpose.

Everything is driven by one seeded generator: the network drops, doubles, delays and reorders, the
broker forgets, the collector's acks get lost, cells are refused, agents are killed between and
inside transactions, Monitors are killed, connections break, ledgers are destroyed, cards cloned,
devices renamed, clocks step. What is simulated is only what lies between the parts.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import deque
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgemse_agent.agent import Agent
from edgemse_agent.intake.clients import Clients, LineClient
from edgemse_agent.ledger import Ledger
from edgemse_agent.lines import SampleLine
from edgemse_agent.settings import (
    AgentSettings,
    DeliverySettings,
    PairingSettings,
    WindowSettings,
)
from simulation.books import Books
from simulation.fleet import Fleet
from simulation.fragile import FragileLedger, KilledError
from simulation.marks import Marks, MonitorMarks
from support.clock import FakeClock

from edgemse.cells import Identity
from edgemse.counters import Counters
from edgemse.monitor.cells import CellConversation
from edgemse.monitor.clock import DeviceClock
from edgemse.monitor.monitor import MEANINGS
from edgemse.monitor.session import SessionConversation
from edgemse.presence import Presence, encode_presence

DAY_SECONDS = 86_400.0
YEAR_SECONDS = 365 * DAY_SECONDS
BOARD, OTHER_BOARD = "board 1", "board 2"
NOBODY = (None, None, None, None)
SETTINGS = AgentSettings(
    "device",
    # Labels come late where connections stall: none of them too late.
    pairing=PairingSettings(age_max_seconds=30 * DAY_SECONDS, matched_max=500),
)
CELLS_MAX = (1, 3, 10)
"""Few cells, so that the device coarsens, and so that times all over the calendar fill it."""


class NeverArrivesError(AssertionError):
    """Something is still under way long after all faults have ended."""


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
    """One device, its clients, a network and collectors; `step` lets time pass, a second mostly.

    In a `long` life there are hours without any event between the busy minutes.
    """

    FAULTS = (
        *("drop", "double", "delay", "amnesia", "kill", "disconnect", "offline", "stall"),
        *("agent stalls", "part read", "linger", "scatter", "refuse", "dies", "monitor killed"),
        *("destroy", "clone", "rename", "clock"),
    )

    def __init__(self, seed: int, folder: Path, *, long: bool = False) -> None:
        self.rng = random.Random(seed)
        self.clock, self.long, self.folder = FakeClock(), long, folder
        self.time_known_at = self.rng.choice((0.0, 0.0, 60.0, 500.0))
        self.clock.is_synchronised = not self.time_known_at
        self.path = folder / "ledger.sqlite"
        self.fleet, self.books, self.marks = Fleet(self.rng), Books(), Marks()
        self.network: list[tuple[float, str, bytes]] = []
        self.risk = {f: self.rng.choice((0.0, 0.05, 0.2)) for f in self.FAULTS}
        if long:  # a step is minutes
            self.risk |= {f: self.risk[f] / 10 for f in ("kill", "monitor killed")}
        self.away = (-1.0, -1.0)
        """From when to when the collectors are away."""
        self.plan_absence()
        delivery = DeliverySettings(
            durable_seconds=self.rng.choice((5.0, 20.0, 75.0)),
            ledger_cells_max=self.rng.choice(CELLS_MAX),
            parked_cells_max=1_000_000,
        )
        windows = WindowSettings(self.rng.choice((60, 3_600)) if long else 10)
        self.settings = replace(SETTINGS, delivery=delivery, windows=windows)
        self.ids = 0
        self.wires: dict[str, Wire] = {}
        self.lingering: list[Wire] = []
        self.halves: list[tuple[float, dict[str, Any]]] = []
        """Predictions and labels whose other half was sent, and when they come."""
        self.unused: deque[int] = deque(maxlen=20)
        """Ids whose pair is complete: their labels may come again."""
        self.counters = Counters(MEANINGS)
        self.start_monitor()
        self.session = SessionConversation(lines_max=1_000_000)
        self.twin: Agent | None = None
        self.start_agent()

    def start_monitor(self) -> None:
        """Start a process with a Monitor."""
        self.device_clock = DeviceClock(self.clock.wall, self.clock.boot)
        self.cells = CellConversation(
            "model",
            "1",
            self.counters,
            cells_max=10_000,
            series_max=10,
            clock=self.device_clock.now,
        )
        self.cells.await_clock()
        self.monitor = MonitorMarks(self.marks, self.cells)

    def start_agent(self) -> None:
        ledger = FragileLedger(self.path, hardware=BOARD)
        ledger.rng = self.rng
        self.agent = Agent(self.settings, ledger, self.clock, rng=self.rng)
        self.marks.watch(self.agent, self.books.excused.add)
        ledger.risk = self.risk["kill"] / 5
        self.clients = Clients(self.agent)
        self.hello_collector()
        self.wires.clear()
        self.lingering.clear()
        self.watch_durable()

    def watch_durable(self) -> None:
        """Hear what becomes durable in this run of the agent."""
        self.lines_taken: deque[tuple[float, str, int]] = deque()
        self.cells_taken: deque[tuple[float, Identity, int]] = deque()
        self.cells_durable: dict[Identity, int] = {}
        durable, take = self.agent.relay.durable, self.agent.take_cell

        def heard(revisions: Any) -> None:
            revisions = list(revisions)
            for identity, revision in revisions:
                known = self.cells_durable.get(identity, 0)
                self.cells_durable[identity] = max(known, revision)
            durable(revisions)

        def taken(cell: Any, *rest: Any) -> bool:
            took = take(cell, *rest)
            if took and cell.revision > self.cells_durable.get(cell.identity, 0):
                self.cells_taken.append((self.clock.passed, cell.identity, cell.revision))
            return took

        self.agent.relay.durable = heard  # type: ignore[method-assign]
        self.agent.take_cell = taken  # type: ignore[method-assign]

    @property
    def has_room(self) -> bool:
        """Whether the ledger takes all of the Monitors' cells that are in memory."""
        agent = self.agent
        room = self.settings.delivery.ledger_cells_max - agent.ledger.relayed
        return len(agent.relay) <= room

    def look_at_durable(self, *, has_room: bool) -> None:
        """Hold what the agent took to its age: after a tick nothing may be older."""
        agent, before = self.agent, self.clock.passed - self.settings.delivery.durable_seconds
        name = self.session._session
        self.lines_taken.append((self.clock.passed, name, agent.received(name)))
        while self.lines_taken and self.lines_taken[0][0] <= before:
            _, session, count = self.lines_taken.popleft()
            if agent.durable(session) < count and not self.books.late:
                self.books.late = f"{count} lines are late at {self.clock.passed}"
        while self.cells_taken and self.cells_taken[0][0] <= before:
            _, identity, revision = self.cells_taken.popleft()
            late = self.cells_durable.get(identity, 0) < revision
            if late and has_room and not self.books.late:
                self.books.late = f"a Monitor's cell is late at {self.clock.passed}"

    def plan_absence(self) -> None:
        """Choose when the collectors are away next."""
        if self.long:
            begin = self.clock.passed + self.rng.uniform(0.0, 20 * DAY_SECONDS)
            lasts = self.rng.choice((100.0, 3_600.0, DAY_SECONDS, 7 * DAY_SECONDS))
        else:
            begin = self.rng.uniform(0.0, 100.0)
            lasts = self.rng.choice((0.0, 0.0, 100.0))
        self.away = (begin, begin + lasts)

    def hello_collector(self) -> None:
        online = not self.away[0] <= self.clock.passed < self.away[1]
        presence = encode_presence(Presence(online, "test", "run"))
        self.agent.heard_collector("worker", presence)

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
        """End the run without a last commit: what was not committed is gone."""
        files = {file: file.read_bytes() for file in self.folder.glob("ledger.sqlite*")}
        self.agent.ledger.close()
        if self.rng.random() < 0.5:  # its journal is there, as a SIGKILL leaves it
            for file, content in files.items():
                file.write_bytes(content)
        if self.rng.random() < self.risk["clone"] and self.twin is None:
            self.clone()
        if self.rng.random() < self.risk["destroy"] / 2:
            self.destroy()
        if self.rng.random() < self.risk["rename"]:
            self.settings = replace(self.settings, device=f"device {self.rng.randrange(9)}")
        self.start_agent()

    def destroy(self) -> None:
        """Take the ledger away: what was fed and has not arrived may be lost, but once."""
        arrived = {error for errors, *_ in self.arrived() for error in errors}
        fed = {float(n) for n in range(1, self.books.fed + 1)}
        self.books.excused |= fed - arrived
        for file in self.folder.glob("ledger.sqlite*"):
            if not file.name.endswith(".lock"):
                file.unlink()

    def clone(self) -> None:
        """Copy the card into another board, under the same name; that runs on beside this one."""
        folder = self.folder / "twin"
        folder.mkdir()
        for file in self.folder.glob("ledger.sqlite*"):
            shutil.copy(file, folder)
        ledger = Ledger(folder / self.path.name, hardware=OTHER_BOARD)
        self.twin = Agent(self.settings, ledger, self.clock, rng=self.rng)
        self.marks.watch(self.twin, self.books.excused.add)
        self.twin.heard_collector("worker", encode_presence(Presence(True, "test", "run")))

    def agents(self) -> list[Agent]:
        """Return the agents that hear the device's topics."""
        return [self.agent] if self.twin is None else [self.agent, self.twin]

    def feed(self) -> None:
        """Make samples of unique errors, some at once and some as prediction and late label."""
        when = {"boot": self.clock.boot()}
        for _ in range(self.rng.randrange(4)):
            error = self.books.sample()
            kind = self.rng.randrange(3)
            if kind == 0:
                self.monitor.add(self.rng.choice("ab"), self.device_clock.now(), error)
            elif kind == 1:
                if self.rng.random() < 4 * self.risk["scatter"]:
                    days = self.rng.randrange(1, 8_000)
                    when = {"ts": self.clock.wall() - DAY_SECONDS * days}
                self.session.add({"y_true": 0.0, "y_pred": error} | when)
                when = {"boot": self.clock.boot()}
            else:
                self.ids += 1
                halves = [{"id": self.ids, "y_pred": error} | when, {"id": self.ids, "y_true": 0.0}]
                if self.rng.random() < 0.3:  # two connections may bring them in any order
                    halves.reverse()
                self.session.add(halves[0])
                self.halves.append((self.clock.passed + self.rng.randrange(60), halves[1]))
        if self.twin is not None and self.rng.random() < 0.1:
            self.twin.take(SampleLine(NOBODY, 0.0, self.books.sample(), 1.0, None))
        self.feed_halves(self.clock.passed)

    def feed_halves(self, until: float) -> None:
        """Send the halves that are due, and some labels again, by the broker, to whoever hears."""
        for half in [half for when, half in self.halves if when <= until]:
            self.session.add(half)
            self.unused.append(half["id"])
        self.halves = [half for half in self.halves if half[0] > until]
        if self.unused and self.rng.random() < 0.1:
            label = {"id": self.rng.choice(self.unused), "y_true": 0.0}
            for clients in (self.clients, *([Clients(self.twin)] if self.twin else [])):
                client = clients.join([].append, "labels", labels_only=True)
                client.feed(json.dumps(label).encode() + b"\n")
                clients.leave(client)

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
                ack = self.fleet.take(payload, self.risk["refuse"] / 4, self.risk["dies"])
                if ack is not None:
                    self.send("ack", ack)
            else:
                for agent in self.agents():
                    agent.heard_ack(payload)

    def step(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.clock.passed += seconds
        self.clock.is_synchronised = self.clock.passed >= self.time_known_at
        if self.long and self.clock.passed >= self.away[1]:
            self.plan_absence()
        self.something_rare()
        if self.rng.random() < self.risk["disconnect"]:
            self.hang_up()
        try:
            self.converse()
            has_room = self.has_room
            for agent in self.agents():
                for report in agent.tick():
                    self.send("report", report)
            self.look_at_durable(has_room=has_room)
            self.clients.notify()
            self.deliver()
        except KilledError:
            self.kill_agent()

    def something_rare(self) -> None:
        """Let happen what happens once in a while."""
        if self.rng.random() < self.risk["kill"] / 4:
            self.kill_agent()
        if self.rng.random() < self.risk["monitor killed"] / 10:
            self.books.excused |= set(self.monitor.untold())
            if "cells" in self.wires:
                self.break_off("cells")
            self.start_monitor()
        if self.rng.random() < self.risk["clock"] / 10:
            self.clock._start += self.rng.choice((-200.0, -30.0, -7.0, 7.0, 30.0, 200.0))
        if self.rng.random() < 0.02:
            self.fleet.retain()
        if self.rng.random() < 0.02:
            self.agent.release()

    def heal(self) -> None:
        """Stop all faults and run until nothing waits anywhere."""
        self.risk = dict.fromkeys(self.risk, 0.0)
        self.agent.ledger.risk = 0.0
        self.time_known_at, self.away, self.long = 0.0, (0.0, 0.0), False
        self.hello_collector()
        self.cells.close_ended(self.device_clock.now(), everything=True)
        self.feed_halves(float("inf"))
        for _ in range(4_000):
            for agent in self.agents():
                agent.release()
            self.step()
            quiet = not (self.cells.undurable or len(self.session) or self.network)
            waits = [agent.waiting or len(agent.growing) for agent in self.agents()]
            if quiet and not any(waits):
                break
        else:
            raise NeverArrivesError(f"{self.agent.waiting} cells wait for ever")
        for agent in self.agents():
            if agent.ledger.owes:
                agent.ledger.commit()  # acks wait for the next transaction
        if any(agent.ledger.own for agent in self.agents()):
            raise NeverArrivesError(f"{self.agent.ledger.own} cells are never let go")

    def arrived(self) -> list[tuple[list[float], int, float]]:
        """Return the errors that each cell of the fleet should have, its count and its sum."""
        return [
            (self.marks.of(identity, stored.count), stored.count, stored.total)
            for identity, stored in self.fleet.arrived()
        ]

    def close(self) -> None:
        self.marks.close()
        for agent in self.agents():
            agent.ledger.close()


def lived(seed: int, folder: Path, steps: int = 200) -> str:
    """Run a short life, a second a step; return what is wrong with what arrived, or nothing."""
    with closing(World(seed, folder)) as world:
        for _ in range(steps):
            world.feed()
            world.step()
        world.heal()
        return world.books.audit(world.arrived())


def lived_long(seed: int, folder: Path, seconds: float = YEAR_SECONDS) -> str:
    """Run a life of so long, quiet for most of it; return what is wrong, or nothing.

    A year takes half a minute of CPU.
    """
    with closing(World(seed, folder, long=True)) as world:
        busy = 0
        while world.clock.passed < seconds:
            if world.rng.random() < 0.002:
                busy = world.rng.randrange(100)
            world.feed()
            world.step(1.0 if busy > 0 else world.rng.uniform(60.0, 2_000.0))
            busy -= 1
        world.heal()
        return world.books.audit(world.arrived())
