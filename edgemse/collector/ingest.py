"""From messages to one transaction to acks: nothing is acknowledged before it is committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event

from edgemse.cells import Cell, Identity, SealedCell, unseal
from edgemse.collector.acks import acks
from edgemse.collector.counters import Counters
from edgemse.collector.inbox import Inbox, Message
from edgemse.collector.quarantine import Quarantine
from edgemse.errors import CellError, SettingsError, StateError, StoreError, WireError
from edgemse.mqtt import Publication
from edgemse.presence import decode_presence
from edgemse.stores import Batch, DevicePresence, DeviceReport, Store
from edgemse.topics import Topics, checked_device
from edgemse.wire import Code, Refusal, decode_report, refusals

__all__ = ["Ingest"]

log = logging.getLogger(__name__)

BATCH_MESSAGES = 1_000
BATCH_LINGER_SECONDS = 0.05
FUTURE_SECONDS_MAX = 86_400
"""A window may start so far ahead of the collector's clock; more is a device's broken clock."""
COUNT_MAX = 2**43
"""Ten million a second for ten days; sums over a million such cells still fit 64 bits."""
BACKOFF_SECONDS = (0.1, 10.0)
"""First and longest pause after a failed commit; each doubles the last."""


@dataclass(slots=True)
class _Intake:
    """What a batch of messages comes to: what to write, and whom to answer what."""

    batch: Batch = field(default_factory=Batch)
    offered: dict[str, set[Identity]] = field(default_factory=dict)
    refused: dict[str, list[Refusal]] = field(default_factory=dict)


class Ingest:
    """Takes messages out of the inbox and commits them, in one thread, until the inbox closes."""

    def __init__(
        self,
        store: Store,
        topics: Topics,
        worker: str,
        publish: Callable[[Publication], bool],
        *,
        counters: Counters,
        now: Callable[[], float],
    ) -> None:
        self.failing = ""
        """Why the last commit failed; empty when it did not."""
        self._store = store
        self._topics = topics
        self._worker = worker
        self._publish = publish
        self._counters = counters
        self._now = now
        self._quarantine = Quarantine(counters, now)

    def run(self, inbox: Inbox, stopping: Event) -> None:
        """Work until the inbox is closed and empty.

        A commit that fails is tried again, more and more slowly, until it succeeds; while
        `stopping`, once more only. Raises StoreError if that fails too.
        """
        while messages := inbox.take(BATCH_MESSAGES, BATCH_LINGER_SECONDS):
            self.take_in(messages, stopping)

    def take_in(self, messages: Sequence[Message], stopping: Event) -> None:
        """Commit one batch of messages and acknowledge it."""
        intake = _Intake()
        for message in messages:
            try:
                self._examine(message, intake)
            except Exception as error:
                # A defect of ours must not let one device's message stop the whole fleet.
                log.exception("a message on %s cannot be handled", message.topic)
                self._counters.internal_errors += 1
                self._refuse(
                    "", message.payload, Code.DEFECT, f"defect in edgemse: {error!r}", intake
                )
        held = self._commit(intake.batch, stopping) if intake.batch else {}
        for device in intake.offered.keys() | intake.refused.keys():
            committed = {identity: held[identity] for identity in intake.offered.get(device, ())}
            self._answer(device, committed, intake.refused.get(device, []))

    def _answer(self, device: str, committed: dict[Identity, int], refused: list[Refusal]) -> None:
        topic = self._topics.ack(device)
        for ack in acks(self._worker, committed, refused):
            if self._publish(Publication(topic, ack)):
                self._counters.acks += 1
            else:
                self._counters.acks_unsent += 1

    def _commit(self, batch: Batch, stopping: Event) -> dict[Identity, int]:
        pause, longest = BACKOFF_SECONDS
        while True:
            last = stopping.is_set()
            try:
                held = self._store.commit(batch)
            except StoreError as error:
                self._counters.commit_failures += 1
                self.failing = str(error)
                if last:
                    raise
                log.error("%s; nothing is acknowledged, trying again", error)
                stopping.wait(pause)
                pause = min(longest, pause * 2)
            else:
                self._counters.commits += 1
                self.failing = ""
                return held

    def _examine(self, message: Message, intake: _Intake) -> None:
        device = self._topics.name_in(message.topic, "report")
        if device is not None:
            self._examine_report(device, message.payload, intake)
            return
        device = self._topics.name_in(message.topic, "presence")
        if device is not None:
            self._examine_presence(device, message.payload, intake)

    def _examine_report(self, device: str, data: bytes, intake: _Intake) -> None:
        try:
            checked_device(device)
            report = decode_report(data)
        except (WireError, SettingsError) as error:
            self._counters.reports_malformed += 1
            self._refuse(device, data, Code.CORRUPT, str(error), intake)
            return
        self._counters.reports += 1
        self._counters.cells += len(report.cells)
        if report.device != device:
            reason = f"a report of device {report.device!r} on the topic of {device!r}"
            self._refuse(device, data, Code.DEVICE, reason, intake, report.cells)
            return
        intake.batch.reports.append(
            DeviceReport(
                device,
                int(self._now() * 1000),
                report.time_ms,
                report.clock_synchronised,
                report.health,
            )
        )
        for sealed in report.cells:
            try:
                cell = self._checked(unseal(sealed))
            except StateError as error:
                self._refuse(device, sealed.state, Code(error.code), str(error), intake, (sealed,))
            else:
                intake.batch.cells.append((device, cell))
                intake.offered.setdefault(device, set()).add(cell.identity)

    def _checked(self, cell: Cell) -> Cell:
        ahead = cell.window.start - self._now()
        if ahead > FUTURE_SECONDS_MAX:
            raise CellError(
                "future",
                f"a window that starts {ahead:.0f} seconds in the future;"
                f" wanted at most {FUTURE_SECONDS_MAX}; check the device's clock",
            )
        *counts, _lag_sum, _lag_max, _histogram = cell.coverage.to_row()
        if (
            max(cell.stats.count, cell.stats.nonfinite, cell.stats.out_of_range, *counts)
            > COUNT_MAX
        ):
            raise CellError(
                "count", f"more than {COUNT_MAX} samples in a window; no device has so many"
            )
        if any("\0" in name for name in cell.series):
            raise CellError("name", f"a name with a NUL character in {tuple(cell.series)!r:.200}")
        return cell

    def _examine_presence(self, device: str, data: bytes, intake: _Intake) -> None:
        if not data:
            return  # an empty retained message: somebody has cleared the topic
        try:
            checked_device(device)
            presence = decode_presence(data)
            values = [each.value for each in presence.attributes.values()]
            if "\0" in "".join([presence.software, presence.run, *presence.attributes, *values]):
                raise WireError("a presence with a NUL character")
        except (WireError, SettingsError) as error:
            self._counters.reports_malformed += 1
            self._refuse(device, data, Code.CORRUPT, str(error), intake)
            return
        received_ms = int(self._now() * 1000)
        intake.batch.presences.append(DevicePresence(device, received_ms, presence))

    def _refuse(
        self,
        device: str,
        data: bytes,
        code: Code,
        reason: str,
        intake: _Intake,
        cells: Sequence[SealedCell] = (),
    ) -> None:
        intake.batch.quarantined += self._quarantine.row(device, data, reason)
        if cells:
            self._counters.cells_refused += len(cells)
            intake.refused.setdefault(device, []).extend(refusals(cells, code, reason))
