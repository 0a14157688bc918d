"""Reports, acks, births and last wills, to bytes and back; docs/wire.md has the byte table.

What arrives is untrusted: a decoder returns a whole message or raises WireError, nothing else. The
statistics inside a report's cells are opened later, one by one (`edgemse.cells.unseal`), so that
one bad cell does not take its neighbours with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edgemse.cells import PRODUCER_BYTES, Identity, SealedCell, Series, Window
from edgemse.errors import WireError
from edgemse.stats.coverage import CoverageRow

__all__ = [
    "PROTOCOL_VERSION",
    "REPORT_BYTES_MAX",
    "Ack",
    "Refusal",
    "Report",
    "State",
    "decode_ack",
    "decode_report",
    "decode_state",
    "encode_ack",
    "encode_report",
    "encode_state",
    "refusals",
    "sealed_size",
]

PROTOCOL_VERSION = 1
REPORT_BYTES_MAX = 65_536
CELL_OVERHEAD_BYTES = 96
"""At most this much of a report belongs to a cell beside its state, coverage and names."""

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Revision = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Name = Annotated[str, Meta(max_length=256)]
Producer = Annotated[bytes, Meta(min_length=PRODUCER_BYTES, max_length=PRODUCER_BYTES)]
StateBytes = Annotated[bytes, Meta(max_length=16_384)]


class _Cell(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    producer: Count
    sequence: Count
    revision: Revision
    final: bool
    series: Count
    start: Annotated[int, Meta(ge=-(2**62), le=2**62)]
    width: Annotated[int, Meta(ge=1, le=2**31)]
    state: StateBytes
    coverage: tuple[Count, Count, Count, Count, Count, Count, Count, Count, StateBytes] | None


class _Report(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    device: Annotated[str, Meta(min_length=1, max_length=256)]
    time_ms: Annotated[int, Meta(ge=-(2**62), le=2**62)]
    clock_synchronised: bool
    producers: Annotated[tuple[Producer, ...], Meta(max_length=4_096)]
    series: Annotated[tuple[tuple[Name, Name, Name, Name], ...], Meta(max_length=4_096)]
    cells: Annotated[tuple[_Cell, ...], Meta(max_length=4_096)]
    health: Annotated[dict[Name, Count], Meta(max_length=256)]


class Report(msgspec.Struct, frozen=True):
    """One message from a device: its header and the cells that changed."""

    device: str
    time_ms: int
    clock_synchronised: bool
    cells: tuple[SealedCell, ...]
    health: Mapping[str, int]


class Refusal(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A cell that the collector will not take, and why."""

    producer: Producer
    sequence: Count
    revision: Revision
    reason: Annotated[str, Meta(max_length=1_024)]


class _Ack(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    worker: Name
    committed: tuple[tuple[Producer, tuple[tuple[Count, Revision], ...]], ...]
    refused: tuple[Refusal, ...]


class Ack(msgspec.Struct, frozen=True):
    """What the collector's store holds now, by cell, and what it refuses."""

    worker: str
    committed: Mapping[Identity, int]
    refused: tuple[Refusal, ...] = ()


class State(msgspec.Struct, frozen=True):
    """The retained JSON of a device or a collector: `online` now, or the last will that it is not.

    `run` is drawn at each start, so that the last will of an earlier run cannot take the present
    one for dead.
    """

    online: bool
    software: Annotated[str, Meta(max_length=64)]
    run: Annotated[str, Meta(max_length=64)]
    protocol: int = PROTOCOL_VERSION
    attributes: Annotated[dict[Name, Name], Meta(max_length=64)] = {}


_report_decoder = msgspec.msgpack.Decoder(_Report)
_ack_decoder = msgspec.msgpack.Decoder(_Ack)
_state_decoder = msgspec.json.Decoder(State)


def sealed_size(cell: SealedCell) -> int:
    """Bytes that the cell takes in a report at most, names included."""
    names = sum(len(name.encode()) + 3 for name in cell.series)
    coverage = 0 if cell.coverage is None else len(cell.coverage[-1]) + 9 * 8
    return CELL_OVERHEAD_BYTES + names + len(cell.state) + coverage


def encode_report(report: Report) -> bytes:
    """Return the report's bytes; producers and series stand once each, in tables."""
    producers: dict[bytes, int] = {}
    series: dict[Series, int] = {}
    cells = tuple(
        _Cell(
            producers.setdefault(cell.identity.producer, len(producers)),
            cell.identity.sequence,
            cell.revision,
            cell.final,
            series.setdefault(cell.series, len(series)),
            cell.window.start,
            cell.window.width,
            cell.state,
            cell.coverage,
        )
        for cell in report.cells
    )
    message = _Report(
        PROTOCOL_VERSION,
        report.device,
        report.time_ms,
        report.clock_synchronised,
        tuple(producers),
        tuple(series),
        cells,
        dict(report.health),
    )
    data = msgspec.msgpack.encode(message)
    assert len(data) <= REPORT_BYTES_MAX, len(data)
    return data


def decode_report(data: bytes) -> Report:
    """Return the report, or raise WireError with what is wrong with it."""
    if len(data) > REPORT_BYTES_MAX:
        raise WireError(f"a report of {len(data)} bytes; wanted at most {REPORT_BYTES_MAX}")
    message = _decode(_report_decoder, data, "report")
    try:
        cells = tuple(_opened(cell, message) for cell in message.cells)
    except IndexError:
        raise WireError(
            f"a report whose cell names a producer beyond its {len(message.producers)}"
            f" or a series beyond its {len(message.series)}"
        ) from None
    return Report(
        message.device, message.time_ms, message.clock_synchronised, cells, message.health
    )


def _opened(cell: _Cell, message: _Report) -> SealedCell:
    coverage: CoverageRow | None = cell.coverage
    return SealedCell(
        Identity(message.producers[cell.producer], cell.sequence),
        cell.revision,
        cell.final,
        Series(*message.series[cell.series]),
        Window(cell.start, cell.width),
        cell.state,
        coverage,
    )


def encode_ack(ack: Ack) -> bytes:
    """Return the ack's bytes; each producer stands once."""
    producers: dict[bytes, list[tuple[int, int]]] = {}
    for (producer, sequence), revision in ack.committed.items():
        producers.setdefault(producer, []).append((sequence, revision))
    committed = tuple((producer, tuple(cells)) for producer, cells in producers.items())
    return msgspec.msgpack.encode(_Ack(PROTOCOL_VERSION, ack.worker, committed, ack.refused))


def decode_ack(data: bytes) -> Ack:
    """Return the ack, or raise WireError with what is wrong with it."""
    message = _decode(_ack_decoder, data, "ack")
    committed: dict[Identity, int] = {}
    for producer, cells in message.committed:
        for sequence, revision in cells:
            identity = Identity(producer, sequence)
            committed[identity] = max(revision, committed.get(identity, 0))
    return Ack(message.worker, committed, message.refused)


def encode_state(state: State) -> bytes:
    """Return the state's JSON."""
    return msgspec.json.encode(state)


def decode_state(data: bytes) -> State:
    """Return the state, or raise WireError with what is wrong with it."""
    try:
        return _state_decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"not a state: {error}") from None


def refusals(cells: Iterable[SealedCell], reason: str) -> tuple[Refusal, ...]:
    """Return one refusal of each of the cells, all for the same reason."""
    return tuple(
        Refusal(cell.identity.producer, cell.identity.sequence, cell.revision, reason[:1024])
        for cell in cells
    )


def _decode(decoder: msgspec.msgpack.Decoder[Any], data: bytes, kind: str) -> Any:
    try:
        message = decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"not a {kind}: {error}; {_version_hint(data)}") from None
    if message.version != PROTOCOL_VERSION:
        raise WireError(f"{kind} of protocol {message.version}; this is {PROTOCOL_VERSION}")
    return message


def _version_hint(data: bytes) -> str:
    """Say the protocol version of a message that is an array and starts with another one."""
    if len(data) > 3 and data[0] in range(0x90, 0xA0) and data[1] < 0x80:
        return f"its protocol is {data[1]}, this is {PROTOCOL_VERSION}"
    return "wanted the arrays that docs/wire.md describes"
