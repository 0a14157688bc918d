"""The rows of a file of labels, checked as the device would, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from edgemse_agent.lines import sample_of

from edgemse.errors import InputError, LineError, SettingsError
from edgemse.files import Columns, Dialect, read_samples
from edgemse.topics import checked_device

__all__ = ["LabelRoles", "Labels", "read_labels"]


@dataclass(frozen=True, slots=True)
class LabelRoles:
    """Which column is what; `series` is what every label names of its series, if anything."""

    device: str
    id: str
    y_true: str
    time: str | None = None
    series: tuple[tuple[str, str], ...] = ()

    def columns(self) -> Columns:
        """Return what to read."""
        texts = list(dict.fromkeys([self.device, self.id]))
        return Columns([self.y_true], texts, [self.time] if self.time else [])


class Labels(NamedTuple):
    """The labels of each device, in the file's order, where each stands, and the rows without."""

    of: dict[str, list[dict[str, object]]]
    where: dict[str, list[str]]
    rows_without_label: int


def read_labels(files: Sequence[tuple[str, Path]], roles: LabelRoles, dialect: Dialect) -> Labels:
    """Return all labels of the files; rows without a number in the label's column are left out.

    Raises InputError at the first row that no device would take, with file and line.
    """
    labels: dict[str, list[dict[str, object]]] = {}
    where: dict[str, list[str]] = {}
    without = 0
    for name, path in files:
        for chunk in read_samples(path, roles.columns(), dialect, name=name):
            times = chunk.times[roles.time] if roles.time else [None] * chunk.rows
            rows = zip(
                chunk.texts[roles.device],
                chunk.texts[roles.id],
                chunk.numbers[roles.y_true],
                times,
                chunk.where,
                strict=True,
            )
            for device, key, y_true, time, place in rows:
                if not isfinite(y_true):
                    without += 1
                    continue
                label: dict[str, object] = {"id": key, "y_true": y_true, **dict(roles.series)}
                if time is not None and isfinite(time):
                    label["ts"] = time
                try:
                    if not key:
                        raise LineError("id: got an empty name")
                    if device not in labels:
                        checked_device(device)
                    sample_of(label)
                except (LineError, SettingsError) as error:
                    raise InputError(f"{name}: {place}: {error}") from None
                labels.setdefault(device, []).append(label)
                where.setdefault(device, []).append(f"{name}: {place}")
    return Labels(labels, where, without)
