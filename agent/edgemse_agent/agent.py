"""One agent: what a device measures, from a sample to cells that the collector has committed.

No thread, no socket and no timer of its own: whoever drives it (the daemon's event loop, a replay,
a test) hands it lines, time and acks, and publishes what `tick` returns.
"""

from __future__ import annotations

import logging
import random
import sqlite3

from edgemse.cells import SealedCell, Series
from edgemse.errors import WireError
from edgemse.wire import decode_ack, decode_state
from edgemse_agent.clock import Clock
from edgemse_agent.coarsen import coarsened
from edgemse_agent.health import Health
from edgemse_agent.ledger import Ledger
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine, Where
from edgemse_agent.pairing import Label, Pairing, Prediction
from edgemse_agent.relay import Relay, Tell
from edgemse_agent.settings import AgentSettings
from edgemse_agent.uplink import Stamp, Uplink
from edgemse_agent.windows import Windows

__all__ = ["Agent"]

log = logging.getLogger(__name__)

COARSER_SECONDS = (3_600, 86_400)
"""Where the device goes for room: first to hours, then to days."""
RETRY_SECONDS = 1.0
"""Pause after a failed transaction; a full disk does not get better by asking faster."""


class Agent:
    """Intake, pairing, windows, ledger and uplink of one device."""

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
        self.health = Health()
        self._clock = clock
        self._series = Series(settings.defaults.model, settings.defaults.version)
        limits = settings.windows
        self.windows = Windows(
            self.health,
            width_seconds=limits.width_seconds,
            grace_seconds=limits.grace_seconds,
            series_max=limits.series_max,
            open_cells_max=limits.open_cells_max,
            producer=producer,
        )
        self.pairing = Pairing(
            self.windows,
            self.health,
            self._series,
            age_max_seconds=settings.pairing.age_max_seconds,
            pending_max=settings.pairing.pending_max,
            matched_max=settings.pairing.matched_max,
        )
        self.relay = Relay()
        jitter = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self.uplink = Uplink(settings.device, ledger, self.relay, self.health, jitter)
        self._ran_before = ledger.elapsed_seconds
        self._started = clock.monotonic()
        self._dirty_since: float | None = None
        self._retry_at = float("-inf")
        self._received = ledger.sessions()
        self._durable = dict(self._received)
        if ledger.set_aside is not None:
            self.health.count("ledgers_set_aside")
        ledger.close_left_open()
        self.pairing.restore(ledger.entries())

    @property
    def elapsed_seconds(self) -> float:
        """Seconds that agents of this ledger have run, all told."""
        return self._ran_before + self._clock.monotonic() - self._started

    @property
    def waiting(self) -> int:
        """Cells that the collector has not committed, in memory and in the ledger."""
        return self.ledger.count()[0] + len(self.relay)

    @property
    def monitor_width_seconds(self) -> int:
        """The window width that Monitors shall use: wider while the backlog is long."""
        backlog = self.ledger.count()[0] > self.settings.delivery.ledger_cells_max // 2
        return COARSER_SECONDS[0] if backlog else self.settings.windows.width_seconds

    def take(self, line: SampleLine | PredictionLine | LabelLine) -> bool:
        """Take one line; False for a prediction whose id is taken."""
        self._touch()
        time = self._clock.wall() if line.time is None else line.time
        if isinstance(line, SampleLine):
            self.windows.sample(
                self._named(line.where), time, line.y_true, line.y_pred, line.weight
            )
            return True
        if isinstance(line, LabelLine):
            self.pairing.label(line.id, Label(line.y_true, time, line.where), self.elapsed_seconds)
            return True
        prediction = Prediction(line.y_pred, line.weight, time)
        series = self._named(line.where)
        return self.pairing.predict(line.id, series, prediction, self.elapsed_seconds)

    def take_cell(self, cell: SealedCell, tell: Tell) -> None:
        """Take a Monitor's cell; `tell` hears when a revision of it is durable."""
        self.health.count("cells_relayed")
        self.relay.take(cell, self._clock.monotonic(), tell)

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

    def heard_ack(self, payload: bytes) -> None:
        """Take the payload of an ack."""
        try:
            self.uplink.acked(decode_ack(payload))
        except WireError as error:
            self.health.count("messages_bad")
            log.warning("ignored an ack: %s", error)
        except sqlite3.Error as error:
            self._ledger_failed(error)  # what was acked stays due, and is acked again

    def heard_collector(self, worker: str, payload: bytes) -> None:
        """Take a collector's retained state; an empty payload means that it was removed."""
        try:
            self.uplink.heard(worker, decode_state(payload) if payload else None)
        except WireError as error:
            self.health.count("messages_bad")
            log.warning("ignored the state of collector %s: %s", worker, error)

    def tick(self) -> list[bytes]:
        """Expire, commit if it is time, and return the reports to publish now."""
        now = self._clock.monotonic()
        self.pairing.expire(self.elapsed_seconds)
        if self._dirty_since is None and (
            self.pairing.changed or self.windows.waits(self._clock.wall())
        ):
            self._dirty_since = now
        after = self.settings.delivery.commit_seconds
        overdue = bool(self.relay.overdue(now, after))
        dirty = self._dirty_since is not None and now - self._dirty_since >= after
        if (overdue or dirty) and now >= self._retry_at:
            self.commit()
        try:
            return self.uplink.round(Stamp(now, self._clock.wall(), self._clock.synchronised()))
        except sqlite3.Error as error:
            self._ledger_failed(error)
            return []

    def commit(self, *, everything: bool = False) -> bool:
        """Write what grew to the ledger, synced; False if that failed and is to be tried again.

        With `everything`, as at the end of a run, all cells are closed and all Monitors' written.
        """
        now = self._clock.monotonic()
        relayed = (
            self.relay.everything()
            if everything
            else self.relay.overdue(now, self.settings.delivery.commit_seconds)
        )
        sealed = self.windows.sealed(self._clock.wall(), everything=everything)
        cells = [(cell, False, False) for cell in sealed]
        cells += [(r.cell, True, r.exposed) for r in relayed]
        sessions = {s: n for s, n in self._received.items() if self._durable.get(s) != n}
        try:
            self.ledger.commit(
                cells, self.pairing.changes(), sessions, elapsed_seconds=self.elapsed_seconds
            )
        except sqlite3.Error as error:
            self._ledger_failed(error)
            return False
        self.windows.settle(sealed)
        self.pairing.settle()
        if sessions:  # the ledger forgets the oldest past its bound, and so does memory
            self._received = self.ledger.sessions()
            self._durable = dict(self._received)
        self._dirty_since = None
        self.relay.durable([(r.cell.identity, r.cell.revision) for r in relayed])
        self._coarsen()
        return True

    def _ledger_failed(self, error: sqlite3.Error) -> None:
        self.health.count("commits_failed")
        self._retry_at = self._clock.monotonic() + RETRY_SECONDS
        log.error("the ledger takes nothing (%s); kept in memory, trying again", error)

    def _named(self, where: Where) -> Series:
        given = zip(where, self._series, strict=True)
        return Series(*(default if value is None else value for value, default in given))

    def _touch(self) -> None:
        if self._dirty_since is None:
            self._dirty_since = self._clock.monotonic()

    def _coarsen(self) -> None:
        bound = self.settings.delivery.ledger_cells_max
        for width in COARSER_SECONDS:
            surplus = self.ledger.count()[0] - bound
            if surplus <= 0:
                return
            narrow = self.ledger.coarsenable(width, max(2 * surplus, bound // 2))
            merged = coarsened(narrow, width, self.windows.next_identity)
            gone = [identity for _, members in merged for identity in members]
            if gone:
                self.ledger.commit([(wide, False, False) for wide, _ in merged], absorbed=gone)
                self.health.count("cells_coarsened", len(gone))
