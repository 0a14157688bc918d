"""After a crash: the next run of the agent on what is left, until everything has arrived."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from edgemse_agent.agent import Agent
from edgemse_agent.intake.clients import Clients
from edgemse_agent.ledger import Ledger
from support.clock import FakeClock

from crash.books import Arrived, Books
from crash.device import BOARD, SESSION, settings
from edgemse.cells import Cell, Identity, newest, unseal
from edgemse.presence import Presence, encode_presence
from edgemse.wire import Ack, decode_report, encode_ack

TICKS_MAX = 500


class Fleet:
    """Keeps the highest revision of each cell, whatever comes twice, late or in another order."""

    def __init__(self) -> None:
        self.cells: dict[Identity, Cell] = {}

    def take(self, report: bytes) -> dict[Identity, int]:
        """Take a report; return what is committed of its cells."""
        held = {}
        for cell in map(unseal, decode_report(report).cells):
            before = self.cells.get(cell.identity)
            if newest(before and before.revision, cell.revision):
                self.cells[cell.identity] = cell
            held[cell.identity] = self.cells[cell.identity].revision
        return held

    def arrived(self) -> Iterable[Arrived]:
        """Return the cells as numbers."""
        for (producer, sequence), cell in self.cells.items():
            count = cell.stats.count
            total = cell.stats.bias * count if count else 0.0
            yield Arrived(producer.hex(), sequence, count, total)


def gone_on(folder: Path, books: Books, durable_seconds: float, rng: random.Random) -> list[str]:
    """Start an agent on the folder, deliver everything, and return what is wrong with it.

    What was handed to the broker before may come late, or never; the client of the lines may have
    died with the device, or resend what it does not know to be durable.
    """
    clock = FakeClock()
    clock.passed = books.now + rng.uniform(1.0, 100.0)
    clock.boot_id = "boot 2"
    with closing(Ledger(folder / "ledger.sqlite", hardware=BOARD)) as ledger:
        if ledger.set_aside is not None or ledger.taken or ledger.commits_lost:
            return [f"the ledger was put away: {ledger.taken}, lost {ledger.commits_lost} commits"]
        if books.ledger not in ("", ledger.id):
            return [f"clients knew ledger {books.ledger}, now it is {ledger.id}"]
        agent = Agent(settings(durable_seconds), ledger, clock, rng=rng)
        received = _received(agent, books)
        if received < books.lines_durable:
            return [f"the ledger has {received} lines of {books.lines_durable} confirmed ones"]
        had = received
        if rng.random() < 0.5:  # the client is on another machine, perhaps
            had = _resent(agent, books, received)
        fleet = _delivered(agent, clock, books, rng)
        refused = agent.counters["windows_refused"]
        if agent.waiting or refused:
            return [f"{agent.waiting} cells wait for ever, {refused} samples refused"]
    return books.audit(fleet.arrived(), had, durable_seconds)


def _received(agent: Agent, books: Books) -> int:
    """Ask the agent how many of the lines it has."""
    replies = list[bytes]()
    client = Clients(agent).join(replies.append, "client")
    client.feed(_line({"session": SESSION, "from": books.lines_durable}))
    return int(json.loads(replies[0])["received"])


def _resent(agent: Agent, books: Books, received: int) -> int:
    """Give the agent the lines that it lacks, and return how many it has then."""
    client = Clients(agent).join(list[bytes]().append, "client")
    client.feed(_line({"session": SESSION, "from": received}))
    for line in books.lines[received:]:
        client.feed(_line(line))
    return len(books.lines)


def _delivered(agent: Agent, clock: FakeClock, books: Books, rng: random.Random) -> Fleet:
    """Let the agent deliver to a fleet that has what was handed over before, or has it late."""
    fleet = Fleet()
    for report in books.took:
        fleet.take(base64.b64decode(report))
    late = [report for report in books.handed if rng.random() < 0.5]
    agent.heard_collector("w", encode_presence(Presence(True, "s", "run")))
    for _ in range(TICKS_MAX):
        clock.passed += agent.settings.delivery.durable_seconds
        if late:
            fleet.take(base64.b64decode(late.pop(rng.randrange(len(late)))))
        for report in agent.tick():
            held = fleet.take(report)
            if held:
                agent.heard_ack(encode_ack(Ack("w", held)))
        if not (late or agent.waiting or len(agent.growing)):
            break
    return fleet


def _line(content: object) -> bytes:
    return json.dumps(content).encode() + b"\n"
