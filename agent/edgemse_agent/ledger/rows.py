"""Cells and pairing entries to the ledger's rows and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from edgemse.cells import Identity, SealedCell, Series, Window
from edgemse_agent.pairing import Entry

__all__ = ["Held", "Parked", "Written", "cell_of", "entry_of", "row_of"]

_entry_decoder = msgspec.msgpack.Decoder(Entry)


class Written(NamedTuple):
    """A revision on its way into the ledger.

    `relayed`: a Monitor's, not an agent's own. `exposed`: the highest revision of the cell that was
    handed to the broker from memory, 0 if none.
    """

    cell: SealedCell
    relayed: bool = False
    exposed: int = 0


class Held(NamedTuple):
    """A cell as the ledger holds it; `exposed` is the highest revision ever handed over."""

    cell: SealedCell
    exposed: int


class Parked(NamedTuple):
    """A cell that is neither due nor forgotten, with the code and the words of its refusal."""

    cell: SealedCell
    code: str
    reason: str


def row_of(cell: SealedCell) -> tuple[object, ...]:
    """Return the values of COLUMNS."""
    return (
        *cell.identity,
        cell.revision,
        cell.final,
        *cell.series,
        *cell.window,
        cell.state,
        cell.coverage,
    )


def cell_of(row: tuple[Any, ...]) -> SealedCell:
    """Return the cell of the values of COLUMNS."""
    producer, sequence, revision, final, *names, start, width, state, coverage = row
    return SealedCell(
        Identity(producer, sequence),
        revision,
        bool(final),
        Series(*names),
        Window(start, width),
        state,
        coverage,
    )


def entry_of(content: bytes) -> Entry:
    """Return the pairing entry, or raise msgspec.MsgspecError."""
    return _entry_decoder.decode(content)
