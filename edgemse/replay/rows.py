"""The rows of a replay, checked one by one on their way to the virtual agents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgemse.errors import InputError, SettingsError
from edgemse.files import Chunk, Columns, Dialect, read_samples
from edgemse.names import counted, wrong_with
from edgemse.replay.fleet import VirtualFleet
from edgemse.topics import checked_device

__all__ = ["Roles", "Rows"]

Progress = Callable[[int, float], None]
"""Hears the number of a file, and how much of it is done (0 to 1)."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Which column is what."""

    device: str
    time: str
    y_true: str
    y_pred: str
    version: str | None = None
    segment: str | None = None

    def columns(self) -> Columns:
        """Return what to read."""
        texts = [name for name in (self.device, self.version, self.segment) if name]
        return Columns([self.y_true, self.y_pred], list(dict.fromkeys(texts)), [self.time])

    def names(self) -> list[str]:
        """Return all of them, for a replay's identity."""
        names = (self.device, self.time, self.y_true, self.y_pred, self.version, self.segment)
        return ["\0" if name is None else name for name in names]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of some files, each (its name for people, its path)."""

    files: Sequence[tuple[str, Path]]
    roles: Roles
    dialect: Dialect

    def feed(self, fleet: VirtualFleet, progress: Progress) -> None:
        """Hand over every row, in the order of the files.

        Raises InputError at the first that cannot be replayed, and if none has a time.
        """
        roles = self.roles
        names = _Names(roles)
        for file, chunk in self._chunks(progress):
            names.check(file, chunk)
            none = [None] * chunk.rows
            rows = zip(
                chunk.texts[roles.device],
                chunk.texts[roles.version] if roles.version else none,
                chunk.texts[roles.segment] if roles.segment else none,
                chunk.times[roles.time],
                chunk.numbers[roles.y_true],
                chunk.numbers[roles.y_pred],
                strict=True,
            )
            for device, version, segment, at, y_true, y_pred in rows:
                fleet.feed(device, (None, version, None, segment), at, y_true, y_pred)
        if 0 < fleet.outcome.rows == fleet.outcome.rows_without_time:
            raise InputError(
                f"{counted(fleet.outcome.rows, 'row')}, none with a time in column {roles.time!r};"
                " --time names another"
            )

    def _chunks(self, progress: Progress) -> Iterator[tuple[str, Chunk]]:
        for number, (name, path) in enumerate(self.files):
            for chunk in read_samples(path, self.roles.columns(), self.dialect, name=name):
                yield name, chunk
                progress(number, chunk.done)


class _Names:
    """Checks that the texts of rows are names, each text once."""

    def __init__(self, roles: Roles) -> None:
        self._device = roles.device
        self._good: dict[str, set[str]] = {
            name: set() for name in (roles.device, roles.version, roles.segment) if name
        }

    def check(self, file: str, chunk: Chunk) -> None:
        """Raise InputError at the first row of the chunk with a text that is no name."""
        for column, good in self._good.items():
            cells = chunk.texts[column]
            for text in set(cells) - good:
                wrong = _no_name(text) or (_no_device(text) if column == self._device else "")
                if wrong:
                    where = chunk.where[cells.index(text)]
                    raise InputError(f"{file}: {where}: column {column!r} {wrong}")
                good.add(text)


def _no_name(text: str) -> str:
    wrong = wrong_with(text)
    return f"holds no name: {wrong}" if wrong else ""


def _no_device(name: str) -> str:
    if not name.strip():
        return "is empty; every row needs its device"
    try:
        checked_device(name)
    except SettingsError as error:
        return f"holds no device: {error}"
    return ""
