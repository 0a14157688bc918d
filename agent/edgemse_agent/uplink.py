"""What goes to the broker, when, and again until the collector says that it has committed it."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from edgemse.cells import Identity, SealedCell
from edgemse.counters import Counters
from edgemse.presence import Presence, counts
from edgemse.wire import REPORT_BYTES_MAX, Ack, Code, Report, encode_report, sealed_size
from edgemse_agent.budget import MESSAGE_BYTES, Budget
from edgemse_agent.ledger import Held, Ledger, Refused, Written
from edgemse_agent.pace import Pace
from edgemse_agent.relay import Relay, Relayed

__all__ = ["Stamp", "Uplink"]

log = logging.getLogger(__name__)

COUNTER_BYTES = 12
"""A counter takes at most this beside its name: a length of up to 3 bytes, a number of 9."""
CELL_ROOM_BYTES_MIN = 256
"""With less room than this in a report nothing is handed over: hardly any cell would fit."""
WORKERS_MAX = 1_000
"""Collectors told apart; anybody may claim to be one where the broker has no access list."""
REPORT_CELLS_MAX = 500
MARKED_SHARE = 4
"""Of what the free reports hold at most this part is marked ahead: counters may take half of each,
and cells do not fill them to the last byte."""
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
    sent: float
    wait: float
    share: float
    """Where between the shortest and the longest wait chance has put it, 0 to 1."""

    def left(self, now: float, ack_seconds: float) -> float:
        """Return how long to wait for the ack still, where one takes so long at present."""
        return self.sent + max(self.wait, ack_seconds * (1 + self.share / 2)) - now


class _Envelope(NamedTuple):
    """How many bytes a report leaves to its cells, and whether its counters are beside them."""

    room: int
    with_health: bool


class _Pick(NamedTuple):
    cell: SealedCell
    exposed: int
    """The highest revision that was handed over, 0 if none."""
    relayed: Relayed | None


class Uplink:
    """Chooses the reports to hand over; its own in-flight window stands before the client library.

    Holds while no collector is online. What is not acknowledged in time goes again, at the
    revision that the cell has by then, with exponential back-off and jitter, and not before the
    time that an ack takes at present by a collector's word. `run` names this start
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
        budget: Budget | None = None,
    ) -> None:
        self.report_bytes_max = REPORT_BYTES_MAX
        """The smaller of that and what the broker takes; whoever connects to it says so."""
        self._device, self._run = device, run
        self._ledger, self._relay = ledger, relay
        self._counters, self._rng, self.pace = counters, rng, pace
        self.budget = budget or Budget(0)
        self._held_back = False
        """Whether the day's bytes hold reports back."""
        self._served = False
        """Whether a collector has listened in this run: when one comes back, devices spread."""
        self._spread: float | None = None
        """Seconds over which to spread, until the next round draws when we begin."""
        self._begin_at = float("-inf")
        self._since: dict[Identity, float] = {}
        """Of growing cells in the ledger: when the oldest sample came that was not handed over."""
        self._marked: set[Identity] = set()
        """Own cells that the ledger marked exposed as it took them, for the next round."""
        self._growing: set[Identity] = set()
        """Cells of which a revision was handed over and that may grow still."""
        self._workers: dict[str, Presence] = {}
        self._flights: list[_Flight] = []
        self._unanswered = 0
        self._last_health = float("-inf")
        self._too_small = 0
        """The limit that was complained of last."""

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
        known, was_online = self._workers.get(worker), self.online
        if presence is None:
            self._workers.pop(worker, None)
        elif known is None and len(self._workers) >= WORKERS_MAX:
            self._counters.count("messages_bad")
        elif counts(None if known is None else known.run, presence):
            self._workers[worker] = presence
        if self.online and not was_online and presence is not None:
            self._spread = presence.spread_seconds if self._served else 0.0
            self._served = True

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

    def mark(self, cells: Iterable[SealedCell], now: float) -> set[Identity]:
        """Return which of these new cells the next round hands over, if nothing comes between.

        The ledger marks them exposed in the transaction that writes them, which saves one. They are
        no more than the free part of the in-flight window, and none if others wait before them.
        """
        self._marked = set()
        free = IN_FLIGHT_MAX - len(self._flights)
        if not self.online or self._spread is not None or now < self._begin_at:
            return self._marked
        if self.budget.limited or self._ledger.waiting > len(self._since):
            return self._marked
        room = free * self.report_bytes_max // MARKED_SHARE
        for cell in cells:
            room -= sealed_size(cell)
            if room < 0 or len(self._marked) >= free * REPORT_CELLS_MAX // MARKED_SHARE:
                break
            if cell.final and not cell.window.unplaced:
                self._marked.add(cell.identity)
        return self._marked

    def hurry(self) -> None:
        """Let the growing cells of the ledger go at once."""
        self._since = dict.fromkeys(self._since, float("-inf"))

    def round(self, stamp: Stamp) -> list[bytes]:
        """Return the reports to hand over now; their cells are marked exposed already.

        Raises LedgerError if that mark cannot be written: then nothing may be handed over.
        """
        self._land_overdue(stamp.monotonic)
        if not self.online or not self._may_begin(stamp.monotonic):
            return []
        health_due = self._is_health_due(stamp)
        envelope = self._envelope(stamp, with_health=health_due or not self.budget.limited)
        if envelope.room < CELL_ROOM_BYTES_MIN:
            if self._too_small != self.report_bytes_max:
                self._too_small = self.report_bytes_max
                log.error("reports of %d bytes have no room for cells", self._too_small)
            return []
        left = self.budget.room(stamp.monotonic)
        if self._must_hold(left - (self.report_bytes_max - envelope.room)):
            return []
        within = 1 + int(min(left // self.report_bytes_max, IN_FLIGHT_MAX))
        free = min(IN_FLIGHT_MAX - len(self._flights), within)
        room = int(min(envelope.room, left - (self.report_bytes_max - envelope.room)))
        batches = self._batches(free, room, stamp.monotonic)
        picks = [pick for batch in batches for pick in batch]
        fresh = {
            pick.cell.identity: pick.cell.revision
            for pick in picks
            if pick.relayed is None and pick.exposed < pick.cell.revision
        }
        if fresh:
            self._ledger.expose(fresh)
        reports = [self._report(batch, envelope.with_health, stamp) for batch in batches]
        self._marked = set()
        if health_due and not (reports and envelope.with_health):
            reports.append(self._health_report(stamp))
        if health_due or (reports and envelope.with_health):
            self._last_health = stamp.monotonic
        return reports

    def _may_begin(self, now: float) -> bool:
        """Tell whether reports may go: after an outage not all devices begin at once."""
        if self._spread is not None:
            self._begin_at = now + self._rng.uniform(0.0, self._spread)
            self._spread = None
        return now >= self._begin_at

    def _must_hold(self, room: float) -> bool:
        """Tell whether the day's bytes leave no room for cells, and count when that begins."""
        hold = room < CELL_ROOM_BYTES_MIN
        self._counters.count("reports_held", int(hold and not self._held_back))
        self._held_back = hold
        return hold

    def _is_health_due(self, stamp: Stamp) -> bool:
        counters = self._bare_bytes(stamp) + sum(map(len, self._counters.meanings))
        pause = self.budget.health_seconds(HEALTH_SECONDS, counters)
        return stamp.monotonic - self._last_health >= pause

    def acked(self, ack: Ack) -> None:
        """Take an ack: forget what is committed, park what is refused; LedgerError if it cannot."""
        self._counters.count("acks")
        self._unanswered = 0
        self._note_store(ack.store)
        self._park(
            {
                Identity(r.producer, r.sequence): Refused(r.revision, str(r.code), r.reason)
                for r in ack.refused
            }
        )
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
                flights.append(flight._replace(cells=left))
        self._flights = flights

    def spend(self, payload_bytes: int) -> None:
        """Count a message, up or down, for the day's bytes."""
        self.budget.spend(payload_bytes)
        self._counters.count("bytes_counted", payload_bytes + MESSAGE_BYTES)

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

    def _park(self, refused: Mapping[Identity, Refused], *, unsent: bool = False) -> None:
        if not refused:
            return
        held = [each for each in self._relay.named(refused) if each.exposed or unsent]
        if held:
            self._ledger.commit(Written(r.cell, True, r.exposed) for r in held)
            self._relay.durable((r.cell.identity, r.cell.revision) for r in held)
        self._counters.count("cells_parked", self._ledger.park(refused, unsent=unsent))

    def _land_overdue(self, now: float) -> None:
        online = [presence for presence in self._workers.values() if presence.online]
        usual = max((presence.ack_seconds for presence in online), default=0.0)
        waiting = [flight for flight in self._flights if flight.left(now, usual) > 0]
        if len(waiting) < len(self._flights):
            self._unanswered += 1
        self._flights = waiting

    def _batches(self, reports: int, room: int, now: float) -> list[list[_Pick]]:
        """Fill up to so many reports, each of so much room, with cells due and not under way."""
        if reports <= 0:
            return []
        flying = {identity for flight in self._flights for identity in flight.cells}
        batches: list[list[_Pick]] = []
        left = 0
        too_large: dict[Identity, Refused] = {}
        for pick in self._due(len(flying) + reports * REPORT_CELLS_MAX, now):
            identity = pick.cell.identity
            if identity in flying:
                continue
            flying.add(identity)
            needed = sealed_size(pick.cell)
            if needed > room:
                why = f"a cell of up to {needed} bytes; the broker's limit leaves {room}"
                too_large[identity] = Refused(pick.cell.revision, Code.LIMIT, why)
                continue
            full = bool(batches) and len(batches[-1]) >= REPORT_CELLS_MAX
            if full or needed > left:
                if len(batches) == reports:
                    break
                batches.append([])
                left = room
            batches[-1].append(pick)
            left -= needed
        self._park(too_large, unsent=True)
        return batches

    def _due(self, limit: int, now: float) -> Iterable[_Pick]:
        """Exposed cells first, then Monitors', then the ledger's oldest; the newest revision."""
        own = [
            _Pick(h.cell, h.exposed, None)
            for h in self._ledger.due(limit + len(self._since))
            if h.cell.revision > self._relay.revision(h.cell.identity) and self._is_ripe(h, now)
        ]
        passed_on = [_Pick(r.cell, r.exposed, r) for r in self._relay.due(now)]
        picks = passed_on + own
        if self.budget.pressing:  # fewer revisions: a window goes out when it is over
            picks = [pick for pick in picks if pick.cell.final]
        return sorted(picks, key=lambda pick: not pick.exposed)

    def _is_ripe(self, held: Held, now: float) -> bool:
        since = self._since.get(held.cell.identity)
        if since is None or held.exposed > held.acked:
            return True
        return now - since >= self.pace.publish_seconds

    def _report(self, batch: list[_Pick], with_health: bool, stamp: Stamp) -> bytes:
        fresh = self._marked - self._growing
        if any(pick.exposed and pick.cell.identity not in fresh for pick in batch):
            self._counters.count("reports_resent")
        for pick in batch:
            if pick.relayed is None:
                (self._growing.discard if pick.cell.final else self._growing.add)(
                    pick.cell.identity
                )
            if pick.relayed is not None:
                pick.relayed.expose()
            self._since.pop(pick.cell.identity, None)
        first, longest = RESEND_SECONDS
        wait = min(longest, first * 2.0 ** min(self._unanswered, 16))
        share = self._rng.random()
        cells = {pick.cell.identity: pick.cell.revision for pick in batch}
        self._flights.append(_Flight(cells, stamp.monotonic, wait * (0.75 + share / 2), share))
        sent = tuple(pick.cell for pick in batch)
        self._counters.count("reports")
        return self._encoded(sent, self._numbers() if with_health else {}, stamp)

    def _envelope(self, stamp: Stamp, *, with_health: bool) -> _Envelope:
        bare = self._bare_bytes(stamp)
        whole = bare + sum(len(name) + COUNTER_BYTES for name in self._counters.meanings)
        with_health = with_health and whole <= self.report_bytes_max // 2
        return _Envelope(self.report_bytes_max - (whole if with_health else bare), with_health)

    def _health_report(self, stamp: Stamp) -> bytes:
        """Return a report without cells, with as many of the counters as fit, in their order."""
        self._counters.count("reports")
        room = self.report_bytes_max - self._bare_bytes(stamp)
        health = {}
        for name, value in self._numbers().items():
            room -= len(name) + COUNTER_BYTES
            if room >= 0:
                health[name] = value
        return self._encoded((), health, stamp)

    def _bare_bytes(self, stamp: Stamp) -> int:
        return len(encode_report(self._made((), {}, stamp)))

    def _numbers(self) -> dict[str, int]:
        self._counters.set("cells_waiting", self._ledger.waiting + len(self._relay))
        self._counters.set("cells_parked_now", self._ledger.parked_now)
        self._counters.set("bytes_pressing", int(self.budget.pressing))
        self._counters.set("cells_unplaced", self._ledger.unplaced() + self._relay.unplaced)
        return {name: value for name, value in self._counters.snapshot().items() if value}

    def _made(self, cells: tuple[SealedCell, ...], health: dict[str, int], stamp: Stamp) -> Report:
        time_ms = round(stamp.wall * 1000)
        return Report(self._device, time_ms, stamp.synchronised, cells, health, self._run)

    def _encoded(
        self, cells: tuple[SealedCell, ...], health: dict[str, int], stamp: Stamp
    ) -> bytes:
        payload = encode_report(self._made(cells, health, stamp))
        assert len(payload) <= self.report_bytes_max, (len(payload), self.report_bytes_max)
        self._counters.count("report_bytes", len(payload))
        self.spend(len(payload))
        return payload
