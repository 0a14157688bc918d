from __future__ import annotations

import gc
import sys
from pathlib import Path

import duckdb
import polars
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cells import cell, filled

from edgemse import Coverage
from edgemse.cells import Cell, seal
from edgemse.errors import CorruptStateError, StateError, StoreError
from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.parts import split_coverage, split_state
from edgemse.stores import Batch, Offered
from edgemse.stores.arrow import Columns
from edgemse.stores.duckdb import DuckDBStore
from edgemse.stores.tables import CELLS, QUARANTINE

KINDS = {
    "whole": "BIGINT",
    "real": "DOUBLE PRECISION",
    "truth": "BOOLEAN",
    "text": "TEXT",
    "raw": "BYTEA",
}
WHOLE = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ROWS = st.lists(
    st.tuples(
        WHOLE | st.none(),
        st.floats(allow_nan=False) | st.none(),
        st.booleans() | st.none(),
        TEXT | st.none(),
        st.binary(max_size=300) | st.none(),
    ),
    max_size=200,
)


def arrow_rows(columns: Columns) -> list[tuple[object, ...]]:
    table = pyarrow.table(columns)
    table.validate(full=True)
    return list(zip(*table.to_pydict().values(), strict=True)) if len(table) else []


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_rows_come_back_by_every_way(rows: list[tuple[object, ...]]) -> None:
    columns = Columns(KINDS, rows)
    assert len(columns) == len(rows)
    assert list(columns) == rows
    assert arrow_rows(columns) == rows
    assert polars.DataFrame(columns).rows() == rows
    with duckdb.connect() as connection:
        connection.register("given", columns)
        assert connection.execute("SELECT * FROM given").fetchall() == rows


@settings(max_examples=40, deadline=None)
@given(ROWS, st.data())
def test_chosen_rows_are_copied_in_the_order_given(
    rows: list[tuple[object, ...]], data: st.DataObject
) -> None:
    columns = Columns(KINDS, rows)
    places = data.draw(st.lists(st.integers(0, len(rows) - 1))) if rows else []
    chosen = columns.only(places)
    assert list(chosen) == arrow_rows(chosen) == [rows[place] for place in places]
    chosen = columns.only(reversed(range(len(rows))))
    assert list(chosen) == rows[::-1]
    texts = [f"pi-{place}" for place in range(len(rows))]
    named = columns.only(range(len(rows)), {"text": texts})
    wanted = [(*row[:3], text, row[4]) for row, text in zip(rows, texts, strict=True)]
    assert list(named) == arrow_rows(named) == wanted
    for wrong in ([*texts, "more"], texts[1:] if rows else ["more"]):
        with pytest.raises(ValueError, match="values of text than rows"):
            columns.only(range(len(rows)), {"text": wrong})
    with pytest.raises(IndexError, match="row"):
        columns.only([len(rows)])


GOOD = (1, 0.5, True, "a", b"\0")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, "1", "column whole"),
        (0, 2**63, "column whole"),
        (1, "x", "column real"),
        (2, 1, "column truth: 1 is neither"),
        (3, b"x", "column text"),
        (3, "\ud800", "column text"),
        (4, "x", "column raw: 'x' is no bytes"),
    ],
)
def test_a_value_that_does_not_fit_adds_nothing(place: int, value: object, words: str) -> None:
    columns = Columns(KINDS, [GOOD])
    bad = [None] * 5
    bad[place] = value  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=words):
        columns.append(tuple(bad))
    with pytest.raises(ValueError, match="a row of 4 values"):
        columns.append(GOOD[:4])
    columns.append(GOOD)
    assert arrow_rows(columns) == [GOOD, GOOD]
    assert pyarrow.table(columns)["whole"].null_count == 0


def test_what_was_handed_over_stays_as_it_is() -> None:
    columns = Columns(KINDS, [GOOD])
    table = pyarrow.table(columns)
    with pytest.raises(ValueError, match="handed over"):
        columns.append(GOOD)
    with pytest.raises(ValueError, match="no row"):
        columns.drop_last()
    held = sys.getrefcount(columns)
    del columns
    gc.collect()
    assert table.to_pylist() == [dict(zip(KINDS, GOOD, strict=True))]
    assert held > 2


def test_a_stream_that_nobody_reads_holds_nothing_back() -> None:
    columns = Columns(KINDS, [GOOD] * 100)
    before = sys.getrefcount(columns)
    for _ in range(10):
        columns.__arrow_c_stream__()
        arrow_rows(columns)
    gc.collect()
    assert sys.getrefcount(columns) == before


def cells_of(*cells: Cell) -> Columns:
    offered = Offered()
    for each in cells:
        offered.take_sealed("pi-1", seal(each))
    return offered.rows


def row_of(each: Cell) -> tuple[object, ...]:
    """The same by the functions that make objects."""
    sealed = seal(each)
    moments, histogram = split_state(sealed.state)
    head = (*each.identity, each.revision, each.final, "pi-1", *each.series, *each.window)
    return (*head, *moments, histogram or None, *split_coverage(sealed.coverage or b""))


def test_a_cell_becomes_the_columns_that_its_parts_are() -> None:
    labelled = Coverage()
    labelled.predictions += 7
    labelled.match(1500)
    labelled.match(0)
    odd = filled(3, offset=1e12)
    odd.update(float("nan"), 1.0)
    odd.update(0.0, 1e300)
    odd.update(1.0, 3.0, 0.25)
    some = [
        cell(1),
        cell(2, stats=ErrorStats()),
        cell(3, stats=odd, coverage=labelled, final=True),
        *(cell(4, sequence, stats=filled(sequence, 60)) for sequence in range(200)),
    ]
    rows = cells_of(*some)
    assert list(rows) == [row_of(each) for each in some]
    assert arrow_rows(rows) == list(rows)


def test_a_state_without_a_histogram_leaves_its_column_empty() -> None:
    offered = Offered()
    bare = seal(cell())._replace(state=filled(1).to_bytes(histogram=False))
    offered.take_sealed("pi-1", bare)
    (row,) = offered.rows
    assert row[list(CELLS.columns).index("histogram")] is None


def test_the_highest_of_what_a_cell_counts() -> None:
    covered = Coverage()
    covered.predictions, covered.orphan = 50, 70
    wrong = ErrorStats()
    for _ in range(30):
        wrong.update(float("nan"), 0.0)
    take = Offered().take_sealed
    assert take("pi-1", seal(cell(stats=filled(1, 60)))) == 60
    assert take("pi-1", seal(cell(stats=filled(1, 60), coverage=covered))) == 70
    assert take("pi-1", seal(cell(stats=wrong))) == 30
    assert take("pi-1", seal(cell(stats=ErrorStats()))) == 0


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_cell_that_is_none_adds_nothing(cut: int) -> None:
    good = seal(cell())
    offered = Offered()
    offered.take_sealed("pi-1", good)
    wrong = good._replace(state=good.state[:cut])
    for bad in (wrong, good._replace(coverage=b"\x01")):
        with pytest.raises(StateError) as refused:
            offered.take_sealed("pi-1", bad)
        with pytest.raises(type(refused.value)) as wanted:
            (split_state(bad.state), split_coverage(bad.coverage or b""))
        assert str(refused.value) == str(wanted.value)
    assert len(offered) == len(offered.rows) == 1
    offered.take_sealed("pi-1", good)
    offered.drop_last()
    assert list(offered.rows) == [row_of(cell())]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3),
)
def test_altered_bytes_are_refused_as_the_parts_refuse_them(
    seed: int, changes: list[tuple[int, int]]
) -> None:
    raw = bytearray(filled(seed).to_bytes())
    for at, change in changes:
        raw[at % len(raw)] ^= change
    sealed = seal(cell())._replace(state=bytes(raw))
    offered = Offered()
    try:
        moments, histogram = split_state(sealed.state)
    except StateError as error:
        with pytest.raises(type(error)) as refused:
            offered.take_sealed("pi-1", sealed)
        assert str(refused.value) == str(error)
        return
    offered.take_sealed("pi-1", sealed)
    (row,) = offered.rows
    assert row[12:34] == (*moments, histogram or None)


def test_only_a_table_of_cells_takes_cells() -> None:
    sealed = seal(cell())
    with pytest.raises(ValueError, match="before a state"):
        Columns(QUARANTINE.columns).append_cell(("pi-1",), sealed.state, b"")
    with pytest.raises(ValueError, match="before a state"):
        Columns(CELLS.columns).append_cell((), sealed.state, b"")
    with pytest.raises(CorruptStateError):
        Columns(CELLS.columns).append_cell(("x",) * 12, b"\x01", b"")


def test_a_value_that_does_not_fit_is_an_error_of_the_store(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "fleet.duckdb")
    with (
        pytest.raises(StoreError, match="quarantine cannot be written: column received_ms"),
        store.writing() as writing,
    ):
        writing.put(QUARANTINE, [("pi-1", "now", "no", 1, b"", "")])
    offered = Offered()
    offered.take_sealed("pi-1", seal(cell()))
    for _ in range(2):  # a commit that failed is tried again with the same rows
        assert store.commit(Batch(cells=offered)) == {cell().identity: 1}
    store.close()
