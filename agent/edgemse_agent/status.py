"""How an agent does: what it says of itself, and how to ask a running one over its socket."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgemse.cells import Series, Window

__all__ = ["ANSWER_SECONDS", "ParkedCell", "Status", "ask", "ask_status"]

ANSWER_SECONDS = 10.0
ANSWER_BYTES_MAX = 4_194_304


class ParkedCell(msgspec.Struct, frozen=True):
    """A cell that the collector refused: neither sent again nor forgotten until it is released."""

    series: Series
    window: Window
    code: str
    reason: str


class Status(msgspec.Struct, frozen=True):
    """What an agent says of itself.

    `parked` shows the oldest hundred; `store` is the id of the collector's store that acknowledged
    last, empty before any did; `last_error` is the ledger's last, empty without one; `health` has
    every counter and gauge, zeros included.
    """

    device: str
    collector_online: bool
    cells_waiting: int
    reports_in_flight: int
    ids_waiting: int
    parked: list[ParkedCell]
    store: str
    last_error: str
    health: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON's types, by the field names."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def ask(path: Path, request: str, *, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
    """Put a question to the agent at that socket; OSError or ValueError if none answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(str(path))
        connection.sendall(msgspec.json.encode({"request": request}) + b"\n")
        with connection.makefile("rb") as answers:
            found = msgspec.json.decode(answers.readline(ANSWER_BYTES_MAX))
    if not isinstance(found, dict):
        raise ValueError(f"an answer that is no object: {found!r:.80}")
    return found


def ask_status(path: Path, *, seconds: float = ANSWER_SECONDS) -> Status:
    """Ask the agent at that socket how it does; OSError or ValueError if none answers."""
    return msgspec.convert(ask(path, "status", seconds=seconds).get("status"), Status)
