"""What goes into the store's tables, column by column."""

from __future__ import annotations

import json
from typing import NamedTuple

from edgemse.cells import Cell
from edgemse.stats.moments import Moments
from edgemse.stores.base import DevicePresence, DeviceReport, Quarantined

__all__ = [
    "ATTRIBUTES",
    "CELLS",
    "PRESENCES",
    "PRODUCERS",
    "QUARANTINE",
    "REPORTS",
    "Row",
    "Table",
    "cell_row",
    "presence_row",
    "quarantine_row",
    "report_row",
]

Row = tuple[object, ...]

KEY_COLUMNS = {"producer": "BYTEA", "sequence": "BIGINT"}
NAME_COLUMNS = {
    "revision": "BIGINT",
    "final": "BOOLEAN",
    "device": "TEXT",
    "model": "TEXT",
    "version": "TEXT",
    "output": "TEXT",
    "segment": "TEXT",
    "measure": "TEXT",
    "window_start_seconds": "BIGINT",
    "window_width_seconds": "BIGINT",
}
MOMENT_COLUMNS = {
    name: "BIGINT" if name in ("count", "nonfinite", "out_of_range") else "DOUBLE PRECISION"
    for name in Moments._fields
}
COVERAGE_COLUMNS = {
    "predictions": "BIGINT",
    "matched": "BIGINT",
    "expired": "BIGINT",
    "orphan": "BIGINT",
    "duplicate": "BIGINT",
    "conflicting": "BIGINT",
    "lag_ms_sum": "BIGINT",
    "lag_ms_max": "BIGINT",
    "lag_histogram": "BYTEA",
}


class Table(NamedTuple):
    """The columns (name to SQL type) that are written into a table, and its key."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...] = ()


CELLS = Table(
    "cells",
    KEY_COLUMNS | NAME_COLUMNS | MOMENT_COLUMNS | {"histogram": "BYTEA"} | COVERAGE_COLUMNS,
    ("producer", "sequence"),
)
PRODUCERS = Table("producers", {"producer": "BYTEA", "first_received_ms": "BIGINT"}, ("producer",))
REPORTS = Table(
    "devices",
    {
        "device": "TEXT",
        "report_received_ms": "BIGINT",
        "report_sent_ms": "BIGINT",
        "clock_synchronised": "BOOLEAN",
        "health": "TEXT",
    },
    ("device",),
)
PRESENCES = Table(
    "devices",
    {
        "device": "TEXT",
        "presence_received_ms": "BIGINT",
        "online": "BOOLEAN",
        "software": "TEXT",
        "run": "TEXT",
    },
    ("device",),
)
ATTRIBUTES = Table(
    "attributes",
    {
        "device": "TEXT",
        "name": "TEXT",
        "value": "TEXT",
        "since_seconds": "BIGINT",
        "until_seconds": "BIGINT",
    },
    ("device", "name", "since_seconds"),
)
QUARANTINE = Table(
    "quarantine",
    {
        "device": "TEXT",
        "received_ms": "BIGINT",
        "reason": "TEXT",
        "size_bytes": "BIGINT",
        "head": "BYTEA",
    },
)


def cell_row(device: str, cell: Cell) -> Row:
    """Return the cell in the order of CELLS."""
    stats = cell.stats
    return (
        *cell.identity,
        cell.revision,
        cell.final,
        device,
        *cell.series,
        *cell.window,
        *stats.moments(),
        b"" if (histogram := stats.histogram) is None else histogram.to_bytes(),
        *cell.coverage.to_row(),
    )


def report_row(report: DeviceReport) -> Row:
    """Return the report's header in the order of REPORTS."""
    health = json.dumps(dict(report.health), sort_keys=True)
    return (
        report.device,
        report.received_ms,
        report.sent_ms,
        report.clock_synchronised,
        health,
    )


def presence_row(heard: DevicePresence) -> Row:
    """Return the presence in the order of PRESENCES."""
    said = heard.presence
    return (heard.device, heard.received_ms, said.online, said.software, said.run)


def quarantine_row(quarantined: Quarantined) -> Row:
    """Return the refused message in the order of QUARANTINE."""
    return tuple(quarantined)
