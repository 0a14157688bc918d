"""Messages checked: what to write of them, and whom to answer what.

Everything that arrives is untrusted. What fails a check goes into the quarantine with its reason;
a cell that fails is refused in the ack as well, so that its device parks it and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from edgemse.cells import Identity, SealedCell, Series, Window
from edgemse.collector.budget import Budget
from edgemse.collector.inbox import Kind, Message
from edgemse.collector.quarantine import Quarantine
from edgemse.counters import Counters
from edgemse.errors import CellError, SettingsError, StateError, WireError
from edgemse.names import wrong_with
from edgemse.presence import Attribute, Presence, decode_presence
from edgemse.stores import Batch, DevicePresence, DeviceReport, Offered
from edgemse.topics import device_in
from edgemse.wire import (
    Code,
    PackedReport,
    Refusal,
    Report,
    encode_report,
    refusals,
    unpack_report,
)

__all__ = ["Examiner", "Intake"]

FUTURE_SECONDS_MAX = 86_400
"""A window may start so far ahead of the collector's clock; more is a device's broken clock."""
COUNT_MAX = 2**43
"""Ten million a second for ten days; sums over a million such cells still fit 64 bits."""


REASONS_MAX = 16
"""Reasons that one batch tells one device: a report of a few bytes a cell could ask for megabytes
of words."""


@dataclass(slots=True)
class Intake:
    """What a batch of messages comes to: what to write, and whom to answer what."""

    batch: Batch = field(default_factory=Batch)
    refused: dict[str, list[Refusal]] = field(default_factory=dict)
    reasons: dict[str, set[str]] = field(default_factory=dict)

    def refuse(self, device: str, code: Code, reason: str, cells: Sequence[SealedCell]) -> None:
        """Note what the device will be told; past REASONS_MAX the code alone."""
        told = self.reasons.setdefault(device, set())
        if len(told) < REASONS_MAX:
            told.add(reason)
        elif reason not in told:
            reason = "one of many reasons; the collector's quarantine may have it"
        self.refused.setdefault(device, []).extend(refusals(cells, code, reason))


class Examiner:
    """Takes messages apart and checks each part once."""

    def __init__(
        self,
        counters: Counters,
        quarantine: Quarantine,
        budget: Budget,
        now: Callable[[], float],
    ) -> None:
        self._counters = counters
        self._budget = budget
        self._quarantine = quarantine
        self._now = now
        self._examine = {
            Kind.REPORT: self._report,
            Kind.PRESENCE: self._presence,
            Kind.REPLAYED: self._report,
        }
        self._kind = Kind.REPORT
        """Of the message that is being taken."""
        self._refused = False
        """Whether anything of it is."""

    def take(self, message: Message, intake: Intake) -> None:
        """Add what the message comes to."""
        device = message.level  # as it stands, if it names none
        self._kind, self._refused = message.kind, False
        try:
            device = device_in(message.level)
            self._examine[message.kind](device, message.payload, intake)
        except (WireError, SettingsError) as error:
            self._counters.count("reports_malformed")
            self.refuse(device, message.payload, Code.CORRUPT, str(error), intake)
        if message.kind is Kind.REPLAYED and not self._refused:
            intake.batch.replayed.append(message.quarantine_id)

    def refuse(
        self,
        device: str,
        data: bytes,
        code: Code,
        reason: str,
        intake: Intake,
        cells: Sequence[SealedCell] = (),
        kind: str = "",
    ) -> None:
        """Put what cannot be taken into the quarantine, and its cells into the device's ack.

        What came out of the quarantine is there.
        """
        self._refused = True
        if self._kind is not Kind.REPLAYED:
            row = self._quarantine.row(device, data, reason, kind or self._kind.value)
            intake.batch.quarantined += row
        if cells:
            self._counters.count("cells_refused", len(cells))
            intake.refuse(device, code, reason, cells)

    def _report(self, device: str, data: bytes, intake: Intake) -> None:
        report = unpack_report(data)
        self._counters.count("reports")
        self._counters.count("cells", len(report.cells))
        if report.device != device:
            reason = f"a report of device {report.device!r} on the topic of {device!r}"
            cells = tuple(map(report.sealed, report.cells))
            self.refuse(device, data, Code.DEVICE, reason, intake, cells)
            return
        try:
            self._budget.admit_device(device)
        except CellError as error:
            self._counters.count("over_limit")
            cells = tuple(map(report.sealed, report.cells))
            self.refuse(device, data, Code.LIMIT, str(error), intake, cells)
            return
        refused = self._cells(device, report, intake)
        if self._kind is Kind.REPLAYED:
            return  # what it says of its device is of then
        intake.batch.reports.append(
            DeviceReport(
                device,
                int(self._now() * 1000),
                report.time_ms,
                report.clock_synchronised,
                report.health,
                str(report.run),
                refused,
            )
        )

    def _cells(self, device: str, report: PackedReport, intake: Intake) -> int:
        """Take the cells of a report, and return how many of them are refused."""
        offered = intake.batch.cells
        series = [Series(*names) for names in report.series]
        admitted: set[int] = set()
        refused = 0
        now = self._now()
        for cell in report.cells:
            before = len(offered)
            try:
                largest = offered.take(
                    device,
                    Identity(report.producers[cell.producer], cell.sequence),
                    cell.revision,
                    cell.final,
                    series[cell.series],
                    Window(cell.start, cell.width),
                    cell.state,
                    cell.coverage,
                )
                _check(cell.start - now, largest)
                if cell.series not in admitted:
                    self._admit(device, series[cell.series])
                    admitted.add(cell.series)
            except StateError as error:
                _drop_beyond(before, offered)
                refused += 1
                self._refuse_cell(device, report.sealed(cell), error, intake)
            except BaseException:
                _drop_beyond(before, offered)
                raise
        return refused

    def _refuse_cell(
        self, device: str, sealed: SealedCell, error: StateError, intake: Intake
    ) -> None:
        """Refuse one cell of a report; the quarantine gets a report of that cell alone."""
        self._counters.count("over_limit", error.code == Code.LIMIT)
        alone = encode_report(Report(device, 0, False, (sealed,), {}))
        code, reason = Code(error.code), str(error)
        self.refuse(device, alone, code, reason, intake, (sealed,), kind="cell")

    def _admit(self, device: str, series: Series) -> None:
        """Raise CellError if a series that is new has a part that is no name, or is one too many.

        Raises StoreError if the store does not say which ones it has.
        """
        if not self._budget.knows(device, series):
            _check_names(series)
            self._budget.admit(device, series)

    def _presence(self, device: str, data: bytes, intake: Intake) -> None:
        if not data:
            return  # an empty retained message: somebody has cleared the topic
        presence = decode_presence(data)
        try:
            self._budget.admit_device(device)
        except CellError as error:
            self._counters.count("over_limit")
            self.refuse(device, data, Code.LIMIT, str(error), intake)
            return
        received = self._now()
        presence = self._dated(presence, received)
        intake.batch.presences.append(DevicePresence(device, int(received * 1000), presence))

    def _dated(self, presence: Presence, received: float) -> Presence:
        """Check the presence's texts; take attributes of a broken clock as of their receipt."""
        attributes: dict[str, Attribute | str] = {}
        texts = [presence.software, presence.run, *presence.attributes]
        for name, attribute in presence.attributes.items():
            assert isinstance(attribute, Attribute), "decode_presence makes Attributes of texts"
            texts.append(attribute.value)
            if attribute.since is not None and attribute.since > received + FUTURE_SECONDS_MAX:
                self._counters.count("attribute_times_ignored")
                attribute = Attribute(attribute.value)
            attributes[name] = attribute
        for text in texts:
            if wrong := wrong_with(text):
                raise WireError(f"a presence with {text!r:.80}: {wrong}")
        return msgspec.structs.replace(presence, attributes=attributes)


def _drop_beyond(before: int, offered: Offered) -> None:
    """Take the cell out again that came after so many, if it got that far."""
    if len(offered) > before:
        offered.drop_last()


def _check(ahead: float, largest: int) -> None:
    """Raise CellError if a window starts so many seconds ahead, or holds so much, as none can."""
    if ahead > FUTURE_SECONDS_MAX:
        raise CellError(
            "future",
            f"a window that starts {ahead:.0f} seconds in the future;"
            f" wanted at most {FUTURE_SECONDS_MAX}; check the device's clock",
        )
    if largest > COUNT_MAX:
        raise CellError(
            "count", f"more than {COUNT_MAX} samples in a window; no device has so many"
        )


def _check_names(series: Series) -> None:
    """Raise CellError if a part of the series can be no name."""
    for part, name in zip(Series._fields, series, strict=True):
        if wrong := wrong_with(name):
            raise CellError("name", f"{part} {name!r:.80}: {wrong}")
