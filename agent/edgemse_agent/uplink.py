"""What goes to the broker, when, and again until the collector says that it has committed it."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from typing import NamedTuple

from edgemse.cells import Identity, SealedCell
from edgemse.counters import Counters
from edgemse.presence import Presence, counts
from edgemse.wire import REPORT_BYTES_MAX, Ack, Report, encode_report, sealed_size
from edgemse_agent.ledger import Held, Ledger, Refused, Written
from edgemse_agent.pace import Pace
from edgemse_agent.relay import Relay, Relayed

__all__ = ["Stamp", "Uplink"]

log = logging.getLogger(__name__)

HEADER_BYTES = 8_192
"""Room in a report for its header and health counters."""
REPORT_CELLS_MAX = 500
IN_FLIGHT_MAX = 8
"""Reports handed over and not acknowledged; over restarts too, for exposed cells go first."""
RESEND_SECONDS = (5.0, 300.0)
"""First and longest wait for an ack; each wait without any ack doubles the next."""
HEALTH_SECONDS = 60.0
"""A report goes out at least this often while a collector listens, cells or none."""


class Stamp(NamedTuple):
    """The time of a round: monotonic and wall seconds, and whether the wall clock is good."""

    monotonic: float
    wall: float
    synchronised: bool


class _Flight(NamedTuple):
    cells: dict[Identity, int]
    deadline: float


class _Pick(NamedTuple):
    cell: SealedCell
    exposed: int
    """The highest revision that was handed over, 0 if none."""
    relayed: Relayed | None


class Uplink:
    """Chooses the reports to hand over; its own in-flight window stands before the client library.

    Holds while no collector is online. What is not acknowledged in time goes again, at the
    revision that the cell has by then, with exponential back-off and jitter. `run` names this start
    of the agent in its reports, as in its presence.
    """

    def __init__(
        self,
        device: str,
        run: str,
        ledger: Ledger,
        relay: Relay,
        counters: Counters,
        rng: random.Random,
        pace: Pace,
    ) -> None:
        self._device, self._run = device, run
        self._ledger, self._relay = ledger, relay
        self._counters, self._rng, self._pace = counters, rng, pace
        self._since: dict[Identity, float] = {}
        """Of growing cells in the ledger: when the oldest sample came that was not handed over."""
        self._workers: dict[str, Presence] = {}
        self._flights: list[_Flight] = []
        self._unanswered = 0
        self._last_report = float("-inf")

    @property
    def online(self) -> bool:
        """Whether some collector says that it listens."""
        return any(presence.online for presence in self._workers.values())

    @property
    def deserted(self) -> bool:
        """Whether the collectors that are known all say that they do not listen."""
        return bool(self._workers) and not self.online

    @property
    def in_flight(self) -> int:
        """Reports that wait for their ack."""
        return len(self._flights)

    def heard(self, worker: str, presence: Presence | None) -> None:
        """Take a collector's retained presence; None means that it was removed."""
        known = self._workers.get(worker)
        if presence is None:
            self._workers.pop(worker, None)
        elif counts(None if known is None else known.run, presence):
            self._workers[worker] = presence

    def disconnected(self) -> None:
        """Forget what was under way and who was online: the next connection tells anew."""
        self._workers.clear()
        self._flights.clear()

    def written(self, cell: SealedCell, since: float) -> None:
        """Take note of an own cell's revision that is in the ledger now.

        A final one goes out at once. A growing one is safe there, and waits until its oldest sample
        nears its age, so that a window goes out as few times as may be.
        """
        if cell.final:
            self._since.pop(cell.identity, None)
        else:
            self._since.setdefault(cell.identity, since)

    def hurry(self) -> None:
        """Let the growing cells of the ledger go at once."""
        self._since = dict.fromkeys(self._since, float("-inf"))

    def round(self, stamp: Stamp) -> list[bytes]:
        """Return the reports to hand over now; their cells are marked exposed already.

        Raises LedgerError if that mark cannot be written: then nothing may be handed over.
        """
        self._land_overdue(stamp.monotonic)
        if not self.online:
            return []
        batches = self._batches(IN_FLIGHT_MAX - len(self._flights), stamp.monotonic)
        picks = [pick for batch in batches for pick in batch]
        fresh = {
            pick.cell.identity: pick.cell.revision
            for pick in picks
            if pick.relayed is None and pick.exposed < pick.cell.revision
        }
        if fresh:
            self._ledger.expose(fresh)
        reports = [self._report(batch, stamp) for batch in batches]
        if not reports and stamp.monotonic - self._last_report >= HEALTH_SECONDS:
            reports.append(self._encoded((), stamp))
        if reports:
            self._last_report = stamp.monotonic
        return reports

    def acked(self, ack: Ack) -> None:
        """Take an ack: forget what is committed, park what is refused; LedgerError if it cannot."""
        self._counters.count("acks")
        self._unanswered = 0
        self._note_store(ack.store)
        self._park(ack)
        handed_over = self._relay.exposed(ack.committed)
        self._counters.count("acks_ahead", self._ledger.acked(ack.committed, handed_over))
        self._relay.acked(ack.committed)
        answered = dict(ack.committed)
        for refusal in ack.refused:
            answered[Identity(refusal.producer, refusal.sequence)] = refusal.revision
        flights = []
        for flight in self._flights:
            left = {i: r for i, r in flight.cells.items() if answered.get(i, 0) < r}
            if left:
                flights.append(_Flight(left, flight.deadline))
        self._flights = flights

    def _note_store(self, store: str) -> None:
        if not store or store == self._ledger.store:
            return
        if self._ledger.store:
            self._counters.count("stores_changed")
            log.warning(
                "store %s acknowledges, before it was %s: each has a part of this device's cells",
                store,
                self._ledger.store,
            )
        self._ledger.remember_store(store)

    def _park(self, ack: Ack) -> None:
        refused = {
            Identity(r.producer, r.sequence): Refused(r.revision, str(r.code), r.reason)
            for r in ack.refused
        }
        held = [relayed for relayed in self._relay.named(refused) if relayed.exposed]
        if held:
            self._ledger.commit(Written(r.cell, True, r.exposed) for r in held)
            self._relay.durable((r.cell.identity, r.cell.revision) for r in held)
        if refused:
            self._counters.count("cells_parked", self._ledger.park(refused))

    def _land_overdue(self, now: float) -> None:
        waiting = [flight for flight in self._flights if now < flight.deadline]
        if len(waiting) < len(self._flights):
            self._unanswered += 1
        self._flights = waiting

    def _batches(self, room: int, now: float) -> list[list[_Pick]]:
        """Fill up to `room` reports with cells that are due and not under way."""
        if room <= 0:
            return []
        flying = {identity for flight in self._flights for identity in flight.cells}
        batches: list[list[_Pick]] = []
        size = REPORT_BYTES_MAX
        for pick in self._due(len(flying) + room * REPORT_CELLS_MAX, now):
            if pick.cell.identity in flying:
                continue
            flying.add(pick.cell.identity)
            needed = sealed_size(pick.cell)
            full = bool(batches) and len(batches[-1]) >= REPORT_CELLS_MAX
            if full or size + needed > REPORT_BYTES_MAX - HEADER_BYTES:
                if len(batches) == room:
                    break
                batches.append([])
                size = 0
            batches[-1].append(pick)
            size += needed
        return batches

    def _due(self, limit: int, now: float) -> Iterable[_Pick]:
        """Exposed cells first, then Monitors', then the ledger's oldest; the newest revision."""
        own = [
            _Pick(h.cell, h.exposed, None)
            for h in self._ledger.due(limit + len(self._since))
            if h.cell.revision > self._relay.revision(h.cell.identity) and self._is_ripe(h, now)
        ]
        passed_on = [_Pick(r.cell, r.exposed, r) for r in self._relay.due(now)]
        return sorted(passed_on + own, key=lambda pick: not pick.exposed)

    def _is_ripe(self, held: Held, now: float) -> bool:
        since = self._since.get(held.cell.identity)
        if since is None or held.exposed > held.acked:
            return True
        return now - since >= self._pace.publish_seconds

    def _report(self, batch: list[_Pick], stamp: Stamp) -> bytes:
        if any(pick.exposed for pick in batch):
            self._counters.count("reports_resent")
        for pick in batch:
            if pick.relayed is not None:
                pick.relayed.expose()
            self._since.pop(pick.cell.identity, None)
        first, longest = RESEND_SECONDS
        wait = min(longest, first * 2.0 ** min(self._unanswered, 16))
        deadline = stamp.monotonic + wait * self._rng.uniform(0.75, 1.25)
        cells = {pick.cell.identity: pick.cell.revision for pick in batch}
        self._flights.append(_Flight(cells, deadline))
        return self._encoded(tuple(pick.cell for pick in batch), stamp)

    def _encoded(self, cells: tuple[SealedCell, ...], stamp: Stamp) -> bytes:
        self._counters.count("reports")
        self._counters.set("cells_waiting", self._ledger.waiting + len(self._relay))
        self._counters.set("cells_parked_now", self._ledger.parked_now)
        health = {name: value for name, value in self._counters.snapshot().items() if value}
        report = Report(
            self._device,
            round(stamp.wall * 1000),
            stamp.synchronised,
            cells,
            health,
            self._run,
        )
        payload = encode_report(report)
        self._counters.count("report_bytes", len(payload))
        return payload
