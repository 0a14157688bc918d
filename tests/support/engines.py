"""The engines that tests hold to one behaviour."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgemse.stores import Store
from edgemse.stores.duckdb import DuckDBStore
from edgemse.stores.postgres import PostgresStore
from support.postgres import Postgres

Factory = Callable[[Path, Callable[[], float]], Store]
"""Makes or opens again the store of a test: its folder, and the time."""

ENGINES = ("duckdb", "postgres")
"""A new engine joins here and in conftest.py."""


def duckdb_file(folder: Path, now: Callable[[], float]) -> Store:
    return DuckDBStore(folder / "fleet.duckdb", now=now)


def _postgres_schema(server: Postgres, folder: Path, now: Callable[[], float]) -> Store:
    name = re.sub("[^a-z0-9]", "_", str(folder).lower())[-60:]
    return PostgresStore(server.schema(f"s{name}"), now=now)


def postgres_schemas(server: Postgres) -> Factory:
    return partial(_postgres_schema, server)
