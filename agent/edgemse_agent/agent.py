"""One agent: what a device measures, from a sample to cells that the collector has committed.

No thread, no socket and no timer of its own: whoever drives it (the daemon's event loop, a replay,
a test) hands it lines, time and acks, and publishes what `tick` returns.
"""

from __future__ import annotations

import logging
import random

from edgemse.cells import SealedCell, Series
from edgemse.counters import Counters
from edgemse.errors import LedgerError, WireError
from edgemse.growing import WIDER_SECONDS, Growing, OpenCell
from edgemse.presence import Attribute, decode_presence, new_run
from edgemse.wire import decode_ack
from edgemse_agent.budget import Budget
from edgemse_agent.calendar import Calendar
from edgemse_agent.clock import Clock
from edgemse_agent.counting import MEANINGS
from edgemse_agent.ledger import SESSIONS_MAX, Ledger, Written
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine
from edgemse_agent.pace import Pace
from edgemse_agent.pairing import Pairing
from edgemse_agent.placing import Placing
from edgemse_agent.relay import Relay, Relayed, Tell
from edgemse_agent.room import Room
from edgemse_agent.settings import AgentSettings
from edgemse_agent.status import VERSIONS, BrokerStatus, ParkedCell, Status
from edgemse_agent.taking import Taken, Taking
from edgemse_agent.uplink import Stamp, Uplink

__all__ = ["Agent"]

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Pause after a failed transaction; a full disk does not get better by asking faster."""
PARKED_SHOWN_MAX = 100
LINES_UNDURABLE_MAX = 10_000
"""Lines after which a commit does not wait for their age: what a power cut may take is bounded."""
DEFECTS_LOGGED_MAX = 20
"""Past that a defect is only counted: one in every tick would fill the disk with its log."""


class Agent:
    """Intake, pairing, cells, ledger and uplink of one device."""

    def __init__(
        self,
        settings: AgentSettings,
        ledger: Ledger,
        clock: Clock,
        *,
        rng: random.Random | None = None,
        producer: bytes | None = None,
    ) -> None:
        self.settings, self.ledger = settings, ledger
        self.counters = Counters(MEANINGS)
        self.run = new_run()
        self.broker: BrokerStatus | None = None
        """Whoever connects the agent to a broker says here how that stands."""
        self.mqtt_broker: BrokerStatus | None = None
        """The same of the local topics."""
        self.board = ""
        """Where the number of this board is from, empty if it has none or nobody asked."""
        self._clock = clock
        self.calendar = Calendar(clock, ledger.timeline, ledger.spans())
        series = Series(settings.defaults.model, settings.defaults.version)
        limits = settings.windows
        self.growing = Growing(
            self.counters,
            width_seconds=limits.width_seconds,
            grace_seconds=limits.grace_seconds,
            series_max=limits.series_max,
            cells_max=limits.open_cells_max,
            producer=producer,
            late_seconds=Pace(settings.delivery.durable_seconds).publish_seconds,
            clock=self.calendar.now,
        )
        self.pairing = Pairing(
            self.growing,
            self.counters,
            series,
            age_max_seconds=settings.pairing.age_max_seconds,
            pending_max=settings.pairing.pending_max,
            matched_max=settings.pairing.matched_max,
        )
        self._taking = Taking(self.growing, self.pairing, self.counters, self.calendar, series)
        self._pace = Pace(settings.delivery.durable_seconds)
        self.relay = Relay(self._pace)
        jitter = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self.uplink = Uplink(
            settings.device,
            self.run,
            ledger,
            self.relay,
            self.counters,
            jitter,
            self._pace,
            Budget(settings.delivery.bytes_per_day_max),
        )
        self._ran_before = ledger.elapsed_seconds
        self._started = clock.monotonic()
        self._dirty_since: float | None = None
        self._ticked = self._started
        self._retry_at = float("-inf")
        self._lines_undurable, self._flush = 0, False
        self._last_error = ""
        self._room = Room(ledger, self.growing, self.counters, settings.delivery.ledger_cells_max)
        self._received = ledger.sessions()
        self._durable = dict(self._received)
        self._left_open = True
        """Whether cells may be open in the ledger that earlier runs left there."""
        holders = (self.growing, self.relay, self.pairing)
        self.placing = Placing(self.calendar, ledger, self.counters, holders)
        self._take_up()

    def apply(self, settings: AgentSettings) -> None:
        """Go on with other settings; device, ledger, socket, broker and clock stay as they are."""
        self.settings = settings
        limits, pairing, delivery = settings.windows, settings.pairing, settings.delivery
        self._taking.follow(Series(settings.defaults.model, settings.defaults.version))
        self._pace = self.relay.pace = self.uplink.pace = Pace(delivery.durable_seconds)
        self.growing.limit(
            grace_seconds=limits.grace_seconds,
            series_max=limits.series_max,
            cells_max=limits.open_cells_max,
            late_seconds=self._pace.publish_seconds,
        )
        self.pairing.limit(
            age_max_seconds=pairing.age_max_seconds,
            pending_max=pairing.pending_max,
            matched_max=pairing.matched_max,
        )
        self._room.cells_max = delivery.ledger_cells_max
        self.uplink.budget.change(delivery.bytes_per_day_max)

    def _take_up(self) -> None:
        """Go on where the ledger stands."""
        ledger = self.ledger
        self.counters.count("ledgers_set_aside", int(ledger.set_aside is not None))
        self.counters.count("commits_lost", ledger.commits_lost)
        self.counters.count("rows_lost", sum(taken.lost for taken in ledger.taken))
        self.pairing.restore(ledger.entries())
        self.pairing.place(self.calendar.place)
        self._close_left_open()
        self.placing.begin()
        self._look_at_the_clock()

    @property
    def elapsed_seconds(self) -> float:
        """Seconds that agents of this ledger have run, all told."""
        return self._ran_before + self._clock.monotonic() - self._started

    @property
    def waiting(self) -> int:
        """Cells that the collector has not committed, in memory and in the ledger."""
        return self.ledger.waiting + len(self.relay)

    @property
    def width_seconds(self) -> int:
        """The width of new windows: wider while the day's bytes do not suffice for more."""
        width = self.settings.windows.width_seconds
        return max(width, WIDER_SECONDS[0]) if self.uplink.budget.pressing else width

    @property
    def monitor_width_seconds(self) -> int:
        """The width that Monitors shall use: wider while the backlog is long, too."""
        backlog = self.ledger.waiting > self.settings.delivery.ledger_cells_max // 2
        return max(self.width_seconds, WIDER_SECONDS[0]) if backlog else self.width_seconds

    def attributes(self) -> dict[str, Attribute]:
        """Return what the device says of itself, and since when each holds.

        While the ledger takes nothing, without that: the collector then takes the time of receipt.
        """
        known = self._clock.synchronised() and self.calendar.placed
        wall = self.calendar.possible_now() if known else None
        try:
            return self.ledger.attributes(self.settings.attributes, wall)
        except LedgerError as error:
            self._ledger_failed(error)
            return {name: Attribute(value) for name, value in self.settings.attributes.items()}

    def status(self) -> Status:
        """Return how the agent does."""
        self.counters.set("cells_waiting", self.waiting)
        self.counters.set("cells_parked_now", self.ledger.parked_now)
        self.counters.set("cells_unplaced", self._unplaced())
        self.counters.set("bytes_pressing", int(self.uplink.budget.pressing))
        set_aside = self.ledger.set_aside
        return Status(
            device=self.settings.device,
            run=self.run,
            board=self.board,
            ledger=self.ledger.id,
            versions=VERSIONS,
            clock_synchronised=self._clock.synchronised(),
            clock_placed=self.calendar.placed,
            broker=self.broker,
            set_aside="" if set_aside is None else str(set_aside),
            collector_online=self.uplink.online,
            cells_waiting=self.waiting,
            reports_in_flight=self.uplink.in_flight,
            ids_waiting=len(self.pairing),
            parked=self._parked(),
            store=self.ledger.store,
            last_error=self._last_error,
            health=self.counters.snapshot(),
            mqtt_broker=self.mqtt_broker,
        )

    def _unplaced(self) -> int:
        try:
            return self.ledger.unplaced() + self.relay.unplaced
        except LedgerError as error:
            self._ledger_failed(error)
            return 0

    def _parked(self) -> list[ParkedCell]:
        try:
            found = self.ledger.parked(PARKED_SHOWN_MAX)
        except LedgerError as error:
            self._ledger_failed(error)
            return []
        return [ParkedCell(p.cell.series, p.cell.window, p.code, p.reason) for p in found]

    def take(self, line: SampleLine | PredictionLine | LabelLine) -> bool:
        """Take one line; False for a prediction whose id is taken."""
        self._touch()
        return self._taking.take(line, self.elapsed_seconds)

    def take_usual(self, data: bytes, at: int, session: str | None) -> Taken:
        """Take the usual lines from there on, up to one that `take` or its client has to see."""
        number = -1 if session is None else self.received(session)
        taken = self._taking.usual(data, at, number, self.elapsed_seconds)
        if taken.lines:
            self._touch(taken.lines)
            if session is not None:
                self.count_line(session, taken.lines)
        return taken

    def take_cell(self, cell: SealedCell, tell: Tell, began: int = 0) -> bool:
        """Take a Monitor's cell; `tell` hears when a revision of it is durable (see Relay.take).

        False if there is no room for it: the Monitor keeps it, and has to be asked for it later.
        """
        if not self.relay.has_room(cell.identity):
            self.counters.count("cells_turned_away")
            return False
        self.counters.count("cells_relayed")
        if cell.window.unplaced and self.calendar.placed:
            cell = cell._replace(window=cell.window.placed(self.calendar.place))
        self.relay.take(cell, self._clock.monotonic(), tell, began)
        return True

    def received(self, session: str) -> int:
        """How many lines of the session were taken: the number of the next one."""
        return self._received.get(session, 0)

    def durable(self, session: str) -> int:
        """How many lines of the session are in the ledger."""
        return self._durable.get(session, 0)

    def has_room_for(self, session: str) -> bool:
        """Whether lines of the session can be counted: what the ledger forgets needs a commit."""
        return session in self._received or len(self._received) < 2 * SESSIONS_MAX

    def count_line(self, session: str, lines: int = 1) -> None:
        """Take note of one more line of the session, or so many, good or bad."""
        self._received[session] = self.received(session) + lines
        self._touch(lines)

    def release(self) -> int:
        """Make all parked cells due again; return how many, 0 if the ledger takes nothing now."""
        try:
            return self.ledger.release()
        except LedgerError as error:
            self._ledger_failed(error)
            return 0

    def heard_ack(self, payload: bytes) -> None:
        """Take the payload of an ack."""
        try:
            self.uplink.spend(len(payload))
            self.uplink.acked(decode_ack(payload))
            self._room.let_go_parked(self.settings.delivery.parked_cells_max)
        except WireError as error:
            self.counters.count("messages_bad")
            log.warning("ignored an ack: %s", error)
        except LedgerError as error:
            self._ledger_failed(error)  # what was acked stays due, and is acked again

    def heard_collector(self, worker: str, payload: bytes) -> None:
        """Take a collector's retained presence; an empty payload means that it was removed."""
        try:
            self.uplink.heard(worker, decode_presence(payload) if payload else None)
        except WireError as error:
            self.counters.count("messages_bad")
            log.warning("ignored the presence of collector %s: %s", worker, error)

    def tick(self) -> list[bytes]:
        """Expire, commit if it is time, and return the reports to publish now."""
        now = self._clock.monotonic()
        self._look_at_the_clock()
        self.pairing.expire(self.elapsed_seconds)
        self.growing.close_ended(self.calendar.now())
        grown = self._grown()
        for cell in grown:
            if cell.since is None:
                cell.since = self._ticked  # it came after that
        self._ticked = now
        if self._dirty_since is None and (self.pairing.changed or grown or self.ledger.owes):
            self._dirty_since = now
        if self._is_time(now) and now >= self._retry_at:
            self.commit()
        if self._dirty_since is None:
            self._flush = False  # what was waited for is durable
        self._room.look()
        self.growing.width_seconds = self.width_seconds
        if self._left_open and (now < self._retry_at or not self._close_left_open()):
            return []
        try:
            return self.uplink.round(Stamp(now, self._clock.wall(), self._clock.synchronised()))
        except LedgerError as error:
            self._ledger_failed(error)
            return []

    def _is_time(self, now: float) -> bool:
        """Tell whether something must be durable now: final, old, much, or waited for."""
        dirty = self._dirty_since
        return (
            any(cell.final for cell in self.growing)
            or (dirty is not None and now - dirty >= self._pace.commit_seconds)
            or self._lines_undurable >= LINES_UNDURABLE_MAX
            or self._crowded
            or (self._flush and dirty is not None)
            or bool(self._overdue())
        )

    @property
    def _crowded(self) -> bool:
        return len(self.growing) > self.settings.windows.open_cells_max

    def flush(self, producer: bytes | None) -> None:
        """Let what a client waits for go at once: its lines, and its cells if it is a Monitor."""
        self._flush = True
        if producer is not None:
            self.relay.hurry(producer, self._clock.monotonic(), online=self.uplink.online)

    def commit(self, *, everything: bool = False) -> bool:
        """Write what grew to the ledger, synced; False if that failed and is to be tried again.

        With `everything`, as at the end of a run, all cells are closed and all Monitors' written.
        """
        if self._left_open and not self._close_left_open():
            return False
        now = self._clock.monotonic()
        relayed = self._overdue(everything=everything)
        # What is closed for want of room in memory goes on in other cells.
        self.growing.close_ended(self.calendar.now(), everything=everything or self._crowded)
        grown = self._grown()
        cells = self._sealed(grown)
        marked = self.uplink.mark((written.cell for written in cells), now)
        cells = [w._replace(exposed=w.cell.revision * (w.cell.identity in marked)) for w in cells]
        cells += [Written(r.cell, True, r.exposed) for r in relayed]
        sessions = {s: n for s, n in self._received.items() if self._durable.get(s) != n}
        try:
            defects = self.ledger.commit(
                cells,
                self.pairing,
                sessions,
                elapsed_seconds=self.elapsed_seconds,
                timeline=self.calendar.current(),
                left=self.calendar.left,
            )
            self.calendar.left = []
            self.counters.count("items_defective", len(defects))
            if sessions:  # the ledger forgets the oldest past its bound, and so does memory
                self._received = self.ledger.sessions()
        except LedgerError as error:
            for cell in grown:
                cell.grown = True  # the next commit writes it, as a further revision
            self._ledger_failed(error)
            return False
        self._durable = dict(self._received)
        for written, cell in zip(cells, grown, strict=False):
            self.uplink.written(written.cell, now if cell.since is None else cell.since)
            cell.since = None
        if self._flush:
            self.uplink.hurry()
        self._settle(grown)
        self.relay.durable([(r.cell.identity, r.cell.revision) for r in relayed])
        self._make_room()
        return True

    def _make_room(self) -> None:
        """Merge cells where too many wait, for the ledger or for the day's bytes."""
        bound = self.settings.delivery.ledger_cells_max
        try:
            self._room.make(self.uplink.budget.cells_wanted(bound))
        except LedgerError as error:  # a disk that fills just now: everything is as it was
            self._ledger_failed(error)

    def _close_left_open(self) -> bool:
        """Close what earlier runs left open: before that nothing is written, nor published."""
        try:
            self.ledger.close_left_open()
        except LedgerError as error:
            self._ledger_failed(error)
            return False
        self._left_open = False
        return True

    def _look_at_the_clock(self) -> None:
        writable = not self._left_open and self._clock.monotonic() >= self._retry_at
        try:
            if self.placing.look(writable=writable):
                self.growing.close_ended(self.calendar.now(), everything=True)
        except LedgerError as error:
            self._ledger_failed(error)

    def _overdue(self, *, everything: bool = False) -> list[Relayed]:
        """Return the Monitors' cells that go to the ledger now, as far as it has room for them."""
        now, settings = self._clock.monotonic(), self.settings.delivery
        overdue = self.relay.everything() if everything else self.relay.overdue(now)
        return overdue[: max(0, settings.ledger_cells_max - self.ledger.relayed)]

    def _sealed(self, grown: list[OpenCell]) -> list[Written]:
        """Return the next revisions; a cell that has none costs only itself."""
        cells = []
        for cell in grown:
            try:
                cells.append(Written(cell.seal(self.growing.producer)))
            except Exception as error:
                self.counters.count("items_defective")
                self.note_defect(f"cell {cell.sequence}", error)
                self.growing.forget(cell)
        return cells

    def note_defect(self, where: str, error: BaseException) -> None:
        """Count and log a failure of the agent itself, which goes on."""
        self.counters.count("defects")
        self._last_error = f"{where}: {type(error).__name__}: {error}"
        if self.counters["defects"] <= DEFECTS_LOGGED_MAX:
            log.error("a defect, %s", where, exc_info=error)

    def _grown(self) -> list[OpenCell]:
        return [cell for cell in self.growing if cell.grown]

    def _settle(self, written: list[OpenCell]) -> None:
        for cell in written:
            if cell.final:
                self.growing.forget(cell)
        self.pairing.settle()
        self._dirty_since = None
        self._lines_undurable, self._flush = 0, False

    def _ledger_failed(self, error: LedgerError) -> None:
        self.counters.count("commits_failed")
        self._retry_at = self._clock.monotonic() + RETRY_SECONDS
        self._last_error = str(error)
        log.error("the ledger takes nothing (%s); kept in memory, trying again", error)

    def _touch(self, lines: int = 1) -> None:
        self._lines_undurable += lines
        if self._dirty_since is None:
            self._dirty_since = self._clock.monotonic()
