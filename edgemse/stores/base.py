"""What every store does, and what is put into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from edgemse.cells import Identity, Series
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stores.offered import Offered
from edgemse.stores.tables import Row, Table

if TYPE_CHECKING:  # msgspec and numpy; who evaluates a file need not have them
    import numpy as np
    from numpy.typing import NDArray

    from edgemse.presence import Presence

__all__ = [
    "Batch",
    "DevicePresence",
    "DeviceReport",
    "Key",
    "Quarantined",
    "Reading",
    "Rows",
    "Selection",
    "Store",
    "Writing",
]

Key: TypeAlias = tuple[Any, ...]
"""The values of the columns that a selection is grouped by."""


class Selection(NamedTuple):
    """A SELECT of cells: its group columns g1 ... g<keys>, then all columns of `cells`."""

    sql: str
    parameters: tuple[object, ...]
    keys: int


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of one SELECT, with the names of its columns."""

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def named(self) -> Iterator[dict[str, Any]]:
        """Yield each row by column name."""
        return (dict(zip(self.names, row, strict=True)) for row in self.rows)


class Reading(Protocol):
    """One consistent view of a store: every question inside sees the same commits."""

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Run one SELECT, `?` for parameters, and return all its rows: for what is grouped."""
        ...

    def arrays(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> list[NDArray[np.float64] | NDArray[np.int64]]:
        """Run one SELECT of numbers without nulls and return its columns: for many rows."""
        ...

    def to_parquet(self, sql: str, parameters: Sequence[object], path: Path) -> None:
        """Run one SELECT and write all its rows, in its order, into a new Parquet file."""
        ...

    def histograms(
        self, selection: Selection, column: str = "histogram"
    ) -> Mapping[Key, ResidualHistogram | None]:
        """Merge a histogram column of the selected cells by group, in the engine's best way.

        None where a cell with samples has no histogram. `column` may be `lag_histogram`.
        """
        ...

    def interrupt(self) -> None:
        """End the SELECT that another thread runs in this view with StoreError; none: nothing."""
        ...


class Writing(Protocol):
    """One transaction: durable when its `with` ends, undone by an exception inside."""

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Run one SELECT, or a statement with RETURNING, and return all its rows."""
        ...

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement and return how many rows it has touched."""
        ...

    def lock(
        self, table: Table, keys: Sequence[object] | None = None, *, shared: bool = False
    ) -> None:
        """Let nobody else write these rows until the end, None: nor any other row of the table.

        Rows that are not there yet are not held; those who hold a row `shared` do not wait for each
        other. Whoever locks a whole table waits for all who have locked rows of it, and they for
        him. Always in the same order: producers, then hours and days, then devices.
        """
        ...

    def put(self, table: Table, rows: Iterable[Row], on_conflict: str = "") -> Rows:
        """Insert rows in the engine's best way; no statement at all without one.

        `on_conflict` is one of the clauses of edgemse.stores.statements; empty: a conflict is an
        error. Returns what the clause returns. Rows may come as Columns, which an engine that reads
        Arrow reads where they lie. Raises StoreError where a value does not fit its column.
        """
        ...


class DeviceReport(NamedTuple):
    """The header of a device's report, and when the collector received it."""

    device: str
    received_ms: int
    sent_ms: int
    clock_synchronised: bool
    health: Mapping[str, int]
    run: str = ""
    """The agent's run: two boards of one name have two."""
    cells_refused: int = 0
    """Of this report."""


class DevicePresence(NamedTuple):
    """A device's birth or last will, and when the collector received it."""

    device: str
    received_ms: int
    presence: Presence

    def row(self) -> Row:
        """Return it in the order of the table PRESENCES."""
        said = self.presence
        return (self.device, self.received_ms, said.online, said.software, said.run)


class Quarantined(NamedTuple):
    """A message or a cell that was refused: its device, the reason, its size and first bytes."""

    device: str
    received_ms: int
    reason: str
    size_bytes: int
    head: bytes
    kind: str = ""
    """`report`, `presence`, or `cell`: a report of that cell alone."""


@dataclass(slots=True)
class Batch:
    """What one transaction writes; each list in the order of arrival."""

    cells: Offered = field(default_factory=Offered)
    reports: list[DeviceReport] = field(default_factory=list)
    presences: list[DevicePresence] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    series: list[tuple[str, Series]] = field(default_factory=list)
    """Devices and series of theirs that may be new to the store."""
    replayed: list[int] = field(default_factory=list)
    """Rows of the quarantine that were given in again and are refused no more."""

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.cells or self.reports or self.presences or self.quarantined or self.replayed
        )


class Store(Protocol):
    """The collector's database.

    Thread safety: any number of threads read and write; where an engine has one writer at a time,
    the others wait.
    """

    @property
    def where(self) -> str:
        """What people are told of its place: the path, or the address without a password."""
        ...

    @property
    def id(self) -> str:
        """The random name that the store was given when it was made."""
        ...

    def commit(self, batch: Batch) -> dict[Identity, int]:
        """Write the batch in one durable transaction.

        A cell replaces the one that is held if its revision is higher, and is dropped otherwise.
        Returns the revision that the store now holds of each cell offered. Raises StoreError, and
        then has written nothing.
        """
        ...

    def reading(self) -> AbstractContextManager[Reading]:
        """Open one consistent view."""
        ...

    def writing(self) -> AbstractContextManager[Writing]:
        """Open one transaction, for what is no cell: keep it short, commits may wait for it."""
        ...

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Tell whether `holder` has the lease from now on for so many seconds.

        Whoever has it may take it again and again; another only once it has run out.
        """
        ...

    def copy_to(self, path: Path) -> str:
        """Write a copy of one moment into a new file, and return the copy's own id.

        Nobody waits meanwhile. Raises StoreError, and may then leave a part of the file.
        """
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
