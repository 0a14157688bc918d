"""Reads what a validation run has left (edgemse.fleet.saving): the statistics of its groups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edgemse.errors import FileUnreadableError, InputError, StateError
from edgemse.fleet.saving import FORMAT, PARTS_MAX
from edgemse.stats.error_stats import ErrorStats

__all__ = ["SavedPart", "load_states"]

FILE_BYTES_MAX = 64 * 1024 * 1024
"""PARTS_MAX states of at most some kilobytes each are far below it."""


class SavedPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The columns that make a part, with their values (none: everything), and its state's bytes."""

    by: dict[str, str]
    state: bytes


class _Saved(msgspec.Struct, frozen=True):
    format: str
    parts: Annotated[list[SavedPart], Meta(max_length=PARTS_MAX + 1)]


_decoder = msgspec.json.Decoder(_Saved)


def load_states(path: Path) -> list[SavedPart]:
    """Return the parts that `save_states` wrote; each state can be read.

    Raises FileUnreadableError if there is no such file, InputError if it is something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise FileUnreadableError(f"{path}: {error.strerror}") from None
    try:
        if len(data) > FILE_BYTES_MAX:
            raise msgspec.ValidationError("it is too large")
        found = _decoder.decode(data)
        if found.format != FORMAT:
            raise msgspec.ValidationError(f"its format is {found.format!r:.40}")
        for part in found.parts:
            ErrorStats.from_bytes(part.state)
    except (msgspec.MsgspecError, StateError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not what edgemse evaluate --save writes: {error}") from None
    return found.parts
