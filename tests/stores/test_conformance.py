"""What every engine does: the same tests over each of support.engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.cells import batch, cell, filled, offered, producer
from support.engines import Factory

from edgemse import Coverage
from edgemse.cells import Cell, Identity, seal
from edgemse.errors import StoreError
from edgemse.presence import Attribute, Presence
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stats.moments import Moments
from edgemse.stores import (
    Batch,
    DevicePresence,
    DeviceReport,
    Quarantined,
    Selection,
    Store,
    Writing,
)
from edgemse.stores.statements import CENSUS, LABELS, ONLINE
from edgemse.stores.tables import CELLS, COVERAGE_COLUMNS, QUARANTINE

HOUR = 3_600
BAD = Quarantined("pi-1", "no time", "no", 1, b"")  # type: ignore[arg-type]
"""No store can write it."""


class Clock:
    time = 1_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(engine: Factory, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = engine(tmp_path, clock)
    yield store
    store.close()


def rows(store: Store, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    with store.reading() as reading:
        return reading.rows(sql, parameters).rows


def stored(store: Store, identity: Identity) -> tuple[int, ErrorStats, Coverage]:
    names = ", ".join(CELLS.columns)
    with store.reading() as reading:
        sql = f"SELECT {names} FROM cells WHERE producer = ? AND sequence = ?"
        (row,) = reading.rows(sql, tuple(identity)).named()
    moments = Moments(*(row[name] for name in Moments._fields))
    histogram = ResidualHistogram.from_bytes(row["histogram"])
    coverage = Coverage.from_row(tuple(row[name] for name in COVERAGE_COLUMNS))
    return row["revision"], ErrorStats.from_moments(moments, histogram), coverage


def test_a_cell_comes_back_to_the_bit(store: Store) -> None:
    coverage = Coverage()
    coverage.predictions += 3
    coverage.match(1500)
    stats = filled(7, offset=1e12)
    stats.update(float("nan"), 1.0)
    stats.update(0.0, 1e300)
    whole = cell(coverage=coverage, stats=stats)
    empty = cell(2, stats=ErrorStats())
    assert store.commit(batch(whole, empty)) == {whole.identity: 1, empty.identity: 1}
    assert stored(store, whole.identity) == (1, stats, coverage)
    assert stored(store, whole.identity)[1].to_bytes() == stats.to_bytes()
    assert stored(store, empty.identity) == (1, ErrorStats(), Coverage())


def test_only_a_higher_revision_replaces(store: Store) -> None:
    second = cell(revision=2)
    store.commit(batch(second))
    for revision in (1, 2):
        other = cell(revision=revision, stats=filled(99))
        assert store.commit(batch(other)) == {other.identity: 2}
    assert stored(store, second.identity)[:2] == (2, second.stats)
    third = cell(revision=3, final=True)
    assert store.commit(batch(third, device="renamed")) == {third.identity: 3}
    assert stored(store, second.identity)[:2] == (3, third.stats)
    assert rows(store, "SELECT device, final FROM cells") == [("renamed", True)]


def test_the_highest_of_one_batch_wins(store: Store) -> None:
    cells = [cell(revision=revision) for revision in (2, 5, 3, 5)]
    assert store.commit(batch(*cells)) == {cells[0].identity: 5}
    assert stored(store, cells[0].identity)[:2] == (5, cells[1].stats)


offers = st.lists(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(1, 6)), max_size=8),
    max_size=6,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=offers)
def test_any_order_of_offers_ends_the_same(
    store: Store, batches: list[list[tuple[int, int, int]]]
) -> None:
    with store.writing() as writing:
        writing.execute("DELETE FROM cells")
    highest: dict[Identity, int] = {}
    for each in batches:
        cells = [cell(*numbers) for numbers in each]
        for one in cells:
            highest[one.identity] = max(one.revision, highest.get(one.identity, 0))
        held = store.commit(batch(*cells))
        assert held == {one.identity: highest[one.identity] for one in cells}
    found = rows(store, "SELECT producer, sequence, revision FROM cells")
    assert {Identity(p, s): r for p, s, r in found} == highest  # type: ignore[arg-type]


def test_the_producers_of_cells_are_written_down_once(store: Store) -> None:
    store.commit(batch(cell(1, 0), cell(1, 1), cell(2, 0)))
    store.commit(batch(cell(1, 2)))
    found = rows(store, "SELECT producer FROM producers ORDER BY producer")
    assert found == [(producer(1),), (producer(2),)]


def test_a_producer_of_a_second_device_is_written_down(store: Store) -> None:
    store.commit(batch(cell(1), cell(2)))
    both = Batch(cells=offered(("b", cell(1, 1)), ("pi-1", cell(1, 1))))
    for again in (batch(cell(1, 1, 2), device="b"), both, batch(cell(2, 5))):
        store.commit(again)
    assert rows(store, "SELECT producer, device FROM renames") == [(producer(1), "b")]
    found = rows(store, "SELECT producer, device FROM producers ORDER BY producer")
    assert found == [(producer(1), "pi-1"), (producer(2), "pi-1")]


def test_what_people_change_of_producers_counts_from_then_on(store: Store) -> None:
    store.commit(batch(cell(1)))
    with store.writing() as writing:
        writing.execute("UPDATE producers SET device = 'pump'")
    store.commit(batch(cell(1, 1), device="pump"))
    assert rows(store, "SELECT producer, device FROM renames") == []
    with pytest.raises(StoreError):
        store.commit(Batch(cells=offered(("pump", cell(2))), quarantined=[BAD]))
    store.commit(batch(cell(2), device="pump"))
    assert rows(store, "SELECT count(*) FROM producers") == [(2,)]


def test_series_are_written_down_once(store: Store) -> None:
    first, second = cell().series, cell().series._replace(segment="night")
    for second_time, number in ((first, 1), (second, 2)):
        cells = offered(("pi-1", cell(number)))
        store.commit(Batch(series=[("pi-1", first), ("pi-1", second_time)], cells=cells))
    found = rows(store, "SELECT device, model, segment FROM series ORDER BY segment")
    assert found == [("pi-1", "model", ""), ("pi-1", "model", "night")]


def said(run: str, at_ms: int = 0, refused: int = 0) -> DeviceReport:
    return DeviceReport("pi-1", at_ms, at_ms, True, {}, run, refused)


def test_two_boards_of_one_name_are_seen_and_a_restart_is_none(store: Store) -> None:
    seen = "SELECT report_run, runs_returned, run_returned_ms FROM devices"
    for reports in (["a"], ["a", "b"], ["b", "c"], ["", "c"]):
        store.commit(Batch(reports=[said(run) for run in reports]))
    assert rows(store, seen) == [("c", 0, 0)]
    store.commit(Batch(reports=[said("d", 10), said("c", 20), said("d", 30)]))
    store.commit(Batch(reports=[said("c", 40)]))
    assert rows(store, seen) == [("c", 3, 40)]


def test_refusals_are_counted_by_device(store: Store) -> None:
    store.commit(Batch(presences=[birth("a")]))
    store.commit(Batch(reports=[said("a", refused=2), said("a")]))
    store.commit(Batch(reports=[said("a", refused=3)]))
    assert rows(store, "SELECT cells_refused FROM devices") == [(5,)]


def birth(run: str, received: int = 0, **attributes: str) -> DevicePresence:
    said = {name: Attribute(value) for name, value in attributes.items()}
    presence = Presence(online=True, software="edgemse 1", run=run, attributes=said)
    return DevicePresence("pi-1", received * 1_000, presence)


def will(run: str, received: int = 0) -> DevicePresence:
    presence = Presence(online=False, software="edgemse 1", run=run)
    return DevicePresence("pi-1", received * 1_000, presence)


def test_labels_are_added_up_though_no_integer_holds_them(store: Store) -> None:
    assert rows(store, LABELS) == [(0, 0, 0, 0, 0)]
    coverage = Coverage()
    coverage.predictions, coverage.expired, coverage.orphan = 2**62, 2**62, 7
    cells = [cell(number, coverage=coverage) for number in (1, 2, 3)]
    store.commit(batch(*cells, device="pi-1"))
    assert rows(store, LABELS) == [(0, 21, 0, 0, 2**63 - 1)]


def test_a_twin_that_ends_does_not_show_the_other_offline(store: Store) -> None:
    def online(*presences: DevicePresence, reports: tuple[DeviceReport, ...] = ()) -> bool:
        store.commit(Batch(presences=list(presences), reports=list(reports)))
        ((answer,),) = rows(store, f"SELECT {ONLINE} FROM devices")
        assert rows(store, CENSUS, 0)[0][1] == answer
        return bool(answer)

    assert online(birth("a", 1), birth("b", 2), reports=(said("a", 1_500), said("b", 2_500)))
    assert not online(will("b", 3))
    assert not online(reports=(said("b", 4_000),))  # on its way when the will was sent
    assert online(reports=(said("a", 5_000),))
    assert not online(will("a", 6))
    assert online(birth("b", 7))
    assert online(will("a", 8))


def test_devices_keep_the_last_report_and_their_present_run(store: Store) -> None:
    report = DeviceReport("pi-1", 5_000, 4_900, True, {"lines": 3})
    store.commit(Batch(reports=[report], presences=[birth("run-2", site="north")]))
    store.commit(Batch(presences=[will("run-1")]))
    asked = "SELECT online, run, health, report_received_ms FROM devices"
    assert rows(store, asked) == [(True, "run-2", '{"lines": 3}', 5_000)]
    later = report._replace(received_ms=6_000)
    store.commit(Batch(presences=[birth("run-2"), will("run-2")], reports=[later]))
    assert rows(store, asked) == [(False, "run-2", '{"lines": 3}', 6_000)]
    store.commit(Batch(presences=[birth("run-3"), will("run-2")]))
    assert rows(store, asked)[0][:2] == (True, "run-3")


def test_a_pump_that_moves_keeps_the_figures_of_its_old_site(store: Store) -> None:
    store.commit(Batch(presences=[birth("a", 10 * HOUR, site="north")]))
    moved = birth("b", 12 * HOUR + 600, site="south")
    store.commit(Batch(presences=[moved, will("a"), moved]))
    history = "SELECT value, since_seconds, until_seconds FROM attributes ORDER BY since_seconds"
    assert rows(store, history) == [("north", 0, 13 * HOUR), ("south", 13 * HOUR, 2**62)]
    site = (
        "SELECT value FROM attributes WHERE device = ? AND name = 'site'"
        " AND since_seconds <= ? AND ? < until_seconds"
    )
    for start, value in ((9 * HOUR, "north"), (12 * HOUR, "north"), (13 * HOUR, "south")):
        assert rows(store, site, "pi-1", start, start) == [(value,)]


def test_a_batch_that_fails_writes_nothing(store: Store) -> None:
    store.commit(batch(cell()))
    with pytest.raises(StoreError, match="cannot be written"):
        store.commit(Batch(cells=offered(("pi-1", cell(3))), quarantined=[BAD]))
    counted = "SELECT count(*), (SELECT count(*) FROM producers) FROM cells"
    assert rows(store, counted) == [(1, 1)]
    store.commit(batch(cell(3)))
    assert rows(store, counted) == [(2, 2)]


def test_a_reader_sees_one_moment(store: Store) -> None:
    store.commit(batch(cell()))
    with store.reading() as reading:
        assert reading.rows("SELECT count(*) FROM cells").rows == [(1,)]
        store.commit(batch(cell(2)))
        assert reading.rows("SELECT count(*) FROM cells").rows == [(1,)]
    assert rows(store, "SELECT count(*) FROM cells") == [(2,)]


def many(store: Store, count: int = 10_000) -> None:
    row = ("pi-1", 0, "no", 1, b"", "")
    with store.writing() as writing:
        writing.put(QUARANTINE, [row] * count)


def test_a_question_inside_another_cuts_nothing_off(store: Store) -> None:
    many(store)
    with store.reading() as reading:
        outer = reading.rows("SELECT id, reason FROM quarantine ORDER BY id")
        assert outer.names == ("id", "reason")
        seen = 0
        for _ in outer:
            if not seen % 1_000:
                assert len(reading.rows("SELECT 1 FROM quarantine")) == 10_000
            seen += 1
    assert seen == len(outer) == 10_000
    assert next(outer.named())["reason"] == "no"


def by_device(cells: str = "cells") -> Selection:
    return Selection(f"SELECT device AS g1, cells.* FROM {cells}", (), 1)


def test_histograms_are_merged_by_group(store: Store) -> None:
    mine = [cell(1, sequence) for sequence in range(30)]
    theirs = [cell(2, sequence) for sequence in range(3)]
    store.commit(batch(*mine))
    store.commit(batch(*theirs, device="pi-2"))

    def merged(cells: list[Cell]) -> ResidualHistogram | None:
        return merge_all(each.stats for each in cells).histogram

    with store.reading() as reading:
        found = reading.histograms(by_device())
        assert found == {("pi-1",): merged(mine), ("pi-2",): merged(theirs)}
        lags = reading.histograms(by_device(), "lag_histogram")
        assert lags == {("pi-1",): ResidualHistogram(), ("pi-2",): ResidualHistogram()}
        assert reading.histograms(by_device("cells WHERE device = 'pi-3'")) == {}
        of_one = Selection("SELECT cells.* FROM cells WHERE device = ?", ("pi-2",), 0)
        assert reading.histograms(of_one) == {(): merged(theirs)}
        known = Selection("SELECT device AS g1, cells.* FROM cells WHERE device = ?", ("pi-1",), 1)
        assert reading.histograms(known) == {("pi-1",): merged(mine)}


def test_a_group_with_a_cell_without_a_histogram_has_none(store: Store) -> None:
    cells = offered(("pi-1", cell(1, 0)))
    bare = seal(cell(1, 1))._replace(state=cell(1, 1).stats.to_bytes(histogram=False))
    cells.take_sealed("pi-1", bare)
    cells.take_sealed("pi-2", seal(cell(2, 0, stats=ErrorStats())))
    cells.take_sealed("pi-2", seal(cell(2, 1)))
    store.commit(Batch(cells=cells))
    with store.reading() as reading:
        found = reading.histograms(by_device())
    assert found == {("pi-1",): None, ("pi-2",): cell(2, 1).stats.histogram}


def test_what_is_written_is_there_whole_or_not_at_all(store: Store) -> None:
    def note(writing: Writing, device: str) -> None:
        writing.put(QUARANTINE, [(device, 0, "no", 1, b"", "")])

    with store.writing() as writing:
        note(writing, "a")
        note(writing, "a")
        changed = "UPDATE quarantine SET reason = ? WHERE device = ?"
        assert writing.execute(changed, ("why", "a")) == 2
        assert writing.rows("SELECT reason FROM quarantine").rows == [("why",)] * 2

    def fail(sql: str) -> None:
        with store.writing() as writing:
            note(writing, "b")
            writing.execute(sql)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail("DELETE FROM quarantine")
    with pytest.raises(StoreError, match="cannot be written"):
        fail("INSERT INTO nowhere VALUES (1)")
    assert rows(store, "SELECT DISTINCT device FROM quarantine") == [("a",)]


def test_one_thread_writes_at_a_time(store: Store) -> None:
    def commit(number: int) -> None:
        for sequence in range(20):
            store.commit(batch(cell(number, sequence)))

    threads = [Thread(target=commit, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(store, "SELECT count(*) FROM cells") == [(60,)]


def test_a_lease_belongs_to_one_until_it_runs_out(store: Store, clock: Clock) -> None:
    assert store.lease("rollups", "a", 60)
    assert not store.lease("rollups", "b", 60)
    assert store.lease("retention", "b", 60)
    clock.time += 59
    assert store.lease("rollups", "a", 60)
    clock.time += 59
    assert not store.lease("rollups", "b", 60)
    clock.time += 1
    assert store.lease("rollups", "b", 60)
    assert not store.lease("rollups", "a", 60)


def test_a_store_has_a_name_that_it_keeps(engine: Factory, tmp_path: Path, clock: Clock) -> None:
    names = []
    for folder in ("a", "a", "b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        store = engine(tmp_path / folder, clock)
        names.append(store.id)
        store.close()
    assert names[0] == names[1] != names[2]
    assert len(names[0]) == 16


def test_numbers_come_back_as_arrays(store: Store) -> None:
    store.commit(batch(cell(1), cell(2), cell(3)))
    asked = "SELECT sequence, count, mean FROM cells WHERE revision = ? ORDER BY producer"
    with store.reading() as reading:
        sequence, count, mean = reading.arrays(asked, (1,))
        assert [sequence.tolist(), count.tolist()] == [[0, 0, 0], [20, 20, 20]]
        assert mean.tolist() == [row[2] for row in reading.rows(asked, (1,))]
        assert (sequence.dtype, mean.dtype) == ("int64", "float64")
        assert [len(column) for column in reading.arrays(asked, (9,))] == [0, 0, 0]
