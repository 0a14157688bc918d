"""What every store does, and what is put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from edgemse.cells import Cell, Identity

__all__ = ["Batch", "DeviceReport", "DeviceState", "Quarantined", "Query", "Store"]

Query: TypeAlias = Callable[[str, Sequence[object]], Iterator[tuple[Any, ...]]]
"""Runs one SELECT with `?` for parameters and yields its rows."""


class DeviceReport(NamedTuple):
    """The header of a device's report, and when the collector received it."""

    device: str
    received_ms: int
    sent_ms: int
    clock_synchronised: bool
    health: Mapping[str, int]


class DeviceState(NamedTuple):
    """A device's birth or last will, and when the collector received it."""

    device: str
    received_ms: int
    online: bool
    software: str
    run: str
    attributes: Mapping[str, str]


class Quarantined(NamedTuple):
    """A message or a cell that was refused: its device, the reason, its size and first bytes."""

    device: str
    received_ms: int
    reason: str
    size_bytes: int
    head: bytes


@dataclass(slots=True)
class Batch:
    """What one transaction writes; each list in the order of arrival."""

    cells: list[Cell] = field(default_factory=list)
    reports: list[DeviceReport] = field(default_factory=list)
    states: list[DeviceState] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.cells or self.reports or self.states or self.quarantined)


class Store(Protocol):
    """The collector's database.

    Thread safety: one thread commits at a time (others wait); any number may read meanwhile.
    """

    def commit(self, batch: Batch) -> dict[Identity, int]:
        """Write the batch in one durable transaction.

        A cell replaces the one that is held if its revision is higher, and is dropped otherwise.
        Returns the revision that the store now holds of each cell offered. Raises StoreError, and
        then has written nothing.
        """
        ...

    def reading(self) -> AbstractContextManager[Query]:
        """Open one consistent view: every query inside sees the same commits."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
