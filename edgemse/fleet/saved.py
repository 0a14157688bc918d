"""What a validation run leaves: a file with the statistics of its groups, and of all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edgemse.errors import FileUnreadableError, InputError, OutputError, StateError
from edgemse.stats.error_stats import ErrorStats, merge_all

__all__ = ["PARTS_MAX", "SavedPart", "load_states", "save_states"]

FORMAT = "edgemse states 1"
PARTS_MAX = 1_000
"""Parts of one baseline: segments times outputs, with room; a row of a store each."""
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


def save_states(
    path: Path, columns: tuple[str, ...], groups: Mapping[tuple[str, ...], ErrorStats]
) -> None:
    """Write the statistics of each group and of all of them, whole or not at all.

    Raises OutputError if the file cannot be written, or if there are more than PARTS_MAX groups.
    """
    if len(groups) > PARTS_MAX:
        raise OutputError(
            f"{path}: {len(groups):,} groups, wanted at most {PARTS_MAX:,} in a baseline;"
            " group by less"
        )
    parts = [
        SavedPart(dict(zip(columns, key, strict=True)), stats.to_bytes())
        for key, stats in groups.items()
    ]
    if columns:
        parts.insert(0, SavedPart({}, merge_all(groups.values()).to_bytes()))
    whole = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        whole.write_bytes(msgspec.json.encode(_Saved(FORMAT, parts)) + b"\n")
        whole.replace(path)
    except OSError as error:
        whole.unlink(missing_ok=True)
        raise OutputError(f"{path}: {error.strerror}") from None


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
