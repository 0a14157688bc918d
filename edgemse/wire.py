"""Reports and acks, to bytes and back; docs/wire.md has the byte table.

What arrives is untrusted: a decoder returns a whole message or raises WireError, nothing else. The
statistics inside a report's cells are opened later, one by one (`edgemse.cells.unseal`), so that
one bad cell does not take its neighbours with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edgemse.cells import PRODUCER_BYTES, Identity, SealedCell, Series, Window
from edgemse.errors import WireError

__all__ = [
    "PROTOCOL_VERSION",
    "REPORT_BYTES_MAX",
    "Ack",
    "Code",
    "PackedCell",
    "PackedReport",
    "Refusal",
    "Report",
    "decode_ack",
    "decode_report",
    "encode_ack",
    "encode_report",
    "refusals",
    "sealed_size",
    "unpack_report",
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
Run = Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=0, le=2**63 - 1)]
More = Annotated[dict[str, Any], Meta(max_length=64)]
"""What later versions add; keys that are not known are ignored."""


class Code(StrEnum):
    """Why a cell is refused, for programs; the words beside it are for people."""

    CORRUPT = "corrupt"
    VERSION = "version"
    WINDOW = "window"
    FUTURE = "future"
    NAME = "name"
    COUNT = "count"
    DEVICE = "device"
    LIMIT = "limit"
    DEFECT = "defect"


class PackedCell(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A cell as it stands in a report: its producer and series are places in the tables there."""

    producer: Count
    sequence: Count
    revision: Revision
    final: bool
    series: Count
    start: Annotated[int, Meta(ge=-(2**62), le=2**62)]
    width: Annotated[int, Meta(ge=1, le=2**31)]
    state: StateBytes
    coverage: StateBytes | None
    more: More


class PackedReport(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A report as it travels, its fields checked one by one."""

    version: int
    device: Annotated[str, Meta(min_length=1, max_length=256)]
    time_ms: Annotated[int, Meta(ge=-(2**62), le=2**62)]
    clock_synchronised: bool
    producers: Annotated[tuple[Producer, ...], Meta(max_length=4_096)]
    series: Annotated[tuple[tuple[Name, Name, Name, Name, Name], ...], Meta(max_length=4_096)]
    cells: Annotated[tuple[PackedCell, ...], Meta(max_length=4_096)]
    health: Annotated[dict[Name, Count], Meta(max_length=256)]
    run: Run
    more: More

    def sealed(self, cell: PackedCell) -> SealedCell:
        """Return one of the cells with its names."""
        return SealedCell(
            Identity(self.producers[cell.producer], cell.sequence),
            cell.revision,
            cell.final,
            Series(*self.series[cell.series]),
            Window(cell.start, cell.width),
            cell.state,
            cell.coverage,
        )


class Report(msgspec.Struct, frozen=True):
    """One message from a device: its header and the cells that changed.

    `run` is that of the presence; two boards of one name have two.
    """

    device: str
    time_ms: int
    clock_synchronised: bool
    cells: tuple[SealedCell, ...]
    health: Mapping[str, int]
    run: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """A cell that the collector will not take, and why."""

    producer: bytes
    sequence: int
    revision: int
    code: Code
    reason: str


class _Refused(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    code: Name
    reason: Annotated[str, Meta(max_length=1_024)]
    cells: tuple[tuple[Producer, tuple[tuple[Count, Revision], ...]], ...]


class _Ack(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    worker: Name
    store: Annotated[str, Meta(max_length=64)]
    committed: tuple[tuple[Producer, tuple[tuple[Count, Revision], ...]], ...]
    refused: tuple[_Refused, ...]
    more: More


class Ack(msgspec.Struct, frozen=True):
    """What the collector's store (by its id) holds now, by cell, and what it refuses."""

    worker: str
    committed: Mapping[Identity, int]
    refused: tuple[Refusal, ...] = ()
    store: str = ""


_report_decoder = msgspec.msgpack.Decoder(PackedReport)
_ack_decoder = msgspec.msgpack.Decoder(_Ack)


def sealed_size(cell: SealedCell) -> int:
    """Bytes that the cell takes in a report at most; names that none can carry are no error."""
    names = sum(len(name.encode(errors="backslashreplace")) + 3 for name in cell.series)
    return CELL_OVERHEAD_BYTES + names + len(cell.state) + len(cell.coverage or b"")


def encode_report(report: Report) -> bytes:
    """Return the report's bytes; producers and series stand once each, in tables."""
    producers: dict[bytes, int] = {}
    series: dict[Series, int] = {}
    cells = tuple(
        PackedCell(
            producers.setdefault(cell.identity.producer, len(producers)),
            cell.identity.sequence,
            cell.revision,
            cell.final,
            series.setdefault(cell.series, len(series)),
            cell.window.start,
            cell.window.width,
            cell.state,
            cell.coverage,
            {},
        )
        for cell in report.cells
    )
    message = PackedReport(
        PROTOCOL_VERSION,
        report.device,
        report.time_ms,
        report.clock_synchronised,
        tuple(producers),
        tuple(series),
        cells,
        dict(report.health),
        report.run,
        {},
    )
    data = msgspec.msgpack.encode(message)
    assert len(data) <= REPORT_BYTES_MAX, len(data)
    return data


def decode_report(data: bytes) -> Report:
    """Return the report, or raise WireError with what is wrong with it."""
    message = unpack_report(data)
    return Report(
        message.device,
        message.time_ms,
        message.clock_synchronised,
        tuple(map(message.sealed, message.cells)),
        message.health,
        str(message.run),
    )


def unpack_report(data: bytes) -> PackedReport:
    """Return the report as it travels, or raise WireError with what is wrong with it.

    Every cell's places are in the tables.
    """
    if len(data) > REPORT_BYTES_MAX:
        raise WireError(f"a report of {len(data)} bytes; wanted at most {REPORT_BYTES_MAX}")
    message: PackedReport = _decode(_report_decoder, data, "report")
    producers, series = len(message.producers), len(message.series)
    for cell in message.cells:
        if cell.producer >= producers or cell.series >= series:
            raise WireError(
                f"a report whose cell names a producer beyond its {producers}"
                f" or a series beyond its {series}"
            )
    return message


def encode_ack(ack: Ack) -> bytes:
    """Return the ack's bytes; each producer stands once, and each reason."""
    reasons: dict[tuple[Code, str], dict[Identity, int]] = {}
    for refusal in ack.refused:
        cells = reasons.setdefault((refusal.code, refusal.reason[:1024]), {})
        cells[Identity(refusal.producer, refusal.sequence)] = refusal.revision
    refused = tuple(_Refused(*why, _grouped(cells)) for why, cells in reasons.items())
    message = _Ack(PROTOCOL_VERSION, ack.worker, ack.store, _grouped(ack.committed), refused, {})
    return msgspec.msgpack.encode(message)


_Grouped = tuple[tuple[bytes, tuple[tuple[int, int], ...]], ...]


def _grouped(cells: Mapping[Identity, int]) -> _Grouped:
    producers: dict[bytes, list[tuple[int, int]]] = {}
    for (producer, sequence), revision in cells.items():
        producers.setdefault(producer, []).append((sequence, revision))
    return tuple((producer, tuple(pairs)) for producer, pairs in producers.items())


def _by_identity(grouped: _Grouped) -> dict[Identity, int]:
    cells: dict[Identity, int] = {}
    for producer, pairs in grouped:
        for sequence, revision in pairs:
            identity = Identity(producer, sequence)
            cells[identity] = max(revision, cells.get(identity, 0))
    return cells


def decode_ack(data: bytes) -> Ack:
    """Return the ack, or raise WireError with what is wrong with it.

    A refusal whose code is not known reads as `Code.DEFECT`; its words tell more.
    """
    message = _decode(_ack_decoder, data, "ack")
    refused = tuple(
        Refusal(producer, sequence, revision, _code(group.code), group.reason)
        for group in message.refused
        for (producer, sequence), revision in _by_identity(group.cells).items()
    )
    return Ack(message.worker, _by_identity(message.committed), refused, message.store)


def _code(text: str) -> Code:
    return Code(text) if text in Code.__members__.values() else Code.DEFECT


def refusals(cells: Iterable[SealedCell], code: Code, reason: str) -> tuple[Refusal, ...]:
    """Return one refusal of each of the cells, all for the same reason."""
    return tuple(
        Refusal(cell.identity.producer, cell.identity.sequence, cell.revision, code, reason[:1024])
        for cell in cells
    )


def _decode(decoder: msgspec.msgpack.Decoder[Any], data: bytes, kind: str) -> Any:
    try:
        message = decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(
            f"not {'an' if kind == 'ack' else 'a'} {kind}: {error}; {_version_hint(data)}"
        ) from None
    if message.version != PROTOCOL_VERSION:
        raise WireError(f"{kind} of protocol {message.version}; this is {PROTOCOL_VERSION}")
    return message


def _version_hint(data: bytes) -> str:
    """Say the protocol version of a message that is an array and starts with another one."""
    if len(data) > 3 and data[0] in range(0x90, 0xA0) and data[1] < 0x80:
        return f"its protocol is {data[1]}, this is {PROTOCOL_VERSION}"
    return "wanted the arrays that docs/wire.md describes"
