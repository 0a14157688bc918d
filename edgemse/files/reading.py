"""The one place that tells the formats apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgemse.errors import FileUnreadableError
from edgemse.files.columns import Chunk, Columns, Dialect
from edgemse.files.csv_files import read_csv
from edgemse.files.parquet_files import read_parquet

__all__ = ["read_samples"]

PARQUET_MAGIC = b"PAR1"
PLAIN = Dialect()


def read_samples(
    path: Path, columns: Columns, dialect: Dialect = PLAIN, *, name: str = ""
) -> Iterator[Chunk]:
    """Yield the rows of a plain file (edgemse.files.spooled makes one of any) in chunks.

    `name` is what errors call it. Raises FileUnreadableError, ColumnError, or InputError that names
    file, line, column, what was got and what was wanted.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(PARQUET_MAGIC))
    except OSError as error:
        raise FileUnreadableError(f"{name or path}: cannot be read: {error.strerror}") from None
    if magic == PARQUET_MAGIC:
        return read_parquet(path, columns, dialect, name or str(path))
    return read_csv(path, columns, dialect, name or str(path))
