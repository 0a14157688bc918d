"""A copy of a store, of a file or of the one that a running collector holds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edgemse.errors import OutputError
from edgemse.fleet.http import download, is_url
from edgemse.stores import open_store, statements
from edgemse.stores.durable import appearing

__all__ = ["BACKUP_PATH", "Backup", "backup"]

BACKUP_PATH = "/api/v1/backup"


class Backup(NamedTuple):
    """A copy that was made, and can be opened."""

    id: str
    """The copy's own."""
    source: str
    """The id of the store that it is a copy of."""
    copied_ms: int
    """When, in milliseconds since 1970-01-01 UTC, by the clock of the machine with the store."""
    size_bytes: int


def backup(source: str | Path, file: Path, *, token: str = "") -> Backup:
    """Write a copy of one moment into a new file, which appears once it is whole and on the disk.

    Args:
        source: the path of a store that no collector holds just now, or a collector's http://...
        file: where to.
        token: what the collector is shown; its role must be admin.

    Raises:
        OutputError: the file is there already, or cannot be written. StoreError, or a child.
    """
    if file.exists():
        raise OutputError(f"{file} is there already; give a name that is new")
    try:
        with appearing(file) as part:
            made = _made(source, part, token)
    except OSError as error:
        raise OutputError(f"{file}: {error.strerror}") from None
    return made


def _made(source: str | Path, part: Path, token: str) -> Backup:
    if is_url(source):
        with part.open("xb") as received:
            download(str(source), BACKUP_PATH, token, received)
    else:
        store = open_store(source, read_only=True)
        try:
            store.copy_to(part)
        finally:
            store.close()
    # Opened, so that what stands there is known to be a store.
    copy = open_store(part, read_only=True)
    try:
        with copy.reading() as reading:
            ((of, copied_ms),) = reading.rows(statements.LAST_COPY)
        return Backup(copy.id, of, copied_ms, part.stat().st_size)
    finally:
        copy.close()
