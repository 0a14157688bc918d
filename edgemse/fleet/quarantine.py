"""What a collector has refused: to look at, to give in again, to throw away."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edgemse.errors import SettingsError
from edgemse.fleet.answers import Answer
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.http import call, is_url
from edgemse.names import wrong_with
from edgemse.stores import Store, open_store, statements
from edgemse.stores.base import Reading
from edgemse.stores.tables import AUDIT

__all__ = [
    "QUARANTINE_PATH",
    "Clearing",
    "QuarantineAnswer",
    "Refused",
    "Replay",
    "clear_out",
    "quarantine",
    "quarantine_from",
]

QUARANTINE_PATH = "/api/v1/quarantine"
BEGINNING_BYTES = 64
ACTIONS = ("empty", "replay")
Replay = Callable[[int, str, bytes], None]
"""Gives a collector a report again: the row's id, the device, the report's bytes."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """One message or cell that was refused."""

    id: int
    at: str
    """When, in ISO 8601, by the collector's clock."""
    device: str
    kind: str
    """`report`, `presence`, or `cell`: a report that was made of that cell alone."""
    reason: str
    size_bytes: int
    replayable: bool
    """Whether it is there whole, and a report."""
    beginning: str
    """Its first 64 bytes, as hex digits."""


@dataclass(frozen=True, kw_only=True)
class QuarantineAnswer(Answer):
    """What was refused and is still there, in the order in which it came."""

    ROWS: ClassVar[str] = "refused"
    HEADINGS: ClassVar[Mapping[str, str]] = {
        "at": "at",
        "device": "device",
        "reason": "reason",
        "kind": "what",
        "replayable": "can be replayed",
        "size_bytes": "bytes",
    }
    WORDS: ClassVar[Collection[str]] = {"at", "device", "reason", "kind", "replayable"}

    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class Clearing:
    """What is done with the quarantine, and by whom. Raises SettingsError if it cannot be."""

    action: str
    """One of ACTIONS."""
    who: str
    """The user's name and his machine's, as that machine says them."""
    host: str
    device: str = ""
    """Only what is of this device; empty: all."""

    def __post_init__(self) -> None:
        for name in ("action", "who", "host", "device"):
            text = getattr(self, name)
            wrong = wrong_with(text) if isinstance(text, str) else "no text"
            if wrong:
                raise SettingsError(f"{name} {text!r:.80}: {wrong}")
        if self.action not in ACTIONS:
            raise SettingsError(f"action {self.action!r}: wanted one of {', '.join(ACTIONS)}")

    @classmethod
    def of_json(cls, data: object) -> Clearing:
        """Return what `as_json` gave; SettingsError if it is something else."""
        if not isinstance(data, dict) or not {"action", "who", "host"} <= data.keys():
            raise SettingsError("quarantine: wanted a JSON object with action, who and host")
        unknown = sorted(data.keys() - {*cls.__dataclass_fields__})
        if unknown:
            raise SettingsError(f"quarantine: unknown key {unknown[0]!r:.80}")
        return cls(**data)

    def as_json(self) -> dict[str, Any]:
        """Return what travels to a collector."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def apply(
        self, store: Store, now_ms: int, token: str = "", replay: Replay | None = None
    ) -> dict[str, int]:
        """Do it, and return how many rows were thrown away (`emptied`) or given in (`given`).

        What is given in stays until it has been taken in without a refusal.
        """
        chosen = (self.device, self.device)
        if self.action == "replay" and replay is None:
            raise SettingsError("replay: no collector runs here; start it, and give its http://...")
        with store.writing() as writing:
            if self.action == "empty":
                done = {"emptied": writing.execute(statements.EMPTY_QUARANTINE, chosen)}
                rows = []
            else:
                rows = writing.rows(statements.REPLAYABLE, chosen).rows
                done = {"given": len(rows)}
            details = json.dumps(done)
            action = f"quarantine {self.action}"
            entry = (now_ms, self.who, self.host, token, action, self.device, details)
            writing.put(AUDIT, [entry])
        for row, device, report in rows:
            assert replay is not None
            replay(row, device, report)
        return done


def clear_out(source: str | Path, clearing: Clearing, *, token: str = "") -> dict[str, int]:
    """Do it at a store's path or a collector's URL (role admin), and return what `apply` does.

    Raises SettingsError, StoreError, or a child.
    """
    if is_url(source):
        return dict(call(str(source), QUARANTINE_PATH, token, clearing.as_json()))
    store = open_store(source, must_exist=True)
    try:
        return clearing.apply(store, int(1000 * time.time()))
    finally:
        store.close()


def quarantine(reading: Reading, device: str = "") -> QuarantineAnswer:
    """Return what is there; only of one device if it is named."""
    refused = tuple(
        Refused(
            id=row,
            at=iso_time(received_ms / 1000),
            device=name,
            kind=kind,
            reason=reason,
            size_bytes=size,
            replayable=kind in ("report", "cell") and kept == size,
            beginning=head[:BEGINNING_BYTES].hex(),
        )
        for row, received_ms, name, kind, reason, size, kept, head in reading.rows(
            statements.QUARANTINED, (device, device)
        )
    )
    asked = Asked(where={"device": device} if device else {})
    return QuarantineAnswer(asked=asked, refused=refused)


def quarantine_from(source: str | Path, device: str = "", *, token: str = "") -> QuarantineAnswer:
    """Ask a store's path or a collector's URL (role admin). Raises StoreError, or a child."""
    if is_url(source):
        query = f"?{urllib.parse.urlencode({'device': device})}" if device else ""
        return QuarantineAnswer.from_json(call(str(source), QUARANTINE_PATH + query, token))
    store = open_store(source, read_only=True)
    try:
        with store.reading() as reading:
            return quarantine(reading, device)
    finally:
        store.close()
