"""What a store knows of devices beside their cells: reports, presence, twins, other names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.selection import COLUMNS
from edgemse.stores import statements
from edgemse.stores.attributes import FOR_EVER_SECONDS
from edgemse.stores.base import Reading

__all__ = ["Attribute", "Heard", "heard_of"]

HEARD = (
    "SELECT d.device, report_received_ms, report_sent_ms, clock_synchronised,"  # noqa: S608
    f" {statements.ONLINE}, software, run_returned_ms, cells_refused, health,"
    " (SELECT max(s.value) FROM attributes AS s WHERE s.device = d.device"
    f" AND s.name = 'settings' AND s.until_seconds = {FOR_EVER_SECONDS})"
    " FROM devices AS d"
)
"""The present attribute `settings` is what a device says of settings from the centre."""
HAS = "EXISTS (SELECT 1 FROM attributes AS a WHERE a.device = d.device AND a.name = ?{})"
ALIASES = "SELECT shown, device FROM aliases"
SECOND_NAMES = "SELECT r.device, p.device FROM renames AS r JOIN producers AS p USING (producer)"
SAID = "SELECT device, name, value, since_seconds, until_seconds FROM attributes"
DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribute:
    """What a device said of itself, and the windows for which it holds."""

    name: str
    value: str
    """Empty: it has been taken back."""
    since: str | None
    """In ISO 8601; None: from the beginning."""
    until: str | None
    """None: it still holds."""


class Heard(NamedTuple):
    """One device; None: nothing has said it."""

    chosen: bool = False
    """Whether a report or a presence came of it, and it was ever what is asked."""
    received_ms: int | None = None
    sent_ms: int | None = None
    synchronised: bool | None = None
    online: bool | None = None
    software: str | None = None
    returned_ms: int | None = None
    """When a run reported again after another one had; 0: never."""
    refused: int | None = None
    health: str | None = None
    """What its last report counted, as JSON."""
    settings: str | None = None
    """What it has taken of the settings from the centre, or why not."""
    attributes: tuple[Attribute, ...] = ()
    """By name, each from the first value to the present one."""
    retired_ms: int | None = None
    names: tuple[str, ...] = ()
    """Further names under which its figures came: by `rename`."""
    shared: tuple[str, ...] = ()
    """Names from which cells of the same producers came: not renamed yet, or overheard."""

    @property
    def twins(self) -> bool:
        """Whether two boards of this name reported in turn within a day of its last report."""
        return bool(self.returned_ms) and (self.received_ms or 0) - (self.returned_ms or 0) < DAY_MS

    @property
    def counters(self) -> dict[str, int]:
        """What its last report counted, by name; empty: no report."""
        return {} if self.health is None else json.loads(self.health)

    @property
    def stores_changed(self) -> int | None:
        """How often another store than before has acknowledged, as its last report says."""
        return None if self.health is None else self.counters.get("stores_changed", 0)

    @property
    def back(self) -> bool:
        """Whether it has reported after it was retired."""
        return self.retired_ms is not None and (self.received_ms or 0) > self.retired_ms


def heard_of(reading: Reading, asked: Asked) -> dict[str, Heard]:
    """Return the devices that are known beside their cells, by name."""
    conditions: list[str] = []
    values: list[object] = []
    for name, value in asked.where.items():
        if name == "device":
            conditions.append("d.device = ?")
            values.append(value)
        elif name not in COLUMNS:
            conditions.append(HAS.format(" AND a.value = ?") if value else f"NOT {HAS.format('')}")
            values += [name, value] if value else [name]
    sql = HEARD + (" WHERE " + " AND ".join(conditions) if conditions else "")
    found = {device: Heard(True, *rest) for device, *rest in reading.rows(sql, values)}
    for device, attributes in _attributes(reading, asked).items():
        if device in found:
            found[device] = found[device]._replace(attributes=attributes)
    for device, retired_ms in reading.rows(statements.RETIRED):
        found[device] = found.get(device, Heard())._replace(retired_ms=retired_ms)
    for device, names in _gathered(reading.rows(ALIASES)).items():
        found[device] = found.get(device, Heard())._replace(names=names)
    pairs = [pair for row in reading.rows(SECOND_NAMES) for pair in (row, row[::-1])]
    for device, names in _gathered(pairs).items():
        found[device] = found.get(device, Heard())._replace(shared=names)
    return found


def _attributes(reading: Reading, asked: Asked) -> dict[str, tuple[Attribute, ...]]:
    of_one = "device" in asked.where
    rows = reading.rows(
        SAID + (" WHERE device = ?" if of_one else ""), [asked.where["device"]] if of_one else []
    )
    found: dict[str, list[Attribute]] = {}
    for device, name, value, since, until in sorted(rows, key=lambda row: (row[0], row[1], row[3])):
        found.setdefault(device, []).append(
            Attribute(
                name=name,
                value=value,
                since=iso_time(since) if since else None,
                until=iso_time(until) if until < FOR_EVER_SECONDS else None,
            )
        )
    return {device: tuple(each) for device, each in found.items()}


def _gathered(pairs: Iterable[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for device, name in pairs:
        found.setdefault(device, set()).add(name)
    return {device: tuple(sorted(names)) for device, names in found.items()}
