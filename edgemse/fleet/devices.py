"""Every device of the fleet: when it was last heard of, what it measured, how its clock is."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from edgemse import times
from edgemse.fleet import charts
from edgemse.fleet.answers import Answer, listed, percent
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.heard import Attribute, Heard, heard_of
from edgemse.fleet.merging import Group, merged
from edgemse.fleet.questions import Question
from edgemse.fleet.selection import select
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = ["QUESTION", "Device", "DevicesAnswer", "Mix", "ask"]

WINDOWS = (
    "SELECT g1, count(DISTINCT window_start_seconds),"
    " max(window_start_seconds + window_width_seconds), max(window_width_seconds)"
    " FROM ({}) AS chosen GROUP BY g1"
)
ENDS = "SELECT g1, max(window_start_seconds + window_width_seconds) FROM ({}) AS chosen GROUP BY g1"
VERSIONS = (
    "SELECT g1, g2, CAST(sum(count) AS DECIMAL(38, 0)), max(last_start_seconds)"
    " FROM ({}) AS chosen GROUP BY g1, g2"
)
NOT_HEARD = Heard()
SILENT_WIDTHS = 3
"""Windows by which a device may lag behind the fleet's last one: reports are sent together."""
WORST_SHARE = 0.5
CLOCKS = {True: "synchronised", False: "not synchronised", None: None}


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device; what its reports and presence have not said is None."""

    device: str
    online: bool | None
    """What its birth or last will says; true if it reports after the last will of a twin."""
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
    """It has no cell, or its last window ended over three widths before the fleet's last one; never
    of a retired device."""
    retired: bool
    """Out of service, as somebody has said."""
    back: bool
    """It has reported since it was retired."""
    twins: bool
    """Two boards of this name reported in turn within a day of its last report."""
    names: tuple[str, ...]
    """Further names whose figures stand here: `edgemse fleet rename`."""
    shared: tuple[str, ...]
    """Names from which cells of the same producers came: renamed without `rename`, or overheard."""
    cells_refused: int | None
    """Cells that the collector has refused, so far."""
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
    out_of_range: int
    """Samples refused because error or label are beyond 2^200."""
    rmse: float
    bias: float
    worst_share: float
    """The share of the squared error that its single worst sample has, all weighing the same."""
    predictions: int
    """Predictions made that wait or waited for a label; 0 where samples came whole."""
    expired: int
    """Predictions that got none in time."""
    orphan: int
    """Labels whose prediction never came."""
    duplicate: int
    """Labels that came again."""
    conflicting: int
    """Labels that contradict the one that was taken."""
    stores_changed: int | None
    """Times that, since its agent started, another store than before has acknowledged: the former
    one has a part of its figures."""
    coverage: float
    """The share of predictions whose label came; NaN where samples came whole."""
    lag_mean_seconds: float
    """Mean time from a prediction to its label; NaN where none was matched."""
    lag_p95_seconds: float
    """95 % of labels came within so long."""
    attributes: tuple[Attribute, ...] = ()
    """What it said of itself, by name, each from the first value to the present one."""
    health: Mapping[str, int] = field(default_factory=dict)
    """What its last report counted; empty: no report."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """One model version, and where it runs."""

    version: str
    devices: int
    """Devices that run it: whose last window is of it; it may be of several."""
    count: int
    """Samples."""


@dataclass(frozen=True, kw_only=True)
class DevicesAnswer(Answer):
    """An entry for each device that has reported or has cells chosen, by name."""

    ROWS: ClassVar[str] = "devices"
    HEADINGS: ClassVar[Mapping[str, str]] = {
        "device": "device",
        "silent": "silent",
        "last_report": "last report",
        "count": "samples",
        "rmse": "RMSE",
        "version": "version",
        "bias": "bias",
        "coverage": "labelled",
        "online": "online",
        "worst_share": "worst sample",
        "nonfinite": "not finite",
        "out_of_range": "out of range",
        "clock": "clock",
        "windows": "windows",
        "lag_p95_seconds": "lag p95 s",
        "expired": "expired",
        "orphan": "orphan",
        "duplicate": "duplicate",
        "conflicting": "conflicting",
    }
    WORDS: ClassVar[Collection[str]] = (
        *("device", "silent", "last_report", "version", "online", "clock"),
    )

    devices: tuple[Device, ...]
    versions: tuple[Mix, ...] = ()
    """Model versions that the chosen cells are of, by name."""

    def sentences(self) -> Iterator[str]:
        """Yield how many devices are silent, which versions run, and where one sample decides."""
        silent = self.alarm()
        if silent:
            yield silent
        yield from self._oddities()
        if len(self.versions) > 1:
            named = [(each.version or chr(39) * 2, each.devices) for each in self.versions]
            mix = ", ".join(f"{version} on {number:,}" for version, number in named if number)
            gone = ", ".join(version for version, number in named if not number)
            yield f"Versions: {mix} devices" + (f"; no device runs {gone} any more" if gone else "")
        single = [each.device for each in self.devices if each.worst_share > WORST_SHARE]
        if single:
            yield (
                f"One sample has over {percent(WORST_SHARE, 0)} of the squared error of"
                f" {listed(single)}: an outlier, rather than a bad device"
            )

    def _oddities(self) -> Iterator[str]:
        """Yield what is odd about names."""
        twins = [each.device for each in self.devices if each.twins]
        if twins:
            yield f"Two boards report in turn under one name: {listed(twins)}; rename one of them"
        changed = [each.device for each in self.devices if each.stores_changed]
        if changed:
            yield (
                f"Another store than before acknowledged cells of {listed(changed)}: the former one"
                " has a part of their figures"
            )
        back = [each.device for each in self.devices if each.back]
        if back:
            yield f"Retired, and they report again: {listed(back)}"
        shared = [
            f"{each.device} and {listed(each.shared)}" for each in self.devices if each.shared
        ]
        if shared:
            yield (
                f"Cells of one producer came under two names: {listed(shared)}: a device was"
                " renamed (edgemse fleet rename makes one of them), or somebody uses what he has"
                " overheard"
            )

    def alarm(self) -> str:
        """Return how many devices are silent, and which."""
        silent = [each.device for each in self.devices if each.silent]
        if not silent:
            return ""
        return f"{len(silent):,} of {len(self.devices):,} devices are silent: {listed(silent)}"

    def plot(self) -> plotly.Figure:
        """Return the devices' RMSE."""
        measured = [each for each in self.devices if each.count]
        names, rmse = [each.device for each in measured], [each.rmse for each in measured]
        return charts.dots("RMSE by device", names, rmse)

    def _line(self, row: Any, by: Sequence[str], now: float | None) -> list[str]:
        line = dict(zip(self._headings, super()._line(row, by, now), strict=True))
        said = {True: "yes", False: "no", None: "?"}[row.online]
        heard = row.last_report or "never"
        if row.last_report and now is not None:
            heard = times.ago(now - times.instant(row.last_report)) or heard
        line |= {"online": said, "last_report": heard}
        line |= {"silent": "retired"} if row.retired else {}
        line |= {"clock": row.clock or "?", "coverage": percent(row.coverage)}
        line |= {"worst_share": percent(row.worst_share)}
        return [*line.values()]


def ask(reading: Reading, asked: Asked) -> DevicesAnswer:
    """List the devices: last report, clock, windows, samples, error, labels, who is silent."""
    found = merged(reading, asked, by=["device"], histograms=False, lag_histograms=True)
    groups = {group.by["device"]: group for group in found}
    selection = select(reading, asked, by=["device"], single=True)  # series share windows
    rows = reading.rows(WINDOWS.format(selection.sql), selection.parameters)
    windows = {device: _Windows(*rest) for device, *rest in rows}
    heard = heard_of(reading, asked)
    versions = _versions(reading, asked)
    ends = {name: each.end for name, each in windows.items()}
    last = _fleets_last(reading, asked) if "device" in asked.where else _last(ends, heard)
    nothing = Group({}, None, ErrorStats(), Coverage())
    devices = tuple(
        _device(
            name,
            heard.get(name, NOT_HEARD),
            windows.get(name, _Windows(0, None, 0)),
            versions.get(name, {}),
            last,
            groups.get(name, nothing),
        )
        for name in sorted({name for name, each in heard.items() if each.chosen} | groups.keys())
    )
    return DevicesAnswer(asked=asked, devices=devices, versions=_mix(versions))


class _Windows(NamedTuple):
    """How many windows a device has, when the last one ended, and how wide the widest is."""

    number: int
    end: int | None
    width: int


class _Version(NamedTuple):
    """Samples that a device has of a model version, and when its last window of it starts."""

    samples: int
    start: int


def _versions(reading: Reading, asked: Asked) -> dict[str, dict[str, _Version]]:
    """Return each device's versions, that of the last window first."""
    selection = select(reading, asked, by=["device", "version"])
    rows = reading.rows(VERSIONS.format(selection.sql), selection.parameters)
    found: dict[str, dict[str, _Version]] = {}
    for device, version, count, start in sorted(rows, key=lambda r: (-r[3], -r[2], r[1])):
        found.setdefault(device, {})[version] = _Version(int(count), start)
    return found


def _last(ends: Mapping[str, int | None], heard: Mapping[str, Heard]) -> int | None:
    """Return when the fleet's last window ended, by clocks that are not known to be wrong."""
    known = {name: end for name, end in ends.items() if end is not None}
    right = [
        end for name, end in known.items() if heard.get(name, NOT_HEARD).synchronised is not False
    ]
    return max(right or known.values(), default=None)


def _fleets_last(reading: Reading, asked: Asked) -> int | None:
    """Return the same where one device is asked for: beside itself alone none would be silent."""
    where = {name: value for name, value in asked.where.items() if name != "device"}
    everybody = replace(asked, where=where)
    selection = select(reading, everybody, by=["device"])
    ends: dict[str, int | None] = dict(
        reading.rows(ENDS.format(selection.sql), selection.parameters)
    )
    return _last(ends, heard_of(reading, everybody))


def _mix(versions: Mapping[str, Mapping[str, _Version]]) -> tuple[Mix, ...]:
    """Return each version and how many devices run it; one may run several side by side."""
    counts: dict[str, int] = {}
    runs: dict[str, int] = {}
    for own in versions.values():
        last = max(each.start for each in own.values())
        for version, each in own.items():
            counts[version] = counts.get(version, 0) + each.samples
            runs[version] = runs.get(version, 0) + (each.start == last)
    return tuple(
        Mix(version=version, devices=runs[version], count=counts[version])
        for version in sorted(counts)
    )


def _device(
    name: str,
    heard: Heard,
    windows: _Windows,
    versions: Mapping[str, _Version],
    last: int | None,
    group: Group,
) -> Device:
    received_ms, sent_ms = heard.received_ms, heard.sent_ms
    behind = windows.end is None or last is None
    if windows.end is not None and last is not None:
        behind = windows.end < last - SILENT_WIDTHS * max(windows.width, 1)
    coverage = group.coverage
    return Device(
        device=name,
        online=heard.online,
        last_report=None if received_ms is None else _iso(received_ms),
        clock=CLOCKS[heard.synchronised],
        clock_offset_seconds=(
            None if received_ms is None or sent_ms is None else (sent_ms - received_ms) / 1000
        ),
        software=heard.software,
        settings=heard.settings,
        last_window=None if windows.end is None else iso_time(windows.end),
        silent=behind and heard.retired_ms is None,
        retired=heard.retired_ms is not None,
        back=heard.back,
        twins=heard.twins,
        names=heard.names,
        shared=heard.shared,
        attributes=heard.attributes,
        health=heard.counters,
        cells_refused=heard.refused,
        version=next(iter(versions), None),
        versions={version: each.samples for version, each in versions.items()},
        windows=windows.number,
        count=group.stats.count,
        nonfinite=group.stats.nonfinite,
        out_of_range=group.stats.out_of_range,
        rmse=group.stats.rmse,
        bias=group.stats.bias,
        worst_share=_worst_share(group.stats),
        predictions=coverage.predictions,
        expired=coverage.expired,
        orphan=coverage.orphan,
        duplicate=coverage.duplicate,
        conflicting=coverage.conflicting,
        stores_changed=heard.stores_changed,
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
