"""Messages: round trips, the vectors of docs/wire.md, and whatever a stranger may send."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemse import Coverage, ErrorStats
from edgemse.cells import Cell, Identity, SealedCell, Series, Window, check, seal, unseal
from edgemse.errors import CellError, StateError, WireError
from edgemse.presence import decode_presence
from edgemse.wire import (
    REPORT_BYTES_MAX,
    Ack,
    Code,
    Refusal,
    Report,
    decode_ack,
    decode_report,
    encode_ack,
    encode_report,
    refusals,
    sealed_size,
)

WIRE_MD = Path(__file__).parent.parent / "docs" / "wire.md"
PRODUCER = bytes(range(16))


def a_cell(sequence: int = 0, samples: int = 3, producer: bytes = PRODUCER) -> SealedCell:
    stats, coverage = ErrorStats(), Coverage()
    for i in range(samples):
        stats.update(1.0, 1.5 + i)
        coverage.predictions += 1
        coverage.match(250 * i)
    series = Series("pump", "2", segment="hall 3/north")
    window = Window(1_767_225_600, 60)
    return seal(Cell(Identity(producer, sequence), 4, True, series, window, stats, coverage))


def a_report() -> Report:
    cells = (a_cell(0), a_cell(1, producer=bytes(16)), a_cell(2, samples=0))
    return Report("device 7", 1_767_225_661_250, True, cells, {"lines": 12, "samples": 3}, "00ff")


def test_a_report_comes_back_as_it_went() -> None:
    assert decode_report(encode_report(a_report())) == a_report()


def test_an_ack_comes_back_as_it_went() -> None:
    refused = (Refusal(PRODUCER, 9, 1, Code.WINDOW, "a width of 7 seconds"),)
    ack = Ack("worker", {Identity(PRODUCER, 0): 4, Identity(bytes(16), 1): 2}, refused, "a1")
    assert decode_ack(encode_ack(ack)) == ack


def test_many_refusals_say_their_reason_once() -> None:
    cells = [a_cell(sequence) for sequence in range(100)]
    reason = "a report of device 'a' on the topic of 'b'"
    data = encode_ack(Ack("worker", {}, refusals(cells, Code.DEVICE, reason)))
    assert data.count(reason.encode()) == 1
    assert len(data) < 100 * 6 + 200
    assert len(decode_ack(data).refused) == 100


def test_keys_of_a_later_version_are_ignored() -> None:
    report = msgspec.msgpack.decode(encode_report(a_report()))
    report[6][0][-1] = {"exemplars": [1, 2]}
    report[-1] = {"config": "ab"}
    assert decode_report(msgspec.msgpack.encode(report)) == a_report()
    ack = msgspec.msgpack.decode(encode_ack(Ack("worker", {}, store="a1")))
    ack[-1] = {"wait": 3}
    assert decode_ack(msgspec.msgpack.encode(ack)) == Ack("worker", {}, store="a1")


def test_a_code_of_a_later_version_keeps_its_words() -> None:
    refused = (Refusal(PRODUCER, 9, 1, Code.LIMIT, "full"),)
    data = encode_ack(Ack("worker", {}, refused)).replace(b"\xa5limit", b"\xa5other")
    (found,) = decode_ack(data).refused
    assert (found.code, found.reason) == (Code.DEFECT, "full")


def test_a_run_may_be_a_number() -> None:
    report = msgspec.msgpack.decode(encode_report(a_report()))
    report[-2] = 2**62
    assert decode_report(msgspec.msgpack.encode(report)).run == str(2**62)


def test_a_cell_opens_as_it_was_sealed() -> None:
    cell = unseal(a_cell())
    assert (cell.stats.count, cell.coverage.matched) == (3, 3)
    assert seal(cell) == a_cell()


@pytest.mark.parametrize(
    ("window", "model"),
    [((1, 60), "m"), ((0, 61), "m"), ((-60, 60), "m"), ((2**40, 60), "m"), ((0, 60), "")],
)
def test_a_cell_of_no_window_or_model_is_refused(window: tuple[int, int], model: str) -> None:
    cell = a_cell()._replace(window=Window(*window), series=Series(model))
    with pytest.raises(CellError) as refused:
        check(cell)
    assert refused.value.code == ("name" if window == (0, 60) else "window")


def test_sizes_are_estimated_from_above() -> None:
    empty = len(encode_report(Report("d", 0, True, (), {})))
    for cell in (a_cell(), a_cell(2**62), a_cell(samples=0), a_cell(samples=5_000)):
        assert len(encode_report(Report("d", 0, True, (cell,), {}))) <= empty + sealed_size(cell)


@pytest.mark.parametrize("decode", [decode_report, decode_ack, decode_presence])
@pytest.mark.parametrize("data", [b"", b"\xc1", b"{}", b"[" * 5_000, b"\x91" * 5_000, b"\xff" * 99])
def test_junk_is_a_typed_error(decode: object, data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


def test_messages_are_called_by_their_names() -> None:
    for decode, name in ((decode_report, "a report"), (decode_ack, "an ack")):
        with pytest.raises(WireError, match=f"^not {name}: "):
            decode(b"{}")


def test_a_report_too_long_is_refused_unread() -> None:
    with pytest.raises(WireError, match="at most 65536"):
        decode_report(b"\x90" * (REPORT_BYTES_MAX + 1))


def test_a_newer_protocol_is_told_apart() -> None:
    with pytest.raises(WireError, match="protocol is 2"):
        decode_report(msgspec.msgpack.encode([2, "device", 0]))
    newer = msgspec.msgpack.decode(encode_report(a_report()))
    with pytest.raises(WireError, match="of protocol 2"):
        decode_report(msgspec.msgpack.encode([2, *newer[1:]]))


def test_a_cell_that_points_outside_the_tables_is_refused() -> None:
    report = msgspec.msgpack.decode(encode_report(a_report()))
    report[6][0][0] = 77
    with pytest.raises(WireError, match="beyond its 2"):
        decode_report(msgspec.msgpack.encode(report))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_the_typed_error(data: bytes) -> None:
    for decode in (decode_report, decode_ack, decode_presence):
        try:
            decode(data)
        except WireError as error:
            assert str(error)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_mutated_messages_raise_only_the_typed_error(data: st.DataObject) -> None:
    refused = (Refusal(PRODUCER, 9, 1, Code.WINDOW, "why"),)
    ack = encode_ack(Ack("worker", {Identity(PRODUCER, 0): 4}, refused))
    original, decode = data.draw(
        st.sampled_from([(encode_report(a_report()), decode_report), (ack, decode_ack)])
    )
    mutated = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        mutated[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(mutated)))
    for damaged in (bytes(mutated), bytes(mutated[:cut])):
        try:
            message = decode(damaged)
        except WireError:
            continue
        for cell in getattr(message, "cells", ()):
            try:
                check(cell)
            except StateError as error:
                assert str(error)


def test_the_vectors_of_the_documentation_hold() -> None:
    text = WIRE_MD.read_text()
    vectors = dict(re.findall(r"<!-- vector: (\w+) -->\n```\n([0-9a-f\s]+)```", text))
    one = Report("device 7", 1_767_225_661_250, True, (a_cell(),), {"samples": 3}, "00ff")
    assert bytes.fromhex(vectors["report"]) == encode_report(one)
    ack = Ack(
        "worker", {Identity(PRODUCER, 0): 4}, (Refusal(PRODUCER, 9, 1, Code.WINDOW, "why"),), "a1"
    )
    assert bytes.fromhex(vectors["ack"]) == encode_ack(ack)
