"""JSON lines to typed messages; docs/agent.md describes every key."""

from __future__ import annotations

import base64
import binascii
import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from edgemse.cells import PRODUCER_BYTES, Identity, SealedCell, Series, Window, unseal
from edgemse.errors import LineError, StateError

__all__ = [
    "LINE_BYTES_MAX",
    "LabelLine",
    "Message",
    "MonitorHello",
    "PredictionLine",
    "Request",
    "SampleLine",
    "SessionHello",
    "parse",
]

LINE_BYTES_MAX = 65_536
TIME_SECONDS_MAX = 2**33

Name = Annotated[str, Meta(max_length=256)]
Where = tuple[str | None, str | None, str | None, str | None]


class SampleLine(NamedTuple):
    """A prediction and its label in one; None in `where` means the agent's default."""

    where: Where
    y_true: float
    y_pred: float
    weight: float
    time: float | None


class PredictionLine(NamedTuple):
    """A prediction that waits for its label."""

    id: str
    where: Where
    y_pred: float
    weight: float
    time: float | None


class LabelLine(NamedTuple):
    """A label for the prediction of that id."""

    id: str
    where: Where
    y_true: float
    time: float | None


class SessionHello(NamedTuple):
    """A client that resends: the lines that follow are numbered from `start` on."""

    session: str
    start: int


class MonitorHello(NamedTuple):
    """A Monitor: a producer of its own, whose cells follow."""

    producer: bytes


class Request(NamedTuple):
    """A question to the agent itself: `status`, or `release` of the parked cells."""

    name: str


Message = (
    SampleLine | PredictionLine | LabelLine | SessionHello | MonitorHello | Request | SealedCell
)


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    y_true: float | None = None
    y_pred: float | None = None
    id: Name | int | None = None
    ts: float | str | None = None
    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    version: Name | None = None
    output: Name | None = None
    segment: Name | None = None
    weight: float | None = None


class _Session(msgspec.Struct, forbid_unknown_fields=True):
    session: Annotated[str, Meta(min_length=1, max_length=128)]
    start: Annotated[int, Meta(ge=0, le=2**62)] = msgspec.field(name="from", default=0)


class _Monitor(msgspec.Struct, forbid_unknown_fields=True):
    producer: str


class _Cell(msgspec.Struct, forbid_unknown_fields=True):
    producer: str
    sequence: Annotated[int, Meta(ge=0, le=2**62)]
    revision: Annotated[int, Meta(ge=1, le=2**62)]
    final: bool
    series: tuple[Name, Name, Name, Name]
    window: tuple[int, int]
    state: str


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    request: Literal["status", "release"]


_KINDS: tuple[tuple[str, type], ...] = (
    ("session", _Session),
    ("state", _Cell),
    ("producer", _Monitor),
    ("request", _Request),
)
_line_decoder = msgspec.json.Decoder(_Line)


def parse(line: bytes) -> Message:
    """Return what the line says, or raise LineError with what is wrong and what was wanted."""
    if len(line) > LINE_BYTES_MAX:
        raise LineError(f"a line of {len(line)} bytes; wanted at most {LINE_BYTES_MAX}")
    try:
        return _sample(_line_decoder.decode(line))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        if isinstance(error, LineError):
            raise
        return _other(line, error)


def _other(line: bytes, error: Exception) -> Message:
    """Read what is not a plain sample: a hello, a cell, or JSON with NaN in it as Python writes."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        raise LineError(f"not JSON: {error}; wanted one object a line") from None
    if not isinstance(content, dict):
        raise LineError(f"got {type(content).__name__}, wanted one object a line") from None
    kind = next((kind for key, kind in _KINDS if key in content), _Line)
    try:
        message: object = msgspec.convert(content, kind)
    except msgspec.ValidationError as invalid:
        raise LineError(f"{invalid}; docs/agent.md lists the keys") from None
    if isinstance(message, _Session):
        return SessionHello(message.session, message.start)
    if isinstance(message, _Monitor):
        return MonitorHello(_producer(message.producer))
    if isinstance(message, _Request):
        return Request(message.request)
    if isinstance(message, _Cell):
        return _sealed(message)
    assert isinstance(message, _Line)
    return _sample(message)


def _sample(line: _Line) -> SampleLine | PredictionLine | LabelLine:
    where = (line.model, line.version, line.output, line.segment)
    time = None if line.ts is None else _seconds(line.ts)
    weight = 1.0 if line.weight is None else line.weight
    if not 0 < weight < math.inf:
        raise LineError(f"weight {weight}: wanted a number above 0")
    if line.y_true is not None and line.y_pred is not None:
        return SampleLine(where, line.y_true, line.y_pred, weight, time)
    if line.id is None:
        raise LineError("neither y_true and y_pred together, nor an id with one of them")
    key = str(line.id)
    if line.y_pred is not None:
        return PredictionLine(key, where, line.y_pred, weight, time)
    if line.y_true is None:
        raise LineError(f"id {key!r} has neither y_pred nor y_true")
    if line.weight is not None:
        raise LineError("a label with a weight; the weight belongs to the prediction")
    return LabelLine(key, where, line.y_true, time)


def _seconds(ts: float | str) -> float:
    """Return seconds since 1970-01-01 UTC of a number or an ISO 8601 time (no zone: UTC)."""
    if isinstance(ts, str):
        try:
            time = datetime.fromisoformat(ts)
        except ValueError:
            raise LineError(f"ts {ts!r}: wanted seconds since 1970, or ISO 8601") from None
        ts = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if not 0 <= ts < TIME_SECONDS_MAX:
        raise LineError(f"ts {ts}: wanted seconds from 1970 to 2242 (milliseconds?)")
    return ts


def _producer(text: str) -> bytes:
    try:
        producer = bytes.fromhex(text)
    except ValueError:
        producer = b""
    if len(producer) != PRODUCER_BYTES:
        raise LineError(f"producer {text!r:.80}: wanted {2 * PRODUCER_BYTES} hexadecimal digits")
    return producer


def _sealed(message: _Cell) -> SealedCell:
    try:
        state: Any = base64.b64decode(message.state, validate=True)
        cell = SealedCell(
            Identity(_producer(message.producer), message.sequence),
            message.revision,
            message.final,
            Series(*message.series),
            Window(*message.window),
            state,
            None,
        )
        unseal(cell, device="")
    except (binascii.Error, StateError) as error:
        raise LineError(f"cell {message.sequence}: {error}") from None
    return cell
