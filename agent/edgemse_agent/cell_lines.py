"""The lines of a Monitor: its producer, and its cells with the state in base64."""

from __future__ import annotations

import binascii
from typing import Annotated

import msgspec
from msgspec import Meta

from edgemse.cells import PRODUCER_BYTES, Identity, SealedCell, Series, Window, check
from edgemse.errors import LineError, StateError
from edgemse.names import wrong_with

__all__ = ["CellLine", "MonitorLine", "producer_of", "sealed"]


class MonitorLine(msgspec.Struct, forbid_unknown_fields=True):
    """A Monitor's hello."""

    producer: str


class CellLine(msgspec.Struct, forbid_unknown_fields=True):
    """A cell; `series` may leave out its last parts."""

    producer: str
    sequence: Annotated[int, Meta(ge=0, le=2**62)]
    revision: Annotated[int, Meta(ge=1, le=2**62)]
    final: bool
    series: Annotated[list[str], Meta(min_length=1, max_length=5)]
    window: tuple[int, int]
    state: str


def producer_of(text: str) -> bytes:
    """Return the producer of its hexadecimal digits, or raise LineError."""
    try:
        producer = bytes.fromhex(text)
    except ValueError:
        producer = b""
    if len(producer) != PRODUCER_BYTES:
        raise LineError(f"producer {text!r:.80}: wanted {2 * PRODUCER_BYTES} hexadecimal digits")
    return producer


def sealed(line: CellLine) -> SealedCell:
    """Return the cell, checked, or raise LineError."""
    for name in line.series:
        wrong = wrong_with(name)
        if wrong:
            raise LineError(f"cell {line.sequence}, series: {wrong}")
    try:
        cell = SealedCell(
            Identity(producer_of(line.producer), line.sequence),
            line.revision,
            line.final,
            Series(*line.series),
            Window(*line.window),
            binascii.a2b_base64(line.state, strict_mode=True),
            None,
        )
        check(cell)
    except (binascii.Error, StateError) as error:
        raise LineError(f"cell {line.sequence}: {error}") from None
    return cell
