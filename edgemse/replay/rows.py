"""The rows of a replay: read to their end and checked before the first of them is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgemse.errors import InputError
from edgemse.files import Chunk, Columns, Dialect, read_samples
from edgemse.replay.fleet import VirtualFleet

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

    def check(self, progress: Progress) -> int:
        """Read everything once and return the number of rows.

        Raises InputError at the first that cannot be replayed: nothing has been sent then, so that
        a file that is mended and replayed again does not count what came before twice.
        """
        rows = 0
        for name, chunk in self._chunks(progress):
            rows += chunk.rows
            for place, device in enumerate(chunk.texts[self.roles.device]):
                if not device:
                    raise InputError(
                        f"{name}: {chunk.where[place]}: column {self.roles.device!r} is empty;"
                        " every row needs its device"
                    )
        return rows

    def feed(self, fleet: VirtualFleet, progress: Progress) -> None:
        """Hand over every row, in the order of the files."""
        roles = self.roles
        for _, chunk in self._chunks(progress):
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

    def _chunks(self, progress: Progress) -> Iterator[tuple[str, Chunk]]:
        for number, (name, path) in enumerate(self.files):
            for chunk in read_samples(path, self.roles.columns(), self.dialect, name=name):
                yield name, chunk
                progress(number, chunk.done)
