"""Peers in environments of their own: Evidently and NannyML do not get along with each other's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

__all__ = ["WANTED", "Peer", "parquet_bytes", "write_rows"]

WANTED = {
    "evidently": ("evidently==0.7.23", "pandas<3"),
    "nannyml": ("nannyml==0.13.1", "pandas<3", "statsmodels"),
}
"""Of each peer: what to install. Both were released before pandas 3 and fail to import with it;
NannyML 0.13.1 imports statsmodels without asking for it."""
QUIET = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
"""Both call home otherwise."""
START_SECONDS = 1_767_225_600
HERE = Path(__file__).parent


class Peer:
    """One peer's process, which reads Parquet files; a context manager that ends it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        python = folder / name / "bin" / "python"
        if not python.exists():
            print(f"installing {name} into {python.parent.parent}", file=sys.stderr)
            venv.create(folder / name, with_pip=True)
            install = [python, "-m", "pip", "install", "--quiet", *WANTED[name]]
            subprocess.run(install, check=True)
        self._files = tempfile.TemporaryDirectory(prefix="shootout-")
        self._process = subprocess.Popen(
            [python, "-W", "ignore", HERE / f"{name}_rows.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | QUIET,
            text=True,
        )

    def ask(self, y_true: np.ndarray, y_pred: np.ndarray) -> dict[str, Any]:
        """Return what the peer says of these rows, an hour each."""
        path = Path(self._files.name) / "rows.parquet"
        write_rows(path, y_true, y_pred)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(path, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("{"):  # not a banner
                return json.loads(line)
        raise RuntimeError(f"{self.name} ended with {self._process.wait()}; run {HERE} by hand")

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait()
        self._files.cleanup()


def write_rows(path: Path, y_true: np.ndarray, y_pred: np.ndarray) -> None:
    """Write the rows of hours as these peers' users ship them: time, label, prediction."""
    hours, per_hour = y_true.shape
    seconds = START_SECONDS + np.arange(hours * per_hour) * (3_600 / per_hour)
    columns = {"time": seconds, "y_true": y_true.ravel(), "y_pred": y_pred.ravel()}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd")


def parquet_bytes(y_true: np.ndarray, y_pred: np.ndarray) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_rows(path, y_true, y_pred)
        return path.stat().st_size
