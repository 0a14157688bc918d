"""What goes into the store's tables, column by column."""

from __future__ import annotations

import json
from typing import NamedTuple

from edgemse.cells import Cell
from edgemse.stats.moments import Moments
from edgemse.stores.base import DeviceReport, DeviceState, Quarantined

__all__ = [
    "ATTRIBUTES",
    "CELLS",
    "PRODUCERS",
    "QUARANTINE",
    "REPORTS",
    "STATES",
    "Row",
    "Table",
    "attribute_rows",
    "cell_row",
    "quarantine_row",
    "report_row",
    "state_row",
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
STATES = Table(
    "devices",
    {
        "device": "TEXT",
        "state_received_ms": "BIGINT",
        "online": "BOOLEAN",
        "software": "TEXT",
        "run": "TEXT",
    },
    ("device",),
)
ATTRIBUTES = Table(
    "attributes", {"device": "TEXT", "name": "TEXT", "value": "TEXT"}, ("device", "name")
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


def cell_row(cell: Cell) -> Row:
    """Return the cell in the order of CELLS."""
    stats = cell.stats
    return (
        *cell.identity,
        cell.revision,
        cell.final,
        cell.device,
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


def state_row(state: DeviceState) -> Row:
    """Return the state in the order of STATES."""
    return (state.device, state.received_ms, state.online, state.software, state.run)


def attribute_rows(state: DeviceState) -> list[Row]:
    """Return the state's attributes in the order of ATTRIBUTES."""
    return [(state.device, name, value) for name, value in state.attributes.items()]


def quarantine_row(quarantined: Quarantined) -> Row:
    """Return the refused message in the order of QUARANTINE."""
    return tuple(quarantined)
