"""Samples out of other people's files: CSV or Parquet, compressed or from a pipe."""

from edgemse.files.columns import Chunk, Columns, Dialect
from edgemse.files.opening import spooled
from edgemse.files.reading import read_samples

__all__ = ["Chunk", "Columns", "Dialect", "read_samples", "spooled"]
