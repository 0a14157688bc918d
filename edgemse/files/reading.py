"""The one place that tells the formats apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgemse.errors import FileUnreadableError
from edgemse.files.columns import Chunk, Columns, Dialect
from edgemse.files.csv_files import read_csv
from edgemse.files.parquet_files import read_parquet

__all__ = ["read_samples"]

MAGIC_BYTES = 8
PARQUET_MAGIC = b"PAR1"
PLAIN = Dialect()
_OTHERS = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet; unpack it, or save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook; save it as CSV"),
    (b"ARROW1", "an Arrow or Feather file; save it as Parquet"),
    (b"PARE", "Parquet whose footer is encrypted; save it without"),
    (b"\x89HDF", "an HDF5 file; save it as Parquet or CSV"),
    (b"SQLite f", "an SQLite database; save the table as CSV"),
    (b"\x93NUMPY", "a NumPy file; save it as Parquet or CSV"),
)
"""What people have beside CSV and Parquet, by how it begins."""


def read_samples(
    path: Path, columns: Columns, dialect: Dialect = PLAIN, *, name: str = ""
) -> Iterator[Chunk]:
    """Yield the rows of a plain file (edgemse.files.spooled makes one of any) in chunks.

    `name` is what errors call it. Raises FileUnreadableError, ColumnError, or InputError that names
    file, line, column, what was got and what was wanted.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(MAGIC_BYTES)
    except OSError as error:
        raise FileUnreadableError(f"{name or path}: cannot be read: {error.strerror}") from None
    for begins, what in _OTHERS:
        if magic.startswith(begins):
            raise FileUnreadableError(f"{name or path}: is {what}")
    if magic.startswith(PARQUET_MAGIC):
        return read_parquet(path, columns, dialect, name or str(path))
    return read_csv(path, columns, dialect, name or str(path))
