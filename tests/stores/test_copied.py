"""PostgreSQL's binary COPY format: what it holds comes out, what is cut or altered is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemse.errors import CorruptStateError, StateError
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stores.copied import copied_histograms, copied_numbers

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = struct.pack(">h", -1)


def row(*fields: bytes | None) -> bytes:
    parts = [struct.pack(">h", len(fields))]
    for field in fields:
        parts.append(struct.pack(">i", -1 if field is None else len(field)))
        parts.append(field or b"")
    return b"".join(parts)


def messages(*rows: bytes) -> list[bytes]:
    """Return them as the server sends them: the header before the first row."""
    first, *others = rows or (b"",)
    return [HEAD + first, *others, END]


def counted(*errors: float) -> ResidualHistogram:
    histogram = ResidualHistogram()
    for error in errors:
        histogram.update(error)
    return histogram


GROUPED = st.lists(
    st.tuples(
        st.sampled_from([(b"a", b""), (b"", b"a"), (b"a", None), (None, b"a"), (b"ab", b"c")]),
        st.none() | st.lists(st.floats(-10, 10), max_size=4),
    ),
    max_size=20,
)


@given(GROUPED, st.booleans())
def test_histograms_are_merged_by_the_bytes_of_their_keys(
    drawn: list[tuple[tuple[bytes | None, ...], list[float] | None]], together: bool
) -> None:
    rows = [row(*key, None if e is None else counted(*e).to_bytes()) for key, e in drawn]
    sent = messages(*rows)
    want: dict[tuple[bytes | None, ...], ResidualHistogram | None] = {}
    for key, errors in drawn:
        held = want.setdefault(key, ResidualHistogram())
        if errors is None or held is None:
            want[key] = None
        else:
            held.merge(counted(*errors))
    got = copied_histograms([b"".join(sent)] if together else sent, 2)
    assert got == want
    assert list(got) == list(want)


def test_without_keys_all_rows_are_one_group() -> None:
    assert copied_histograms(messages(), 0) == {}
    sent = messages(row(counted(1.0).to_bytes()), row(counted(2.0, -3.0).to_bytes()))
    assert copied_histograms(map(memoryview, sent), 0) == {(): counted(1.0, 2.0, -3.0)}


NUMBERS = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats()), max_size=20)


@given(NUMBERS)
def test_numbers_come_out_to_the_bit(drawn: list[tuple[int, float]]) -> None:
    rows = [row(struct.pack(">q", integer), struct.pack(">d", real)) for integer, real in drawn]
    integers, reals = copied_numbers(messages(*rows), 2)
    assert np.frombuffer(integers, np.int64).tolist() == [integer for integer, _ in drawn]
    want = np.array([real for _, real in drawn], dtype=np.float64)
    assert np.frombuffer(reals, np.float64).tobytes() == want.tobytes()


def test_many_rows_come_out() -> None:
    rows = [row(struct.pack(">q", number)) for number in range(5_000)]
    (column,) = copied_numbers(messages(*rows), 1)
    assert np.frombuffer(column, np.int64).tolist() == list(range(5_000))


READERS: dict[str, Callable[[list[bytes]], object]] = {
    "histograms": lambda sent: copied_histograms(sent, 1),
    "numbers": lambda sent: copied_numbers(sent, 2),
}
GOOD = row(bytes(8), bytes(8))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ([], "end before their end mark"),
        ([HEAD], "end before their end mark"),
        ([END], "do not begin"),
        ([HEAD[:-1] + b"\x01" + END], "do not begin"),
        ([HEAD + row(bytes(8)), END], "another number of columns"),
        ([HEAD + row(*[bytes(8)] * 3), END], "another number of columns"),
        ([HEAD + struct.pack(">hi", 2, -2)], "cut off"),
        ([HEAD + struct.pack(">hi", 2, 2**31 - 1)], "cut off"),
        ([HEAD + END, GOOD], "after their end"),
        ([HEAD + END + b"\0"], "after their end"),
    ],
)
def test_what_is_not_in_the_format_is_refused(reader: str, sent: list[bytes], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        READERS[reader](sent)


@pytest.mark.parametrize("reader", READERS)
def test_a_row_that_is_cut_anywhere_is_refused(reader: str) -> None:
    whole = row(struct.pack(">q", 7), counted(1.0).to_bytes() if reader == "histograms" else GOOD)
    for size in range(1, len(whole)):
        with pytest.raises(ValueError, match="cut off"):
            READERS[reader]([HEAD, whole[:size]])


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_read_or_refused(data: bytes) -> None:
    for read in READERS.values():
        for sent in ([data], [HEAD + data], [HEAD + GOOD, data]):
            try:
                read(sent)
            except ValueError as error:
                assert str(error)


def test_values_that_are_none_are_refused() -> None:
    for fields in ((None, bytes(8)), (bytes(8), bytes(4))):
        with pytest.raises(ValueError, match=r"column \d of row 1 is null, or no number"):
            copied_numbers(messages(GOOD, row(*fields)), 2)
    with pytest.raises(CorruptStateError, match=r"the histogram of group .* in row 1"):
        copied_histograms(messages(row(b"a", counted(1.0).to_bytes()), row(b"a", b"\x41")), 1)


@pytest.mark.parametrize("columns", [-1, 64, 65])
def test_only_so_many_columns_are_read(columns: int) -> None:
    with pytest.raises(ValueError, match="wanted 0 to 63"):
        copied_histograms(messages(), columns)
    with pytest.raises(ValueError, match="wanted 1 to 64"):
        copied_numbers(messages(), columns if columns != 64 else 0)


def test_an_error_of_who_sends_comes_through() -> None:
    def sending() -> Iterator[bytes]:
        yield HEAD + GOOD
        raise ConnectionError("gone")

    for read in (copied_histograms, copied_numbers):
        with pytest.raises((ConnectionError, StateError), match=r"gone|histogram"):
            read(sending(), 2 if read is copied_numbers else 1)
