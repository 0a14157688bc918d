"""Presence: the retained JSON of a device or a collector, its birth or its last will."""

from __future__ import annotations

import secrets
from typing import Annotated

import msgspec
from msgspec import Meta

from edgemse.errors import WireError

__all__ = [
    "Attribute",
    "Presence",
    "counts",
    "decode_presence",
    "encode_presence",
    "new_run",
]

PROTOCOL_VERSION = 1

Text = Annotated[str, Meta(max_length=256)]


class Attribute(msgspec.Struct, frozen=True):
    """What a device says of itself, and since when (seconds since 1970-01-01 UTC) it holds.

    `since` None: the device does not know, and the collector takes the time of receipt.
    """

    value: Text
    since: Annotated[int, Meta(ge=0, le=2**33)] | None = None


class Presence(msgspec.Struct, frozen=True):
    """`online` now, or the last will that it is not.

    `run` is drawn at each start, and is never a producer: those stay between device and collector.
    `store`, `spread_seconds` and `ack_seconds` are a collector's: the id of its store, over how
    long devices shall spread their first reports when it comes back, and how long an ack takes at
    present where that is longer than usual: a device does not send again before.
    """

    online: bool
    software: Annotated[str, Meta(max_length=64)]
    run: Annotated[str, Meta(max_length=64)]
    protocol: int = PROTOCOL_VERSION
    store: Annotated[str, Meta(max_length=64)] = ""
    spread_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    ack_seconds: Annotated[float, Meta(ge=0, le=300)] = 0.0
    attributes: Annotated[dict[Text, Attribute | Text], Meta(max_length=64)] = {}


_decoder = msgspec.json.Decoder(Presence)


def new_run() -> str:
    """Draw the name of a run: one start of an agent or a collector."""
    return secrets.token_hex(8)


def counts(run_held: str | None, heard: Presence) -> bool:
    """Tell whether a presence replaces the one that is held (None: none is).

    A birth always does; a last will only if it is of the run that is held: that of an earlier run
    may come late, and does not make the present one dead.
    """
    return heard.online or run_held is None or run_held == heard.run


def encode_presence(presence: Presence) -> bytes:
    """Return the presence's JSON."""
    return msgspec.json.encode(presence)


def decode_presence(data: bytes) -> Presence:
    """Return the presence, or raise WireError with what is wrong with it.

    Keys that are not known are ignored; an attribute that is a bare text has no `since`.
    """
    try:
        found = _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"not a presence: {error}") from None
    attributes = {
        name: Attribute(value) if isinstance(value, str) else value
        for name, value in found.attributes.items()
    }
    return msgspec.structs.replace(found, attributes=attributes)
