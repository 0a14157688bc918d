"""The raw samples, kept aside on this machine for one purpose: to check what the fleet reports."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
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
    squares = math.fsum((y_pred - y_true) ** 2 for y_true, y_pred in samples)
    return Truth(
        len(samples),
        squares / len(samples) if samples else math.nan,
        len(samples) * PAIR.size,
        sum(len(_line(version, *sample)) for sample in samples),
    )


def _samples(path: Path) -> Iterator[tuple[float, float]]:
    with path.open("rb") as file:
        while data := file.read(PAIR.size * 4_096):
            yield from PAIR.iter_unpack(data)


def _line(version: str, y_true: float, y_pred: float) -> bytes:
    """Return the line that a device would send which ships its raw samples as JSON."""
    return json.dumps({"version": version, "y_true": y_true, "y_pred": y_pred}).encode() + b"\n"
