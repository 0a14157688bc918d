"""The schema, as numbered SQL files, each applied once and in order."""

from __future__ import annotations

from importlib.resources import files

from edgemse.errors import StoreError, StoreVersionError

__all__ = ["check_version", "scripts_after"]


def _scripts() -> list[tuple[int, str]]:
    """Return (number, SQL) of each NNNN_what.sql beside this file, in order."""
    found = [
        (int(entry.name[:4]), entry.read_text(encoding="utf-8"))
        for entry in files("edgemse.stores").iterdir()
        if entry.name.endswith(".sql")
    ]
    return sorted(found)


def scripts_after(version: int) -> list[tuple[int, str]]:
    """Return the scripts that a store of that version still lacks (0: a new store)."""
    return [(number, sql) for number, sql in _scripts() if number > version]


def check_version(version: int, store: str, *, can_migrate: bool) -> None:
    """Raise StoreVersionError or StoreError unless this edgemse can use a store of that version."""
    known, _ = _scripts()[-1]
    if version > known:
        raise StoreVersionError(
            f"store {store} has schema version {version}, this edgemse knows versions up to"
            f" {known}; use the edgemse that wrote it, or a newer one"
        )
    if version < known and not can_migrate:
        raise StoreError(
            f"store {store} has schema version {version}, reading it needs {known};"
            " run this version's edgemse collector on it once"
        )
