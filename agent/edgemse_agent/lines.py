"""JSON lines to typed messages; docs/agent.md describes every key."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from edgemse.cells import START_SECONDS_MAX, UNPLACED_SECONDS, SealedCell
from edgemse.errors import LineError, SettingsError
from edgemse.measures import (
    Numbers,
    check_measure,
    checked_interval,
    interval_numbers,
    numbers_beside,
)
from edgemse.names import wrong_with
from edgemse.stats.measures import follow_loss
from edgemse.times import seconds_of
from edgemse_agent.cell_lines import CellLine, MonitorLine, producer_of, sealed
from edgemse_agent.entries import Where
from edgemse_agent.repeated import repeated

__all__ = [
    "LINE_BYTES_MAX",
    "LabelLine",
    "Line",
    "MonitorHello",
    "Parsed",
    "PredictionLine",
    "Request",
    "SampleLine",
    "SessionHello",
    "ends_of",
    "parse",
    "sample_of",
    "too_long",
]

LINE_BYTES_MAX = 65_536
END_BYTES = 256
"""What is kept of either end of a line that is too long, for its number."""


class SampleLine(NamedTuple):
    """A prediction and its label in one, or a number of a measure (label 0, prediction the number).

    `loss` names a loss that is followed beside the error, or is empty; `beside` are numbers of
    further measures.
    """

    where: Where
    y_true: float
    y_pred: float
    weight: float
    time: float | None
    measure: str = ""
    loss: str = ""
    beside: Numbers = ()


class PredictionLine(NamedTuple):
    """A prediction that waits for its label; `interval` is the (lower, upper) that it gave.

    The measures in `beside` are known already, and wait for nothing.
    """

    id: str
    where: Where
    y_pred: float
    weight: float
    time: float | None
    loss: str = ""
    interval: tuple[float, float] | None = None
    beside: Numbers = ()


class LabelLine(NamedTuple):
    """A label for the prediction of that id."""

    id: str
    where: Where
    y_true: float
    time: float | None


class SessionHello(NamedTuple):
    """A client that resends: the lines that follow are numbered, from `start` on."""

    session: str
    start: int


class MonitorHello(NamedTuple):
    """A Monitor: a producer of its own, whose cells follow."""

    producer: bytes


class Request(NamedTuple):
    """To the agent itself: `status`, `release` of the parked cells, or `flush`: do not wait."""

    name: str


Line = SampleLine | PredictionLine | LabelLine | SessionHello | MonitorHello | Request | SealedCell


class Parsed(NamedTuple):
    """What a line says, or what is `wrong` with it; and its number `n` in its session, if any.

    `refused` names the cell (sequence, revision) that a bad line was about.
    """

    line: Line | None
    wrong: str = ""
    n: int | None = None
    refused: tuple[int, int] | None = None


Text = str | int
"""A name; a whole number is its digits."""
Number = Annotated[int, Meta(ge=0, le=2**62)]


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    y_true: float | None = None
    y_pred: float | None = None
    id: Text | None = None
    ts: float | str | None = None
    boot: Annotated[float, Meta(ge=0, lt=START_SECONDS_MAX)] | None = None
    model: Text | None = None
    version: Text | None = None
    output: Text | None = None
    segment: Text | None = None
    weight: float | None = None
    loss: str | None = None
    lower: float | None = None
    upper: float | None = None
    latency: float | None = None
    features: dict[str, float] | None = None
    measure: str | None = None
    value: float | None = None
    n: Number | None = None


class _Session(msgspec.Struct, forbid_unknown_fields=True):
    session: Annotated[str, Meta(min_length=1, max_length=128)]
    start: Number = msgspec.field(name="from", default=0)


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    request: Literal["status", "release", "flush"]


_KINDS: tuple[tuple[str, type], ...] = (
    ("session", _Session),
    ("state", CellLine),
    ("producer", MonitorLine),
    ("request", _Request),
)
_line_decoder = msgspec.json.Decoder(_Line)
_NUMBERED = re.compile(rb'"n"[ \t]*:[ \t]*([0-9]{1,18})[ \t\r]*(?:[,}]|\Z)')
_TYPES = re.compile(r"Expected `([^`]+)`, got `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_BEYOND = re.compile(r"Number out of range(?: - at `\$\.?([^`]*)`)?")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")
_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "nothing",
}


def parse(line: bytes) -> Parsed:
    """Return what the line says; nothing that a client writes raises."""
    if len(line) > LINE_BYTES_MAX:
        return too_long(ends_of(line), len(line))
    try:
        found = _line_decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return _other(line, error)
    odd = line.count(b'":') != _keys(found) or max(map(line.find, _ODD)) >= 0
    if odd and (twice := repeated(line)):
        return _twice(twice, line)
    try:
        return Parsed(_sample(found), n=found.n)
    except LineError as error:
        return Parsed(None, str(error), found.n)


def sample_of(content: Mapping[str, object]) -> SampleLine | PredictionLine | LabelLine:
    """Return what a line of these keys says, or raise LineError."""
    try:
        return _sample(msgspec.convert(content, _Line))
    except msgspec.ValidationError as error:
        raise LineError(_in_our_words(error)) from None


def ends_of(line: bytes) -> bytes:
    """Return the beginning and the end of a line that is too long: its number stands in one."""
    return line[:END_BYTES] + b"\n" + line[-END_BYTES:]


def too_long(ends: bytes, size_bytes: int) -> Parsed:
    """Return what is wrong with a line of which only the ends were kept."""
    wrong = f"a line of {size_bytes} bytes; wanted at most {LINE_BYTES_MAX}"
    return Parsed(None, wrong, _number_in(ends))


def _keys(line: _Line) -> int:
    """Return how many keys the line has, those that are null apart."""
    given = len(_Line.__struct_fields__) - msgspec.structs.astuple(line).count(None)
    return given if line.features is None else given + len(line.features)


_ODD = (b"\\", b" :", b"\t:", b"\r:")
"""With one of these in a line, the keys are not counted by their colons alone."""


def _twice(key: str, line: bytes) -> Parsed:
    wrong = f"the key {key!r:.80} stands twice; wanted each once"
    return Parsed(None, wrong, _number_in(line))


def _number_in(line: bytes) -> int | None:
    """Return the number of a line that is not JSON, or has keys twice, unless it says several."""
    numbers = set(_NUMBERED.findall(line))
    return int(numbers.pop()) if len(numbers) == 1 else None


def _other(line: bytes, error: Exception) -> Parsed:
    """Read what is not a plain sample: a hello, a cell, or JSON with NaN in it as Python writes."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        words = _in_our_words(error)
        if not _BEYOND.search(str(error)):  # else JSON, of more digits than even Python reads
            words = f"not JSON: {words}; wanted one object a line"
        return Parsed(None, words, _number_in(line))
    if not isinstance(content, dict):
        got = _WORDS.get("array" if isinstance(content, list) else type(content).__name__, "null")
        return Parsed(None, f"got {got}, wanted one object a line", _number_in(line))
    if twice := repeated(line):
        return _twice(twice, line)
    n = content["n"] if type(content.get("n")) is int else None
    kind = next((kind for key, kind in _KINDS if key in content), _Line)
    refused = _place(content) if kind is CellLine else None
    try:
        return Parsed(_message(msgspec.convert(content, kind)), n=n)
    except msgspec.ValidationError as invalid:
        return Parsed(None, _in_our_words(invalid), n, refused)
    except (LineError, UnicodeError) as wrong:
        return Parsed(None, str(wrong), n, refused)


def _message(message: object) -> Line:
    if isinstance(message, _Session):
        _check_name("session", message.session)
        return SessionHello(message.session, message.start)
    if isinstance(message, MonitorLine):
        return MonitorHello(producer_of(message.producer))
    if isinstance(message, _Request):
        return Request(message.request)
    if isinstance(message, CellLine):
        return sealed(message)
    assert isinstance(message, _Line)
    return _sample(message)


def _place(content: dict[str, object]) -> tuple[int, int] | None:
    sequence, revision = content.get("sequence"), content.get("revision")
    if isinstance(sequence, int) and isinstance(revision, int):
        return sequence, revision
    return None


def _in_our_words(error: Exception) -> str:
    """Say what is wrong by our keys: the decoder's own words name its types and paths."""
    text = str(error)
    unknown = _UNKNOWN.search(text)
    if unknown is not None:
        return f"unknown key {unknown[1]!r}; docs/agent.md lists the keys"
    beyond = _BEYOND.search(text)
    if beyond is not None:
        return f"{beyond[1] or 'a number'}: got more digits than a float64 holds (2^1024 and above)"
    types = _TYPES.search(text)
    if types is None:
        return text
    wanted = " or ".join(_WORDS.get(kind, kind) for kind in types[1].split(" | ") if kind != "null")
    key = f"{types[3]}: " if types[3] else ""
    return f"{key}got {_WORDS.get(types[2], types[2])}, wanted {wanted}"


def _sample(line: _Line) -> SampleLine | PredictionLine | LabelLine:
    where = _where(line)
    time = _time(line)
    weight = 1.0 if line.weight is None else line.weight
    if not 0 < weight < math.inf:
        raise LineError(f"weight {weight}: wanted a number above 0")
    if line.measure is not None or line.value is not None:
        return _measured(line, where, weight, time)
    loss = "" if line.loss is None else _loss(line.loss)
    interval, beside = _beside(line)
    if line.y_true is not None and line.y_pred is not None:
        if interval is not None:
            beside += interval_numbers(line.y_true, *interval)
        return SampleLine(where, line.y_true, line.y_pred, weight, time, "", loss, beside)
    if line.id is None:
        raise LineError("neither y_true and y_pred together, nor an id with one of them")
    key = _name("id", line.id) or ""
    if line.y_pred is not None:
        return PredictionLine(key, where, line.y_pred, weight, time, loss, interval, beside)
    if line.y_true is None:
        raise LineError(f"id {key!r} has neither y_pred nor y_true")
    if line.weight is not None or loss:
        raise LineError("a label with a weight or a loss; both belong to the prediction")
    if interval is not None or beside:
        raise LineError(
            "a label with lower and upper, latency or features; they belong to the prediction"
        )
    return LabelLine(key, where, line.y_true, time)


def _where(line: _Line) -> Where:
    where = (
        _name("model", line.model),
        _name("version", line.version),
        _name("output", line.output),
        _name("segment", line.segment),
    )
    if where[0] == "":
        raise LineError("model: got an empty name; leave it out for the agent's own")
    return where


def _measured(line: _Line, where: Where, weight: float, time: float | None) -> SampleLine:
    if not line.measure or line.value is None:
        raise LineError("measure and value: wanted both, a name and a number")
    others = (line.y_true, line.y_pred, line.id, line.lower, line.upper, line.latency)
    if any(other is not None for other in others) or line.loss or line.features:
        raise LineError("a measure's value beside a label or prediction; wanted lines of their own")
    try:
        check_measure(line.measure)
    except ValueError as error:
        raise LineError(str(error)) from None
    return SampleLine(where, 0.0, line.value, weight, time, line.measure)


def _beside(line: _Line) -> tuple[tuple[float, float] | None, Numbers]:
    try:
        interval = checked_interval(line.lower, line.upper)
        if line.latency is None and line.features is None:  # as in nearly all
            return interval, ()
        return interval, numbers_beside(line.latency, line.features)
    except ValueError as error:
        raise LineError(str(error)) from None


def _loss(text: str) -> str:
    try:
        return follow_loss(text).measure
    except ValueError as error:
        raise LineError(str(error)) from None


def _name(key: str, value: str | int | None) -> str | None:
    if value is None:
        return None
    name = str(value)
    _check_name(key, name)
    return name


def _check_name(key: str, name: str) -> None:
    wrong = wrong_with(name)
    if wrong:
        raise LineError(f"{key}: {wrong}")


def _time(line: _Line) -> float | None:
    """Return the line's time; one that counts from the device's boot is behind UNPLACED_SECONDS."""
    if line.boot is not None:
        if line.ts is not None:
            raise LineError("ts beside boot; one of them is when it was predicted")
        return UNPLACED_SECONDS + line.boot
    return None if line.ts is None else _seconds(line.ts)


def _seconds(ts: float | str) -> float:
    try:
        return seconds_of(ts)
    except SettingsError as error:
        raise LineError(f"ts: {error}") from None
