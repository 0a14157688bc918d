"""How an agent does: what it says of itself, and how to ask a running one over its socket."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from sqlite3 import sqlite_version
from typing import Any

import msgspec

from edgemse.cells import Series, Window
from edgemse.version import installed_version
from edgemse.wire import PROTOCOL_VERSION

__all__ = [
    "ANSWER_SECONDS",
    "VERSIONS",
    "BrokerStatus",
    "ParkedCell",
    "Status",
    "ask",
    "ask_status",
]

VERSIONS = {
    "edgemse": installed_version(),
    "protocol": str(PROTOCOL_VERSION),
    "python": platform.python_version(),
    "sqlite": sqlite_version,
}
ANSWER_SECONDS = 10.0
ANSWER_BYTES_MAX = 4_194_304


class ParkedCell(msgspec.Struct, frozen=True):
    """A cell that the collector refused: neither sent again nor forgotten until it is released."""

    series: Series
    window: Window
    code: str
    reason: str


class BrokerStatus(msgspec.Struct, frozen=True):
    """The connection to the broker: whether it is up now, and how often it came up.

    `refused` publications it did not take (too large, not allowed); `last_error` is what last went
    wrong, empty: nothing.
    """

    address: str
    connected: bool
    connects: int
    refused: int
    last_error: str


class Status(msgspec.Struct, frozen=True):
    """What an agent says of itself.

    `run` is this start of it, as in its presence; `board` says where the number comes from that its
    ledger belongs to, empty if there is none; `clock_placed` whether the time is known, by the
    kernel's word (`clock_synchronised`) or by one that is trusted; `ledger` the id that clients
    know its ledger by; `versions` of edgemse, the protocol, Python and SQLite. `broker` is null
    where nobody connects (a replay), `mqtt_broker`, that of the local topics, where no rule wants
    it. `parked` shows the oldest hundred, `set_aside` the ledger that this run put away; `store` is
    the id of the collector's store that acknowledged last, empty before any did; `last_error` is
    the agent's last, empty without one; `health` has every counter and gauge, zeros included.
    """

    device: str
    run: str
    board: str
    ledger: str
    versions: Mapping[str, str]
    clock_synchronised: bool
    clock_placed: bool
    broker: BrokerStatus | None
    collector_online: bool
    cells_waiting: int
    reports_in_flight: int
    ids_waiting: int
    parked: list[ParkedCell]
    set_aside: str
    store: str
    last_error: str
    health: Mapping[str, int]
    mqtt_broker: BrokerStatus | None = None

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
