"""One device under simulated time, on a real disk, that says all it does: to be killed or traced.

    python tests/crash/device.py FOLDER SEED DURABLE_SECONDS STEPS [careless]

Each line of standard output is a fact, written before or after what it is about, so that whoever
cuts the power between two system calls knows what clients had been told by then:

    ["ledger", id]  ["step", t]  ["line", {...}]  ["sample", producer, sequence, error]
    ["lines durable", n]  ["cell durable", producer, sequence, samples]
    ["handed", report]  ["took", report]  ["no ledger", why]  ["settled"]

The collector is here too, away half of the time; of what it is handed it takes a part at once and
acknowledges a part of that. In the end the faults stop and everything must come to rest.
"""

from __future__ import annotations

import base64
import json
import os
import random
import sqlite3
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgemse_agent.agent import Agent
from edgemse_agent.intake.clients import Clients
from edgemse_agent.ledger import Ledger, opening
from edgemse_agent.ledger.file import connect
from edgemse_agent.settings import AgentSettings, DeliverySettings, WindowSettings
from support.clock import FakeClock

from edgemse import ErrorStats
from edgemse.counters import Counters
from edgemse.errors import LedgerError
from edgemse.monitor.cells import CellConversation
from edgemse.monitor.monitor import MEANINGS
from edgemse.presence import Presence, encode_presence
from edgemse.wire import Ack, decode_report, encode_ack

SESSION = "session of lines"
BOARD = "board 1"
CELLS_MAX = 12
"""Few, so that the device coarsens while its collector is away."""
AWAY_STEPS = 120
SETTLE_STEPS = 2_000
STARTS_MAX = 1_000


def settings(durable_seconds: float) -> AgentSettings:
    """Return what the device runs with, before and after a crash."""
    return AgentSettings(
        "pi",
        windows=WindowSettings(width_seconds=10),
        delivery=DeliverySettings(durable_seconds=durable_seconds, ledger_cells_max=CELLS_MAX),
    )


def tell(*fact: object) -> None:
    """Say a fact, in one write."""
    os.write(1, json.dumps(fact).encode() + b"\n")


class Device:
    """Agent, a client that sends numbered lines, a Monitor's cells, and a collector."""

    def __init__(self, folder: Path, seed: int, durable_seconds: float) -> None:
        self.rng, self.clock = random.Random(seed), FakeClock()
        self.path, self.settings = folder / "ledger.sqlite", settings(durable_seconds)
        self.lines: list[dict[str, Any]] = []
        self.labels: list[tuple[int, float]] = []
        self.fed = self.told = 0
        self.risk = 0.3
        self.away_until = 0
        self.samples: dict[tuple[int, int], int] = {}
        """Of each revision that was sent: how many samples it has."""
        self.cells = CellConversation(
            "m", "1", Counters(MEANINGS), cells_max=1_000, series_max=9, clock=self.clock.wall
        )
        self.start()

    def start(self) -> None:
        """Begin a run of the agent, and both conversations with it."""
        self.agent = Agent(self.settings, self.opened(), self.clock, rng=self.rng)
        self.clients = Clients(self.agent)
        self.replies: list[bytes] = []
        self.monitor = self.clients.join(self.replies.append, "monitor")
        self.client = self.clients.join(self.replies.append, "client")
        self.monitor.feed(self.cells.hello())
        self.client.feed(json.dumps({"session": SESSION, "from": self.told}).encode() + b"\n")
        self.hear()
        self.converse()
        self.look_for_the_collector()

    def opened(self) -> Ledger:
        """Open the ledger, again and again while the disk does not let us, as systemd would."""
        for _ in range(STARTS_MAX):
            try:
                return Ledger(self.path, hardware=BOARD)
            except LedgerError as error:
                tell("no ledger", str(error))
        raise AssertionError("the disk is whole again, and the ledger does not open")

    def restart(self) -> None:
        """End the run, perhaps without a last commit, and begin another."""
        if self.rng.random() < 0.5:
            self.agent.commit(everything=True)
            self.clients.notify()
            self.hear()
        self.agent.ledger.close()
        self.start()

    def look_for_the_collector(self) -> None:
        """Let the agent hear whether the collector listens."""
        online = self.clock.passed >= self.away_until
        self.agent.heard_collector("w", encode_presence(Presence(online, "s", "run")))

    def feed(self) -> None:
        """Make lines and samples, each with an error of its own."""
        now = self.clock.wall()
        for _ in range(self.rng.randrange(3)):
            self.fed += 1
            error, kind = float(self.fed), self.rng.randrange(3)
            if kind == 0:
                segment = self.rng.choice("ab")
                self.cells.add("", segment, now, 0.0, error)
                sequence = self.cells.latest[""][segment].sequence
                tell("sample", self.cells.producer.hex(), sequence, error)
            elif kind == 1:
                self.add({"y_true": 0.0, "y_pred": error, "ts": now})
            else:
                self.add({"id": self.fed, "y_pred": error, "ts": now})
                self.labels.append((self.fed, now + self.rng.randrange(40)))
        for key, when in [label for label in self.labels if label[1] <= now]:
            self.add({"id": key, "y_true": 0.0, "ts": when})
        self.labels = [label for label in self.labels if label[1] > now]

    def add(self, line: dict[str, Any]) -> None:
        """Number a line and give it to the agent."""
        line["n"] = len(self.lines)
        self.lines.append(line)
        tell("line", line)
        self.client.feed(json.dumps(line).encode() + b"\n")

    def converse(self) -> None:
        """Send the cells that grew; of each revision it is noted how many samples it has."""
        self.cells.close_ended(self.clock.wall())
        for line in self.cells.due():
            said = json.loads(line)
            count = ErrorStats.from_bytes(base64.b64decode(said["state"])).count
            self.samples[said["sequence"], said["revision"]] = count
            self.monitor.feed(line)

    def hear(self) -> None:
        """Take what the agent says, and say what clients know by that."""
        for reply in map(json.loads, b"".join(self.replies).splitlines()):
            assert "error" not in reply, reply
            if "received" in reply:
                tell("ledger", reply["ledger"])
                for line in self.lines[reply["received"] :]:
                    self.client.feed(json.dumps(line).encode() + b"\n")
            if "durable" in reply:
                self.told = reply["durable"]
                tell("lines durable", self.told)
            self.cells.heard(reply)
            for sequence, revision in reply.get("durable_cells", ()):
                count = self.samples[sequence, revision]
                tell("cell durable", self.cells.producer.hex(), sequence, count)
        self.replies.clear()

    def hand_over(self, report: bytes) -> None:
        """Let the collector have a report, if chance wants it."""
        text = base64.b64encode(report).decode()
        tell("handed", text)
        if self.rng.random() < self.risk or self.clock.passed < self.away_until:
            return
        tell("took", text)
        held = {cell.identity: cell.revision for cell in decode_report(report).cells}
        if held and self.rng.random() >= self.risk:
            self.agent.heard_ack(encode_ack(Ack("w", held)))

    def step(self, *, feeding: bool = False) -> None:
        """Let a second pass."""
        self.clock.passed += 1.0
        tell("step", self.clock.passed)
        if feeding:
            self.feed()
        if self.rng.random() < self.risk / 20 and self.clock.passed >= self.away_until:
            self.away_until = self.clock.passed + self.rng.randrange(AWAY_STEPS)
        self.converse()
        if self.rng.random() < self.risk / 20:
            self.restart()
        self.look_for_the_collector()
        for report in self.agent.tick():
            self.hand_over(report)
        self.clients.notify()
        self.hear()

    def settle(self) -> None:
        """Stop all faults, and go on until nothing waits."""
        self.risk = self.away_until = 0
        for key, _ in self.labels:
            self.add({"id": key, "y_true": 0.0, "ts": self.clock.wall()})
        self.labels = []
        self.cells.close_ended(0.0, everything=True)
        for _ in range(SETTLE_STEPS):
            self.step()
            done = self.told == len(self.lines) and not self.cells.undurable
            if done and not self.agent.waiting:
                self.agent.ledger.close()
                tell("settled")
                return
        raise AssertionError(f"{self.agent.waiting} cells wait for ever")


def hurried(path: Path | None) -> sqlite3.Connection:
    """Open a ledger that does not wait for the disk, which the power cut must find out."""
    database = connect(path)
    database.execute("PRAGMA synchronous = OFF")
    return database


def main() -> None:
    """Live so many seconds in a folder, and settle; a further word lets the ledger be careless."""
    folder, seed, durable_seconds, steps, *careless = sys.argv[1:]
    if careless:
        opening.connect = hurried
    device = Device(Path(folder), int(seed), float(durable_seconds))
    for _ in range(int(steps)):
        device.step(feeding=True)
    device.settle()


if __name__ == "__main__":
    main()
