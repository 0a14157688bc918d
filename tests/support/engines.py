"""The engines that tests/stores/test_conformance.py holds to one behaviour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgemse.stores import Store
from edgemse.stores.duckdb import DuckDBStore

Factory = Callable[[Path, Callable[[], float]], Store]
"""Makes or opens again the store of a test: its folder, and the time."""


def duckdb_file(folder: Path, now: Callable[[], float]) -> Store:
    return DuckDBStore(folder / "fleet.duckdb", now=now)


ENGINES: dict[str, Factory] = {"duckdb": duckdb_file}
"""A new engine joins by one line here."""
