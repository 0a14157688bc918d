"""The store's tables as they are written: name, columns with their SQL types, key."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from edgemse.stats.moments import Moments

__all__ = [
    "ABSORBED",
    "ALIASES",
    "ATTRIBUTES",
    "AUDIT",
    "BASELINES",
    "CELLS",
    "COVERAGE_COLUMNS",
    "DAYS",
    "DEPENDENCE",
    "DEVICES",
    "HOURS",
    "LEAVING",
    "MODEL_VERSIONS",
    "PRESENCES",
    "PRODUCERS",
    "QUARANTINE",
    "RENAMES",
    "REPORTS",
    "RETAINED",
    "RETIRED",
    "ROLLUPS",
    "SERIES",
    "TOUCHED",
    "Row",
    "Table",
]

Row: TypeAlias = tuple[object, ...]
"""The values of one row, in the order of its table's columns."""


class Table(NamedTuple):
    """The columns (name to SQL type) that are written into a table, and its key."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...] = ()


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
"""As `Coverage.to_row` orders them."""

CELLS = Table(
    "cells",
    {
        "producer": "BYTEA",
        "sequence": "BIGINT",
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
    | MOMENT_COLUMNS
    | {"histogram": "BYTEA"}
    | COVERAGE_COLUMNS,
    ("producer", "sequence"),
)
PRODUCERS = Table(
    "producers",
    {"producer": "BYTEA", "device": "TEXT", "first_received_ms": "BIGINT"},
    ("producer",),
)
RENAMES = Table("renames", PRODUCERS.columns, ("producer", "device"))
SERIES = Table(
    "series",
    dict.fromkeys(("device", "model", "version", "output", "segment", "measure"), "TEXT"),
    ("device", "model", "version", "output", "segment", "measure"),
)
HOURS = Table("hours", {"start_seconds": "BIGINT", "stage": "TEXT"}, ("start_seconds",))
DAYS = Table("days", HOURS.columns, HOURS.key)
TOUCHED = Table(
    "touched",
    {"width_seconds": "BIGINT", "start_seconds": "BIGINT"} | SERIES.columns,
)
ROLLUPS = Table(
    "rollups",
    SERIES.columns
    | dict.fromkeys(
        (
            "window_start_seconds",
            "window_width_seconds",
            "cell_count",
            "first_start_seconds",
            "last_start_seconds",
            "cell_width_seconds",
        ),
        "BIGINT",
    )
    | MOMENT_COLUMNS
    | {"histogram": "BYTEA"}
    | COVERAGE_COLUMNS,
)
"""What a question reads: `cells` without names, and how many they are."""
REPORTS = Table(
    "devices",
    {
        "device": "TEXT",
        "report_received_ms": "BIGINT",
        "report_sent_ms": "BIGINT",
        "clock_synchronised": "BOOLEAN",
        "health": "TEXT",
        "report_run": "TEXT",
        "earlier_run": "TEXT",
        "runs_returned": "BIGINT",
        "run_returned_ms": "BIGINT",
        "cells_refused": "BIGINT",
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
DEVICES = Table("devices", REPORTS.columns | PRESENCES.columns, ("device",))
ATTRIBUTES = Table(
    "attributes",
    {
        "device": "TEXT",
        "name": "TEXT",
        "value": "TEXT",
        "since_seconds": "BIGINT",
        "until_seconds": "BIGINT",
        "said_seconds": "BIGINT",
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
        "kind": "TEXT",
    },
)
ABSORBED = Table(
    "absorbed",
    {
        "producer": "BYTEA",
        "first_sequence": "BIGINT",
        "last_sequence": "BIGINT",
        "absorber": "TEXT",
    },
    ("producer", "first_sequence"),
)
DEPENDENCE = Table(
    "dependence",
    {"producer": "BYTEA", "sequence": "BIGINT"}
    | SERIES.columns
    | {"window_start_seconds": "BIGINT", "windows": "BIGINT"}
    | dict.fromkeys(
        ("window_variance", "sample_variance", "products", "squares"), "DOUBLE PRECISION"
    ),
    ("producer", "sequence"),
)
RETAINED = Table("retained", {"day_seconds": "BIGINT", "changed_ms": "BIGINT"}, ("day_seconds",))
LEAVING = Table("leaving", {"producer": "BYTEA", "sequence": "BIGINT"}, ("producer", "sequence"))
RETIRED = Table("retired", {"device": "TEXT", "since_ms": "BIGINT"}, ("device",))
ALIASES = Table("aliases", {"device": "TEXT", "shown": "TEXT", "since_ms": "BIGINT"}, ("device",))
AUDIT = Table(
    "audit",
    {
        "at_ms": "BIGINT",
        "who": "TEXT",
        "host": "TEXT",
        "token": "TEXT",
        "action": "TEXT",
        "device": "TEXT",
        "details": "TEXT",
    },
)
BASELINES = Table(
    "baselines",
    {
        "model": "TEXT",
        "version": "TEXT",
        "part": "TEXT",
        "rmse": "DOUBLE PRECISION",
        "count": "BIGINT",
        "state": "BYTEA",
        "set_ms": "BIGINT",
    },
    ("model", "version", "part"),
)
MODEL_VERSIONS = Table(
    "model_versions",
    {
        "model": "TEXT",
        "version": "TEXT",
        "owner": "TEXT",
        "git": "TEXT",
        "training_data": "TEXT",
        "preprocessing_sha": "TEXT",
        "set_ms": "BIGINT",
    },
    ("model", "version"),
)
