"""One agent: what a device measures, from a sample to cells that the collector has committed.

No thread, no socket and no timer of its own: whoever drives it (the daemon's event loop, a replay,
a test) hands it lines, time and acks, and publishes what `tick` returns.
"""

from __future__ import annotations

import logging
import random

from edgemse.cells import START_SECONDS_MAX, SealedCell, Series
from edgemse.counters import Counters
from edgemse.errors import LedgerError, WireError
from edgemse.growing import WIDER_SECONDS, Growing, OpenCell, coarsened
from edgemse.presence import Attribute, decode_presence, new_run
from edgemse.stats.measures import follow_loss
from edgemse.wire import decode_ack
from edgemse_agent.clock import Clock
from edgemse_agent.counting import MEANINGS
from edgemse_agent.ledger import Ledger, Written
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine, Where
from edgemse_agent.pace import Pace
from edgemse_agent.pairing import Label, Pairing, Prediction
from edgemse_agent.relay import Relay, Relayed, Tell
from edgemse_agent.settings import AgentSettings
from edgemse_agent.status import VERSIONS, BrokerStatus, ParkedCell, Status
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
FULL_TIMES = 4
"""At so many times ledger_cells_max own cells, all of them as wide as can be, no window is opened
any more: a client whose times lie anywhere must not fill the disk."""


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
        self._clock = clock
        self._series = Series(settings.defaults.model, settings.defaults.version)
        limits = settings.windows
        self.growing = Growing(
            self.counters,
            width_seconds=limits.width_seconds,
            grace_seconds=limits.grace_seconds,
            series_max=limits.series_max,
            cells_max=limits.open_cells_max,
            producer=producer,
            late_seconds=Pace(settings.delivery.durable_seconds).publish_seconds,
            clock=clock.wall,
        )
        self.pairing = Pairing(
            self.growing,
            self.counters,
            self._series,
            age_max_seconds=settings.pairing.age_max_seconds,
            pending_max=settings.pairing.pending_max,
            matched_max=settings.pairing.matched_max,
        )
        self._pace = Pace(settings.delivery.durable_seconds)
        self.relay = Relay(self._pace)
        jitter = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self.uplink = Uplink(
            settings.device, self.run, ledger, self.relay, self.counters, jitter, self._pace
        )
        self._ran_before = ledger.elapsed_seconds
        self._started = clock.monotonic()
        self._dirty_since: float | None = None
        self._ticked = self._started
        self._retry_at = float("-inf")
        self._lines_undurable, self._flush = 0, False
        self._last_error = ""
        self._coarsened_to = 0
        """How many cells coarsening has left, where that was more than the bound."""
        self._received = ledger.sessions()
        self._durable = dict(self._received)
        self.counters.count("ledgers_set_aside", int(ledger.set_aside is not None))
        self.counters.count("commits_lost", ledger.commits_lost)
        self.counters.count("rows_lost", sum(taken.lost for taken in ledger.taken))
        self.pairing.restore(ledger.entries())
        self._left_open = True
        """Whether cells may be open in the ledger that earlier runs left there."""
        self._close_left_open()

    @property
    def elapsed_seconds(self) -> float:
        """Seconds that agents of this ledger have run, all told."""
        return self._ran_before + self._clock.monotonic() - self._started

    @property
    def waiting(self) -> int:
        """Cells that the collector has not committed, in memory and in the ledger."""
        return self.ledger.waiting + len(self.relay)

    @property
    def monitor_width_seconds(self) -> int:
        """The window width that Monitors shall use: wider while the backlog is long."""
        backlog = self.ledger.waiting > self.settings.delivery.ledger_cells_max // 2
        return WIDER_SECONDS[0] if backlog else self.settings.windows.width_seconds

    def attributes(self) -> dict[str, Attribute]:
        """Return what the device says of itself, and since when each holds.

        While the ledger takes nothing, without that: the collector then takes the time of receipt.
        """
        wall = self._now() if self._clock.synchronised() else None
        try:
            return self.ledger.attributes(self.settings.attributes, wall)
        except LedgerError as error:
            self._ledger_failed(error)
            return {name: Attribute(value) for name, value in self.settings.attributes.items()}

    def status(self) -> Status:
        """Return how the agent does."""
        self.counters.set("cells_waiting", self.waiting)
        self.counters.set("cells_parked_now", self.ledger.parked_now)
        set_aside = self.ledger.set_aside
        return Status(
            device=self.settings.device,
            run=self.run,
            ledger=self.ledger.id,
            versions=VERSIONS,
            clock_synchronised=self._clock.synchronised(),
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
        time = self._now() if line.time is None else line.time
        if isinstance(line, SampleLine):
            self._sample(line, time)
            return True
        if isinstance(line, LabelLine):
            self.pairing.label(line.id, Label(line.y_true, time, line.where), self.elapsed_seconds)
            return True
        prediction = Prediction(line.y_pred, line.weight, time, line.loss, line.interval)
        series = self._named(line.where)
        if not self.pairing.predict(line.id, series, prediction, self.elapsed_seconds):
            return False
        self.growing.follow(series, time, line.beside, line.weight)
        return True

    def _sample(self, line: SampleLine, time: float) -> None:
        series = self._named(line.where)
        if line.measure:
            series = series._replace(measure=line.measure)
        if self.growing.sample(series, time, line.y_true, line.y_pred, line.weight):
            self.counters.count("samples")
        if line.loss:
            loss = follow_loss(line.loss).value(line.y_true, line.y_pred)
            series = series._replace(measure=line.loss)
            self.growing.sample(series, time, 0.0, loss, line.weight)
        self.growing.follow(series, time, line.beside, line.weight)

    def take_cell(self, cell: SealedCell, tell: Tell) -> bool:
        """Take a Monitor's cell; `tell` hears when a revision of it is durable.

        False if there is no room for it: the Monitor keeps it, and has to be asked for it later.
        """
        if not self.relay.has_room(cell.identity):
            self.counters.count("cells_turned_away")
            return False
        self.counters.count("cells_relayed")
        self.relay.take(cell, self._clock.monotonic(), tell)
        return True

    def _now(self) -> float:
        """Return the wall clock's time, or the nearest one that a window can have (counted)."""
        wall = self._clock.wall()
        bounded = min(max(wall, 0.0), START_SECONDS_MAX - 1.0)
        self.counters.count("times_bounded", int(wall != bounded))
        return bounded

    def received(self, session: str) -> int:
        """How many lines of the session were taken: the number of the next one."""
        return self._received.get(session, 0)

    def durable(self, session: str) -> int:
        """How many lines of the session are in the ledger."""
        return self._durable.get(session, 0)

    def count_line(self, session: str) -> None:
        """Take note of one more line of the session, good or bad."""
        self._received[session] = self.received(session) + 1
        self._touch()

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
            self.uplink.acked(decode_ack(payload))
            if self.ledger.parked_now > self.settings.delivery.parked_cells_max:
                self._let_go_parked()
        except WireError as error:
            self.counters.count("messages_bad")
            log.warning("ignored an ack: %s", error)
        except LedgerError as error:
            self._ledger_failed(error)  # what was acked stays due, and is acked again

    def _let_go_parked(self) -> None:
        gone = self.ledger.let_go_parked(self.settings.delivery.parked_cells_max)
        self.counters.count("parked_let_go", gone)
        log.warning(
            "%d cells that the collector refused are forgotten: more than parked_cells_max", gone
        )

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
        self.pairing.expire(self.elapsed_seconds)
        self.growing.close_ended(self._clock.wall())
        grown = self._grown()
        for cell in grown:
            if cell.since is None:
                cell.since = self._ticked  # it came after that
        self._ticked = now
        if self._dirty_since is None and (self.pairing.changed or grown):
            self._dirty_since = now
        if self._is_time(now) and now >= self._retry_at:
            self.commit()
        if self._dirty_since is None:
            self._flush = False  # what was waited for is durable
        bound = self.settings.delivery.ledger_cells_max
        self.growing.full = self.ledger.own >= FULL_TIMES * bound
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
            or (self._flush and dirty is not None)
            or bool(self._overdue())
        )

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
        self.growing.close_ended(self._clock.wall(), everything=everything)
        grown = self._grown()
        cells = self._sealed(grown)
        cells += [Written(r.cell, True, r.exposed) for r in relayed]
        sessions = {s: n for s, n in self._received.items() if self._durable.get(s) != n}
        try:
            defects = self.ledger.commit(
                cells, self.pairing.changes(), sessions, elapsed_seconds=self.elapsed_seconds
            )
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
        self._coarsen()
        return True

    def _close_left_open(self) -> bool:
        """Close what earlier runs left open: before that nothing is written, nor published."""
        try:
            self.ledger.close_left_open()
        except LedgerError as error:
            self._ledger_failed(error)
            return False
        self._left_open = False
        return True

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

    def _named(self, where: Where) -> Series:
        model, version, output, segment = where
        default = self._series
        return Series(
            default.model if model is None else model,
            default.version if version is None else version,
            output or "",
            segment or "",
        )

    def _touch(self) -> None:
        self._lines_undurable += 1
        if self._dirty_since is None:
            self._dirty_since = self._clock.monotonic()

    def _coarsen(self) -> None:
        """Merge the oldest cells into wider windows while there are more than the bound.

        Where that does not help (exposed cells, windows all over time), not again until there are
        a few more.
        """
        bound = self.settings.delivery.ledger_cells_max
        if self.ledger.waiting <= max(bound, self._coarsened_to + bound // 50):
            return
        try:
            for width in WIDER_SECONDS:
                surplus = self.ledger.waiting - bound
                if surplus > 0:
                    self._merge(width, max(2 * surplus, bound // 2))
        except LedgerError as error:  # a disk that fills just now: everything is as it was
            self._ledger_failed(error)
            return
        self._coarsened_to = self.ledger.waiting if self.ledger.waiting > bound else 0

    def _merge(self, width_seconds: int, cells: int) -> None:
        narrow = self.ledger.coarsenable(width_seconds, cells)
        merged = coarsened(narrow, width_seconds, self.growing.next_identity)
        gone = [identity for each in merged for identity in each.absorbed]
        if gone:
            self.ledger.commit([Written(each.cell) for each in merged], absorbed=gone)
            self.counters.count("cells_coarsened", len(gone))
