"""The raw samples, kept aside on this machine for one purpose: to check what the fleet reports."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

__all__ = ["Truth", "TruthFile", "read_truth", "truth_path"]

PAIR = struct.Struct("<dd")
"""y_true and y_pred as float64: the most frugal way to ship a raw sample."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the raw samples of one device and version come to."""

    count: int
    mse: float
    float64_bytes: int
    json_bytes: int
    following: float = math.nan
    """How closely a squared error follows the one before (lag-1 autocorrelation); NaN: untold."""


def truth_path(folder: Path, device: str, version: str) -> Path:
    """Return where the samples of a device and version are kept."""
    return folder / f"{device}.{version}.f64"


class TruthFile:
    """Writes samples as they come; a context manager."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")

    def add(self, y_true: float, y_pred: float) -> None:
        """Append one sample."""
        self._file.write(PAIR.pack(y_true, y_pred))

    def __enter__(self) -> TruthFile:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def read_truth(path: Path, version: str) -> Truth:
    """Count the samples and average their squared errors, the sum correctly rounded (fsum)."""
    samples = list(_samples(path))
    squares = [(y_pred - y_true) ** 2 for y_true, y_pred in samples]
    return Truth(
        len(samples),
        math.fsum(squares) / len(samples) if samples else math.nan,
        len(samples) * PAIR.size,
        sum(len(_line(version, *sample)) for sample in samples),
        _following(squares),
    )


def _following(values: list[float]) -> float:
    mean = math.fsum(values) / len(values) if values else math.nan
    left = [value - mean for value in values]
    varies = math.fsum(x * x for x in left)
    return math.fsum(x * y for x, y in pairwise(left)) / varies if varies > 0 else math.nan


def _samples(path: Path) -> Iterator[tuple[float, float]]:
    with path.open("rb") as file:
        while data := file.read(PAIR.size * 4_096):
            yield from PAIR.iter_unpack(data)


def _line(version: str, y_true: float, y_pred: float) -> bytes:
    """Return the line that a device would send which ships its raw samples as JSON."""
    return json.dumps({"version": version, "y_true": y_true, "y_pred": y_pred}).encode() + b"\n"
