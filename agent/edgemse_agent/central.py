"""Settings from the centre: which keys it may set, and what becomes of a document that sets them.

A document is JSON, tables and keys as in agent.toml. It is taken whole or not at all. Off unless
the device's own file says `[central] allow = true`; never broker, paths, identity, nor this.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import msgspec

from edgemse.errors import SettingsError
from edgemse.settings import load
from edgemse_agent.repeated import repeated
from edgemse_agent.settings import (
    AgentSettings,
    DeliverySettings,
    PairingSettings,
    WindowSettings,
)

__all__ = ["ALLOWED", "Central", "Document", "checked", "digest", "overlaid", "read_document"]

Document = Mapping[str, Mapping[str, Any]]
DOCUMENT_BYTES_MAX = 16_384
TABLES: Mapping[str, type] = {
    "windows": WindowSettings,
    "pairing": PairingSettings,
    "delivery": DeliverySettings,
}
ALLOWED: Mapping[str, frozenset[str]] = {
    "windows": frozenset({"width_seconds", "grace_seconds", "series_max", "open_cells_max"}),
    "pairing": frozenset({"age_max_seconds", "pending_max", "matched_max"}),
    "delivery": frozenset(
        {"durable_seconds", "ledger_cells_max", "parked_cells_max", "bytes_per_day_max"}
    ),
}
DIGEST_CHARACTERS = 12


def read_document(payload: bytes, where: str) -> Document:
    """Return the document, or raise SettingsError; no bytes are one that sets nothing."""
    if len(payload) > DOCUMENT_BYTES_MAX:
        raise SettingsError(f"{where}: {len(payload)} bytes, wanted at most {DOCUMENT_BYTES_MAX}")
    try:
        found = msgspec.json.decode(payload or b"{}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SettingsError(f"{where}: not JSON: {error}") from None
    if twice := repeated(payload):
        raise SettingsError(f"{where}: the key {twice!r:.80} stands twice; wanted each once")
    return checked(found, where)


def checked(found: Any, where: str) -> Document:
    """Return the document if it sets nothing but allowed keys, else raise SettingsError."""
    if not isinstance(found, dict):
        raise SettingsError(f"{where}: wanted an object of tables")
    for table, keys in found.items():
        if table not in ALLOWED or not isinstance(keys, dict):
            raise SettingsError(f"{where}: {table!r:.80}: wanted tables of {', '.join(ALLOWED)}")
        for key in keys:
            if key not in ALLOWED[table]:
                allowed = ", ".join(sorted(ALLOWED[table]))
                raise SettingsError(f"{where}: {table}.{key!s:.80}: wanted one of {allowed}")
    for table, keys in found.items():
        load(TABLES[table], keys, f"{where}: {table}")
    return found


def overlaid(settings: AgentSettings, documents: Mapping[str, Document]) -> AgentSettings:
    """Return the settings with the documents' on top, later ones having the last word."""
    tables: dict[str, Any] = {}
    for where, document in documents.items():
        for table, keys in document.items():
            before = asdict(tables.get(table) or getattr(settings, table))
            tables[table] = load(TABLES[table], before | dict(keys), f"{where}: {table}")
    return replace(settings, **tables)


def digest(documents: Mapping[str, Document]) -> str:
    """Return what names the documents that are in force together; empty for none."""
    said = [[where, document] for where, document in documents.items() if document]
    if not said:
        return ""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]


class Central:
    """The documents that a device has heard of, by topic; a bad one leaves what was in force.

    `topics` in the order of their weight: groups first, the device's own last.
    """

    def __init__(self, topics: tuple[str, ...]) -> None:
        self._documents: dict[str, Document] = {topic: {} for topic in topics}
        self._refused: dict[str, str] = {}

    @property
    def state(self) -> str:
        """What is in force, and what was refused: the attribute `settings` of the device."""
        said = digest(self._documents) or "own"
        why = "; ".join(self._refused.values())
        return f"{said}, refused: {why}"[:256] if why else said

    def hear(self, topic: str, payload: bytes, base: AgentSettings) -> AgentSettings | None:
        """Return the settings that are in force now; None (see `state`) if it is refused."""
        try:
            document = read_document(payload, topic)
            found = overlaid(base, self._documents | {topic: document})
        except SettingsError as error:
            self._refused[topic] = str(error)
            return None
        self._documents[topic] = document
        self._refused.pop(topic, None)
        return found

    def over(self, base: AgentSettings) -> AgentSettings:
        """Return other settings with the same documents on top."""
        return overlaid(base, self._documents)
