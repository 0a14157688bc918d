"""The demo's side of the real collector: its command, and what its HTTP API says."""

from __future__ import annotations

import http.client
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from edgemse.demo.device import MODEL
from edgemse.errors import EdgemseError
from edgemse.fleet import ask
from edgemse.fleet.variance import VarianceAnswer

__all__ = ["DemoCollector"]

ANSWER_SECONDS = 5.0


class DemoCollector:
    """The one `edgemse collector` of the demo, with a DuckDB file of its own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.store = folder / "fleet.duckdb"
        self.address = address

    def command(self, broker: str, protocol: str) -> list[str]:
        """Return the command that runs the collector."""
        return [
            *(sys.executable, "-P", "-m", "edgemse", "collector"),
            *("--store", str(self.store), "--broker", broker, "--protocol", protocol),
            *("--http", self.address),
        ]

    def healthy(self) -> bool:
        """Tell whether the collector serves HTTP and finds nothing wrong."""
        return self._get("/health") is not None

    def rmse(self) -> dict[tuple[str, str], float]:
        """Return the RMSE by device and version, as the store has it; empty if nobody answers."""
        try:
            found = ask(f"http://{self.address}", "variance", by=["device", "version"], model=MODEL)
        except EdgemseError:
            return {}
        assert isinstance(found, VarianceAnswer)
        return {
            (group.by["device"], group.by["version"]): group.rmse
            for group in found.groups
            if group.count
        }

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            # An address that is none is for the collector to complain of.
            connection = http.client.HTTPConnection(self.address, timeout=ANSWER_SECONDS)
            with closing(connection):
                connection.request("GET", path)
                response = connection.getresponse()
                content = response.read()
            return json.loads(content) if response.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
