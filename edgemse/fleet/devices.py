"""Every device of the fleet: when it was last heard of, what it measured, how its clock is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, percent
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.merging import Group, merged
from edgemse.fleet.questions import Question
from edgemse.fleet.selection import COLUMNS, select
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = ["QUESTION", "Device", "DevicesAnswer", "Mix", "ask"]

HEARD = (
    "SELECT device, report_received_ms, report_sent_ms, clock_synchronised, online, software,"
    " (SELECT max(s.value) FROM attributes AS s WHERE s.device = d.device"
    " AND s.name = 'settings' AND s.until_seconds = 4611686018427387904)"
    " FROM devices AS d"
)
"""The present attribute `settings` (until 2^62: FOR_EVER_SECONDS) is what a device says of settings
from the centre."""
HAS = "EXISTS (SELECT 1 FROM attributes AS a WHERE a.device = d.device AND a.name = ?{})"
WINDOWS = (
    "SELECT g1, count(DISTINCT window_start_seconds),"
    " max(window_start_seconds + window_width_seconds), max(window_width_seconds)"
    " FROM ({}) AS chosen GROUP BY g1"
)
VERSIONS = (
    "SELECT g1, g2, CAST(sum(count) AS BIGINT), max(window_start_seconds) FROM ({}) AS chosen"
    " GROUP BY g1, g2"
)
SILENT_WIDTHS = 3
"""Windows by which a device may lag behind the fleet's last one: reports are sent together."""
WORST_SHARE = 0.5
NAMED_MAX = 5
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
    settings: str | None
    """What it has taken of the settings from the centre, or why not; None: it takes none."""
    last_window: str | None
    """When its last window ended, in ISO 8601; None: it has no cell."""
    silent: bool
    """It has no cell, or its last window ended over three widths before the fleet's last one."""
    version: str | None
    """The model version of its last window; of several the one with more samples."""
    versions: Mapping[str, int]
    """Samples of each model version."""
    windows: int
    """Windows that hold at least one cell."""
    count: int
    """Accepted samples."""
    nonfinite: int
    """Samples refused for a NaN or an infinity."""
    rmse: float
    bias: float
    worst_share: float
    """The share of the squared error that its single worst sample has, all weighing the same."""
    predictions: int
    """Predictions made that wait or waited for a label; 0 where samples came whole."""
    expired: int
    """Predictions that got none in time."""
    coverage: float
    """The share of predictions whose label came; NaN where samples came whole."""
    lag_mean_seconds: float
    """Mean time from a prediction to its label; NaN where none was matched."""
    lag_p95_seconds: float
    """95 % of labels came within so long."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """One model version, and where it runs."""

    version: str
    devices: int
    """Devices whose last window is of it."""
    count: int
    """Samples."""


@dataclass(frozen=True, kw_only=True)
class DevicesAnswer(Answer):
    """An entry for each device that has reported or has cells chosen, by name."""

    ROWS: ClassVar[str] = "devices"
    HEADINGS: ClassVar[Mapping[str, str]] = {
        "device": "device",
        "online": "online",
        "silent": "silent",
        "version": "version",
        "last_report": "last report",
        "clock": "clock",
        "windows": "windows",
        "count": "samples",
        "rmse": "RMSE",
        "bias": "bias",
        "worst_share": "worst sample",
        "nonfinite": "not finite",
        "coverage": "labelled",
        "lag_p95_seconds": "lag p95 s",
    }

    devices: tuple[Device, ...]
    versions: tuple[Mix, ...] = ()
    """Model versions that the chosen cells are of, by name."""

    def sentences(self) -> Iterator[str]:
        """Yield how many devices are silent, which versions run, and where one sample decides."""
        silent = [each.device for each in self.devices if each.silent]
        if silent:
            yield f"{len(silent)} of {len(self.devices)} devices are silent: {_listed(silent)}"
        if len(self.versions) > 1:
            mix = (f"{each.version or chr(39) * 2} on {each.devices:,}" for each in self.versions)
            yield f"Versions: {', '.join(mix)} devices"
        single = [each.device for each in self.devices if each.worst_share > WORST_SHARE]
        if single:
            yield (
                f"One sample has over {percent(WORST_SHARE, 0)} of the squared error of"
                f" {_listed(single)}: an outlier, rather than a bad device"
            )

    def plot(self) -> plotly.Figure:
        """Return the devices' RMSE."""
        measured = [each for each in self.devices if each.count]
        names, rmse = [each.device for each in measured], [each.rmse for each in measured]
        return charts.dots("RMSE by device", names, rmse)

    def _words(self) -> int:
        return 6

    def _line(self, row: Any, by: Sequence[str]) -> list[str]:
        line = dict(zip(self.HEADINGS, super()._line(row, by), strict=True))
        said = {True: "yes", False: "no", None: "?"}[row.online]
        line |= {"online": said, "last_report": row.last_report or "never"}
        line |= {"clock": row.clock or "?", "coverage": percent(row.coverage)}
        line |= {"worst_share": percent(row.worst_share)}
        return [*line.values()]


def ask(reading: Reading, asked: Asked) -> DevicesAnswer:
    """List the devices: last report, clock, windows, samples, error, labels, who is silent."""
    found = merged(reading, asked, by=["device"], histograms=False)
    groups = {group.by["device"]: group for group in found}
    selection = select(reading, asked, by=["device"])
    rows = reading.rows(WINDOWS.format(selection.sql), selection.parameters)
    windows = {device: _Windows(*rest) for device, *rest in rows}
    if any(group.coverage.matched for group in found):
        for (device,), lag in reading.histograms(selection, "lag_histogram").items():
            if lag is not None:
                groups[device].coverage.lag_histogram = lag
    heard = {device: rest for device, *rest in reading.rows(*_heard(asked))}
    versions = _versions(reading, asked)
    last = _last(windows, heard)
    nothing = Group({}, None, ErrorStats(), Coverage())
    devices = tuple(
        _device(
            name,
            heard.get(name, [None] * 6),
            windows.get(name, _Windows(0, None, 0)),
            versions.get(name, {}),
            last,
            groups.get(name, nothing),
        )
        for name in sorted(heard.keys() | groups.keys())
    )
    return DevicesAnswer(asked=asked, devices=devices, versions=_mix(devices))


class _Windows(NamedTuple):
    """How many windows a device has, when the last one ended, and how wide the widest is."""

    number: int
    end: int | None
    width: int


def _versions(reading: Reading, asked: Asked) -> dict[str, dict[str, int]]:
    """Return the samples of each device's versions, that of the last window first."""
    selection = select(reading, asked, by=["device", "version"])
    rows = reading.rows(VERSIONS.format(selection.sql), selection.parameters)
    found: dict[str, dict[str, int]] = {}
    for device, version, count, _ in sorted(rows, key=lambda row: (-row[3], -row[2], row[1])):
        found.setdefault(device, {})[version] = count
    return found


def _last(windows: Mapping[str, _Windows], heard: Mapping[str, Sequence[Any]]) -> int | None:
    """Return when the fleet's last window ended, by clocks that are not known to be wrong."""
    ends = {name: each.end for name, each in windows.items() if each.end is not None}
    right = [end for name, end in ends.items() if heard.get(name, [None] * 3)[2] is not False]
    return max(right or ends.values(), default=None)


def _mix(devices: Sequence[Device]) -> tuple[Mix, ...]:
    counts: dict[str, int] = {}
    for each in devices:
        for version, count in each.versions.items():
            counts[version] = counts.get(version, 0) + count
    runs = [each.version for each in devices]
    return tuple(
        Mix(version=version, devices=runs.count(version), count=counts[version])
        for version in sorted(counts)
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more:,} more" if more > 0 else "")


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


def _device(
    name: str,
    heard: Sequence[Any],
    windows: _Windows,
    versions: Mapping[str, int],
    last: int | None,
    group: Group,
) -> Device:
    received_ms, sent_ms, synchronised, online, software, settings = heard
    known = received_ms is not None and sent_ms is not None
    coverage = group.coverage
    return Device(
        device=name,
        online=online,
        last_report=None if received_ms is None else _iso(received_ms),
        clock=CLOCKS[synchronised],
        clock_offset_seconds=(sent_ms - received_ms) / 1000 if known else None,
        software=software,
        settings=settings,
        last_window=None if windows.end is None else iso_time(windows.end),
        silent=(
            windows.end is None
            or last is None
            or windows.end < last - SILENT_WIDTHS * max(windows.width, 1)
        ),
        version=next(iter(versions), None),
        versions=versions,
        windows=windows.number,
        count=group.stats.count,
        nonfinite=group.stats.nonfinite,
        rmse=group.stats.rmse,
        bias=group.stats.bias,
        worst_share=_worst_share(group.stats),
        predictions=coverage.predictions,
        expired=coverage.expired,
        coverage=(
            coverage.matched / coverage.predictions if coverage.predictions else float("nan")
        ),
        lag_mean_seconds=coverage.lag_mean_seconds,
        lag_p95_seconds=coverage.lag_histogram.abs_quantile(0.95),
    )


def _worst_share(stats: ErrorStats) -> float:
    """Return max(min^2, max^2) / sum of e^2; NaN without an error."""
    squares = stats.mse * stats.count if stats.count else 0.0
    if not squares > 0:
        return math.nan
    return min(1.0, max(stats.min_error**2, stats.max_error**2) / squares)


def _iso(milliseconds: int) -> str:
    time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


QUESTION = Question("devices", ask, DevicesAnswer, by=None)
