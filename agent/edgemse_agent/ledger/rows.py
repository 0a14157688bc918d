"""Cells and pairing entries to the ledger's rows and back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from edgemse.cells import Identity, SealedCell, Series, Window, check
from edgemse_agent.entries import Entry

__all__ = [
    "Changes",
    "Defect",
    "Held",
    "Parked",
    "Refused",
    "Written",
    "cell_of",
    "checked_text",
    "entry_of",
    "key_of",
    "made",
    "packed_entry",
    "printable",
    "session_row",
    "written_row",
]

log = logging.getLogger(__name__)

T = TypeVar("T")
Made = TypeVar("Made")

DEFECT_CHARACTERS_MAX = 65_536
_entry_decoder = msgspec.msgpack.Decoder(Entry)


class Changes(Protocol):
    """What changed of the ids since the ledger was written last; Pairing is one."""

    def gone(self) -> Iterable[tuple[str]]:
        """Return the ids that the ledger has and is to forget."""

    def rows(self, *, stored: bool) -> Iterable[tuple[str, bytes, int]]:
        """Return rows of `entries`, of ids that the ledger has, or has not."""

    def unwritable(self) -> Mapping[str, Entry]:
        """Return what no ledger can hold, once both kinds of rows were read to their end."""


class Written(NamedTuple):
    """A revision on its way into the ledger.

    `relayed`: a Monitor's, not an agent's own. `exposed`: the highest revision of the cell that was
    handed to the broker from memory, 0 if none.
    """

    cell: SealedCell
    relayed: bool = False
    exposed: int = 0


class Held(NamedTuple):
    """A cell as the ledger holds it.

    `exposed` is the highest revision ever handed over, `acked` the highest that the collector has.
    """

    cell: SealedCell
    exposed: int
    acked: int


class Parked(NamedTuple):
    """A cell that is neither due nor forgotten, with the code and the words of its refusal."""

    cell: SealedCell
    code: str
    reason: str


class Refused(NamedTuple):
    """A revision that is to be parked, and why."""

    revision: int
    code: str
    reason: str


class Defect(NamedTuple):
    """Something that the ledger could not write: a bug, or what slipped through the intake.

    It is set aside in the ledger, as text, so that the rest can be written.
    """

    kind: str
    name: str
    content: str
    reason: str


def _checked_row(cell: SealedCell) -> tuple[object, ...]:
    """Return the values of CELL, or raise anything if no ledger could read them again."""
    check(cell)
    for name in cell.series:
        checked_text(name)
    producer, sequence = cell.identity
    if not 0 <= sequence < 2**63 or not 0 < cell.revision < 2**63:
        raise ValueError(f"sequence {sequence}, revision {cell.revision}: wanted 63 bits")
    return (
        *(bytes(producer), sequence),
        cell.revision,
        bool(cell.final),
        *cell.series,
        *cell.window,
        cell.state,
        cell.coverage,
    )


def checked_text(text: str) -> str:
    """Return the text, or raise UnicodeEncodeError if it is not UTF-8."""
    text.encode()
    return text


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


def made(
    kind: str,
    items: Iterable[T],
    name: Callable[[T], object],
    make: Callable[[T], Made],
    defects: list[Defect],
) -> list[Made]:
    """Return each item's row; one of which none can be made is a defect, and costs only itself."""
    rows = []
    for item in items:
        try:
            rows.append(make(item))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            log.exception("a %s that the ledger cannot write is set aside in it", kind)
            texts = (ascii(name(item)), ascii(item), ascii(reason))
            defects.append(Defect(kind, *(text[:DEFECT_CHARACTERS_MAX] for text in texts)))
    return rows


def key_of(item: tuple[str, object]) -> str:
    """Return the name of an entry or a session."""
    return item[0]


def written_row(written: Written) -> tuple[Any, ...]:
    """Return a new row of `cells`, or raise anything if no ledger could read it again."""
    return *_checked_row(written.cell), written.relayed, written.exposed, 0, None, None


def packed_entry(item: tuple[str, Entry]) -> bytes:
    """Return an entry's bytes, or raise anything if no ledger could read it again."""
    key, entry = item
    checked_text(key)
    return msgspec.msgpack.encode(entry)


def session_row(item: tuple[str, int], elapsed: float) -> tuple[str, int, float]:
    """Return a row of `sessions`."""
    session, lines = item
    return checked_text(session), lines, elapsed


def printable(text: str) -> str:
    """Return the text with whatever is not UTF-8 written out."""
    return text.encode(errors="backslashreplace").decode()
