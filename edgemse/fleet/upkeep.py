"""Forget, retire, rename, at a store or at a running collector; and who has done so."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edgemse.errors import SettingsError
from edgemse.fleet.answers import Answer
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.http import call, is_url
from edgemse.names import wrong_with
from edgemse.stores import Store, open_store, statements
from edgemse.stores.audit import Actor
from edgemse.stores.base import Reading
from edgemse.stores.devices import forget, rename, retire, unretire

__all__ = ["ACTIONS", "AuditAnswer", "AuditRow", "Upkeep", "audit", "audit_from", "carry_out"]

ACTIONS = ("forget", "retire", "unretire", "rename")
PATH = "/api/v1/upkeep"
AUDIT_PATH = "/api/v1/audit"


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What is done to one device, and by whom.

    Raises SettingsError if it cannot be done to any device.
    """

    action: str
    """One of ACTIONS."""
    device: str
    who: str
    """The user's name and his machine's, as that machine says them."""
    host: str
    to: str = ""
    """The new name."""
    grown: bool = False
    """Forget the cells that still grow too."""

    def __post_init__(self) -> None:
        for name in ("action", "device", "who", "host", "to"):
            text = getattr(self, name)
            wrong = wrong_with(text) if isinstance(text, str) else "no text"
            if wrong:
                raise SettingsError(f"{name} {text!r:.80}: {wrong}")
        if self.action not in ACTIONS:
            raise SettingsError(f"action {self.action!r}: wanted one of {', '.join(ACTIONS)}")
        if not isinstance(self.grown, bool):
            raise SettingsError(f"grown {self.grown!r:.80}: wanted true or false")

    @classmethod
    def of_json(cls, data: object) -> Upkeep:
        """Return what `as_json` gave; SettingsError if it is something else."""
        if not isinstance(data, dict) or not {"action", "device", "who", "host"} <= data.keys():
            raise SettingsError("upkeep: wanted a JSON object with action, device, who and host")
        unknown = sorted(data.keys() - {*cls.__dataclass_fields__})
        if unknown:
            raise SettingsError(f"upkeep: unknown key {unknown[0]!r:.80}")
        return cls(**data)

    def as_json(self) -> dict[str, Any]:
        """Return what travels to a collector."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def apply(self, store: Store, now_ms: int, token: str = "") -> dict[str, int]:
        """Do it in one transaction; `token` is the name of the one that was shown."""
        by = Actor(self.who, self.host, token)
        with store.writing() as writing:
            if self.action == "forget":
                return forget(writing, self.device, by, now_ms, grown=self.grown)
            if self.action == "rename":
                return rename(writing, self.device, self.to, by, now_ms)
            return {"retire": retire, "unretire": unretire}[self.action](
                writing, self.device, by, now_ms
            )


def carry_out(
    source: str | Path, upkeep: Upkeep, *, token: str = "", now: float | None = None
) -> dict[str, int]:
    """Do it, and return what became of it: `cells`, and of forget `open`.

    Args:
        source: the path of a store that no collector holds just now, or a collector's http://...
        upkeep: what to do.
        token: what the collector is shown; its role must be admin.
        now: the UTC seconds to note; None: this machine's clock. A collector notes its own.

    Raises:
        SettingsError: there is no such device, or no such name. StoreError, or a child.
    """
    if is_url(source):
        return dict(call(str(source), PATH, token, upkeep.as_json()))
    store = open_store(source, must_exist=True)
    try:
        return upkeep.apply(store, int(1000 * (time.time() if now is None else now)))
    finally:
        store.close()


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """One thing that was done."""

    at: str
    """When, in ISO 8601, by the clock of the machine with the store."""
    who: str
    host: str
    token: str
    """The name of the token that the collector was shown; empty: the file was at hand."""
    action: str
    device: str
    """Empty: it was done to a version."""
    details: str
    """In words: the new name, how many cells; the version, and what is said of it."""


@dataclass(frozen=True, kw_only=True)
class AuditAnswer(Answer):
    """What people have done to devices and said of versions, in the order in which they did it."""

    ROWS: ClassVar[str] = "entries"
    HEADINGS: ClassVar[Mapping[str, str]] = {
        "at": "at",
        "action": "action",
        "device": "device",
        "who": "who",
        "host": "host",
        "token": "token",
        "details": "details",
    }
    WORDS: ClassVar[Collection[str]] = HEADINGS

    entries: tuple[AuditRow, ...]


def audit(reading: Reading, device: str = "") -> AuditAnswer:
    """Return who did what, and when; only to one device if it is named.

    A rename is found by either name.
    """
    rows = reading.rows(statements.AUDITED, (device, device))
    entries = tuple(
        AuditRow(
            at=iso_time(at_ms / 1000),
            who=who,
            host=host,
            token=token,
            action=action,
            device=name,
            details=_in_words(said),
        )
        for at_ms, who, host, token, action, name, details in rows
        if device in ("", name, (said := json.loads(details)).get("to"))
    )
    asked = Asked(where={"device": device} if device else {})
    return AuditAnswer(asked=asked, entries=entries)


def audit_from(source: str | Path, device: str = "", *, token: str = "") -> AuditAnswer:
    """Ask a store's path or a collector's URL (role admin); errors as of `carry_out`."""
    if is_url(source):
        query = f"?{urllib.parse.urlencode({'device': device})}" if device else ""
        return AuditAnswer.from_json(call(str(source), AUDIT_PATH + query, token))
    store = open_store(source, read_only=True)
    try:
        with store.reading() as reading:
            return audit(reading, device)
    finally:
        store.close()


def _in_words(details: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in details.items())
