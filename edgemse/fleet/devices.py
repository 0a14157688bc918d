"""Every device of the fleet: when it was last heard of, what it measured, how its clock is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from edgemse.fleet.figures import or_none
from edgemse.fleet.merging import merged
from edgemse.fleet.selection import Filter, Selection
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores import Query

__all__ = ["devices_report"]

DEVICES = (
    "SELECT device, report_received_ms, report_sent_ms, clock_synchronised, online, software"
    " FROM devices"
)
COUNTS = (
    "count(DISTINCT window_start_seconds), CAST(sum(predictions) AS BIGINT),"
    " CAST(sum(matched) AS BIGINT), CAST(sum(expired) AS BIGINT)"
)


def devices_report(query: Query, where: Filter) -> dict[str, Any]:
    """Return one entry for each device that has reported or has cells chosen, ready for JSON.

    `coverage` is the share of predictions whose label came; null where samples came whole. `clock`
    is what the device's last report says of it, `clock_offset_seconds` the device's time of that
    report less the collector's when it came, the way there included.
    """
    stats = {device: each for (device,), each in merged(query, ["device"], where).items()}
    selection = Selection.of(query, ["device"], where)
    sql = f"SELECT g1, {COUNTS} FROM ({selection.sql}) AS chosen GROUP BY g1"  # noqa: S608
    counts = {device: rest for device, *rest in query(sql, selection.parameters)}
    heard = {device: rest for device, *rest in query(DEVICES, ())}
    found = []
    for device in sorted(stats.keys() | heard.keys()):
        each = stats.get(device, ErrorStats())
        windows, predictions, matched, expired = counts.get(device, (0, 0, 0, 0))
        entry = {
            "device": device,
            **_heard(*heard.get(device, (None,) * 5)),
            "windows": windows,
            "count": each.count,
            "nonfinite": each.nonfinite,
            "rmse": or_none(each.rmse),
            "bias": or_none(each.bias),
            "predictions": predictions,
            "expired": expired,
            "coverage": matched / predictions if predictions else None,
        }
        found.append(entry)
    return {"devices": found}


def _heard(
    received_ms: int | None,
    sent_ms: int | None,
    synchronised: bool | None,
    online: bool | None,
    software: str | None,
) -> dict[str, Any]:
    clock = {True: "synchronised", False: "not synchronised", None: None}[synchronised]
    offset = None if received_ms is None or sent_ms is None else (sent_ms - received_ms) / 1000
    return {
        "online": online,
        "last_report": None if received_ms is None else _iso(received_ms),
        "clock": clock,
        "clock_offset_seconds": offset,
        "software": software,
    }


def _iso(milliseconds: int) -> str:
    time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
