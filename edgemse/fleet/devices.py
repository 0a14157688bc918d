"""Every device of the fleet: when it was last heard of, what it measured, how its clock is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, percent
from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import Group, merged
from edgemse.fleet.questions import Question
from edgemse.fleet.selection import COLUMNS, select
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = ["QUESTION", "Device", "DevicesAnswer", "ask"]

HEARD = (
    "SELECT device, report_received_ms, report_sent_ms, clock_synchronised, online, software"
    " FROM devices AS d"
)
HAS = "EXISTS (SELECT 1 FROM attributes AS a WHERE a.device = d.device AND a.name = ?{})"
WINDOWS = "SELECT g1, count(DISTINCT window_start_seconds) FROM ({}) AS chosen GROUP BY g1"
CLOCKS = {True: "synchronised", False: "not synchronised", None: None}


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device; what its reports and presence have not said is None."""

    device: str
    online: bool | None
    """What its birth or last will says."""
    last_report: str | None
    """When the collector received it, in ISO 8601."""
    clock: str | None
    """What the last report says of it: "synchronised" or "not synchronised"."""
    clock_offset_seconds: float | None
    """The device's time of that report less the collector's when it came, the way included."""
    software: str | None
    windows: int
    """Windows that hold at least one cell."""
    count: int
    """Accepted samples."""
    nonfinite: int
    """Samples refused for a NaN or an infinity."""
    rmse: float
    bias: float
    predictions: int
    """Predictions made that wait or waited for a label; 0 where samples came whole."""
    expired: int
    """Predictions that got none in time."""
    coverage: float
    """The share of predictions whose label came; NaN where samples came whole."""
    lag_mean_seconds: float
    """Mean time from a prediction to its label; NaN where none was matched."""


@dataclass(frozen=True, kw_only=True)
class DevicesAnswer(Answer):
    """An entry for each device that has reported or has cells chosen, by name."""

    ROWS: ClassVar[str] = "devices"
    HEADINGS: ClassVar[Mapping[str, str]] = {
        "device": "device",
        "online": "online",
        "last_report": "last report",
        "clock": "clock",
        "windows": "windows",
        "count": "samples",
        "rmse": "RMSE",
        "bias": "bias",
        "nonfinite": "not finite",
        "coverage": "labelled",
    }

    devices: tuple[Device, ...]

    def plot(self) -> plotly.Figure:
        """Return the devices' RMSE."""
        measured = [each for each in self.devices if each.count]
        names, rmse = [each.device for each in measured], [each.rmse for each in measured]
        return charts.dots("RMSE by device", names, rmse)

    def _words(self) -> int:
        return 4

    def _line(self, row: Any, by: Sequence[str]) -> list[str]:
        line = dict(zip(self.HEADINGS, super()._line(row, by), strict=True))
        said = {True: "yes", False: "no", None: "?"}[row.online]
        line |= {"online": said, "last_report": row.last_report or "never"}
        line |= {"clock": row.clock or "?", "coverage": percent(row.coverage)}
        return [*line.values()]


def ask(reading: Reading, asked: Asked) -> DevicesAnswer:
    """List the devices: last report, clock, windows, samples, error, coverage."""
    groups = {group.by["device"]: group for group in merged(reading, asked, by=["device"])}
    selection = select(reading, asked, by=["device"])
    rows = reading.rows(WINDOWS.format(selection.sql), selection.parameters)
    windows: dict[str, int] = dict(rows)
    heard = {device: rest for device, *rest in reading.rows(*_heard(asked))}
    empty = Group({}, None, ErrorStats(), Coverage())
    return DevicesAnswer(
        asked=asked,
        devices=tuple(
            _device(
                name,
                heard.get(name, [None] * 5),
                windows.get(name, 0),
                groups.get(name, empty),
            )
            for name in sorted(heard.keys() | groups.keys())
        ),
    )


def _heard(asked: Asked) -> tuple[str, list[object]]:
    """Return what finds the devices that were ever what is asked, measured or not."""
    conditions: list[str] = []
    values: list[object] = []
    for name, value in asked.where.items():
        if name == "device":
            conditions.append("d.device = ?")
            values.append(value)
        elif name not in COLUMNS:
            conditions.append(HAS.format(" AND a.value = ?") if value else f"NOT {HAS.format('')}")
            values += [name, value] if value else [name]
    return HEARD + (" WHERE " + " AND ".join(conditions) if conditions else ""), values


def _device(name: str, heard: Sequence[Any], windows: int, group: Group) -> Device:
    received_ms, sent_ms, synchronised, online, software = heard
    known = received_ms is not None and sent_ms is not None
    coverage = group.coverage
    return Device(
        device=name,
        online=online,
        last_report=None if received_ms is None else _iso(received_ms),
        clock=CLOCKS[synchronised],
        clock_offset_seconds=(sent_ms - received_ms) / 1000 if known else None,
        software=software,
        windows=windows,
        count=group.stats.count,
        nonfinite=group.stats.nonfinite,
        rmse=group.stats.rmse,
        bias=group.stats.bias,
        predictions=coverage.predictions,
        expired=coverage.expired,
        coverage=(
            coverage.matched / coverage.predictions if coverage.predictions else float("nan")
        ),
        lag_mean_seconds=coverage.lag_mean_seconds,
    )


def _iso(milliseconds: int) -> str:
    time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


QUESTION = Question("devices", ask, DevicesAnswer, by=None)
