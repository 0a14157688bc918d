"""What the headers of a device's reports come to: the last one, twins, refusals so far."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from edgemse.stores.base import DeviceReport
from edgemse.stores.tables import Row

__all__ = ["Reported"]


class Reported:
    """The last report of some devices, beginning with what the store holds of them.

    A run that reports again after another one has is no restart: two boards have one name.
    """

    def __init__(self, rows: Iterable[tuple[Any, ...]] = ()) -> None:
        """Begin with rows of device, report_run, earlier_run and the three counts and times."""
        self._held = {device: rest for device, *rest in rows}
        self._last: dict[str, DeviceReport] = {}

    def hear(self, report: DeviceReport) -> None:
        """Take the header of a report."""
        held = self._held.get(report.device) or [report.run, "", 0, 0, 0]
        run, earlier, returned, returned_ms, refused = held
        if report.run and report.run != run:
            if report.run == earlier:
                returned, returned_ms = returned + 1, report.received_ms
            run, earlier = report.run, run
        counts = [returned, returned_ms, refused + report.cells_refused]
        self._held[report.device] = [run, earlier, *counts]
        self._last[report.device] = report

    def rows(self) -> Iterator[Row]:
        """Yield the rows to write into the table REPORTS."""
        for device, report in self._last.items():
            health = json.dumps(dict(report.health), sort_keys=True)
            yield (
                device,
                report.received_ms,
                report.sent_ms,
                report.clock_synchronised,
                health,
                *self._held[device],
            )
