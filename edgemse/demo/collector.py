"""The demo's side of the real collector: its command, and what its HTTP API says."""

from __future__ import annotations

import http.client
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from edgemse.demo.device import MODEL

__all__ = ["DemoCollector"]

ANSWER_SECONDS = 5.0
VARIANCE = f"/api/v1/variance?by=device&by=version&model={MODEL}"


class DemoCollector:
    """The one `edgemse collector` of the demo, with a DuckDB file of its own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.store = folder / "fleet.duckdb"
        self.address = address

    def command(self, broker: str, protocol: str) -> list[str]:
        """Return the command that runs the collector."""
        return [
            *(sys.executable, "-P", "-m", "edgemse.cli.entry", "collector"),
            *("--store", str(self.store), "--broker", broker, "--protocol", protocol),
            *("--http", self.address),
        ]

    def healthy(self) -> bool:
        """Tell whether the collector serves HTTP and finds nothing wrong."""
        return self._get("/health") is not None

    def rmse(self) -> dict[tuple[str, str], float]:
        """Return the RMSE by device and version, as the store has it; empty if nobody answers."""
        report = self._get(VARIANCE)
        groups = report["groups"] if report is not None else []
        return {
            (group["by"]["device"], group["by"]["version"]): group["rmse"]
            for group in groups
            if group["rmse"] is not None
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
