"""The one place that chooses a store by its address."""

from __future__ import annotations

from pathlib import Path

from edgemse.errors import StoreError, StoreUnreachableError
from edgemse.stores.base import Store

__all__ = ["open_store"]


def open_store(address: str | Path, *, read_only: bool = False, must_exist: bool = False) -> Store:
    """Open the store at a path (a DuckDB file) or an address (a PostgreSQL database).

    A store that is opened for writing is brought to this version's schema, and made if it is not
    there unless it `must_exist`; one that is opened `read_only` must. Raises StoreError or one of
    its children.
    """
    if str(address).startswith(("postgresql://", "postgres://")):
        from edgemse.stores.postgres import PostgresStore  # only when one is used, too

        return PostgresStore(str(address), read_only=read_only, must_exist=must_exist)
    scheme, found, _ = str(address).partition("://")
    if found:  # the rest may hold a password
        raise StoreError(
            f"store {scheme}://...: wanted the path of a DuckDB file, or"
            " postgresql://USER@HOST:PORT/DATABASE"
        )
    from edgemse.stores.duckdb import DuckDBStore  # only when one is used: it takes 50 ms

    path = Path(address)
    if (must_exist or read_only) and not path.exists():
        raise StoreUnreachableError(
            f"store {path} does not exist; check the path, or run edgemse collector with it first"
        )
    return DuckDBStore(path, read_only=read_only)
