"""The schema, as numbered SQL files, each applied once and in order.

NNNN_what.sql is for every engine; NNNN_what.<dialect>.sql for one, where the other has no such
thing, or needs none. A number is given once.
"""

from __future__ import annotations

from importlib.resources import files

from edgemse.errors import StoreError, StoreVersionError

__all__ = ["check_version", "scripts_after"]


def _scripts(dialect: str) -> list[tuple[int, str]]:
    """Return (number, SQL) of each script that an engine of that dialect takes, in order."""
    found = [
        (int(entry.name[:4]), entry.read_text(encoding="utf-8"))
        for entry in files("edgemse.stores").iterdir()
        if entry.name.endswith(".sql") and entry.name.split(".")[1] in ("sql", dialect)
    ]
    return sorted(found)


def scripts_after(version: int, dialect: str) -> list[tuple[int, str]]:
    """Return the scripts that a store of that version still lacks (0: a new store)."""
    return [(number, sql) for number, sql in _scripts(dialect) if number > version]


def check_version(version: int, store: str, dialect: str, *, can_migrate: bool) -> None:
    """Raise StoreVersionError or StoreError unless this edgemse can use a store of that version."""
    known, _ = _scripts(dialect)[-1]
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
