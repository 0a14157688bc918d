from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.cells import cell, filled, producer

from edgemse import Coverage
from edgemse.cells import Cell, Identity
from edgemse.errors import (
    StoreError,
    StoreLockedError,
    StoreUnreachableError,
    StoreVersionError,
)
from edgemse.stats.error_stats import ErrorStats
from edgemse.stats.histogram import ResidualHistogram
from edgemse.stats.moments import Moments
from edgemse.stores import Batch, DeviceReport, DeviceState, Quarantined, Store, open_store
from edgemse.stores import duckdb as duckdb_store
from edgemse.stores.rows import CELLS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = open_store(path)
    yield store
    store.close()


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    with store.reading() as query:
        return list(query(sql, ()))


def stored(store: Store, identity: Identity) -> tuple[int, ErrorStats, Coverage]:
    names = ", ".join(["revision", *CELLS.columns])
    with store.reading() as query:
        sql = f"SELECT {names} FROM cells WHERE producer = ? AND sequence = ?"
        ((revision, *values),) = query(sql, tuple(identity))
    row = dict(zip(CELLS.columns, values, strict=True))
    moments = Moments(*(row[name] for name in Moments._fields))
    histogram = ResidualHistogram.from_bytes(row["histogram"])
    coverage = Coverage.from_row(tuple(values[-9:]))
    return revision, ErrorStats.from_moments(moments, histogram), coverage


def test_a_cell_comes_back_to_the_bit(store: Store) -> None:
    coverage = Coverage()
    coverage.predictions += 3
    coverage.match(1500)
    stats = filled(7, offset=1e12)
    stats.update(float("nan"), 1.0)
    stats.update(0.0, 1e300)
    offered = cell(coverage=coverage, stats=stats)
    empty = cell(2, stats=ErrorStats())
    assert store.commit(Batch(cells=[offered, empty])) == {offered.identity: 1, empty.identity: 1}
    assert stored(store, offered.identity) == (1, stats, coverage)
    assert stored(store, offered.identity)[1].to_bytes() == stats.to_bytes()
    assert stored(store, empty.identity) == (1, ErrorStats(), Coverage())


def test_only_a_higher_revision_replaces(store: Store) -> None:
    second = cell(revision=2)
    store.commit(Batch(cells=[second]))
    for revision in (1, 2):
        other = cell(revision=revision, stats=filled(99))
        assert store.commit(Batch(cells=[other])) == {other.identity: 2}
    assert stored(store, second.identity)[:2] == (2, second.stats)
    third = cell(revision=3, final=True, device="renamed")
    assert store.commit(Batch(cells=[third])) == {third.identity: 3}
    assert stored(store, second.identity)[:2] == (3, third.stats)
    assert rows(store, "SELECT device, final FROM cells") == [("renamed", True)]


def test_the_highest_of_one_batch_wins(store: Store) -> None:
    batch = [cell(revision=revision) for revision in (2, 5, 3, 5)]
    assert store.commit(Batch(cells=batch)) == {batch[0].identity: 5}
    assert stored(store, batch[0].identity)[:2] == (5, batch[1].stats)


offers = st.lists(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(1, 6)), max_size=8),
    max_size=6,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(offers)
def test_any_order_of_offers_ends_the_same(batches: list[list[tuple[int, int, int]]]) -> None:
    store = duckdb_store.DuckDBStore(Path(":memory:"))
    highest: dict[Identity, int] = {}
    for batch in batches:
        offered = [cell(*each) for each in batch]
        for each in offered:
            highest[each.identity] = max(each.revision, highest.get(each.identity, 0))
        held = store.commit(Batch(cells=offered))
        assert held == {each.identity: highest[each.identity] for each in offered}
    found = rows(store, "SELECT producer, sequence, revision FROM cells")
    assert {Identity(p, s): r for p, s, r in found} == highest  # type: ignore[arg-type]
    store.close()


def test_devices_keep_the_last_report_and_their_present_run(store: Store) -> None:
    report = DeviceReport("pi-1", 5_000, 4_900, True, {"lines": 3})
    birth = DeviceState("pi-1", 1_000, True, "edgemse 1", "run-2", {"site": "north", "room": "1"})
    store.commit(Batch(reports=[report], states=[birth]))
    late_will = DeviceState("pi-1", 2_000, False, "edgemse 1", "run-1", {})
    store.commit(Batch(states=[late_will]))
    assert rows(store, "SELECT online, run, health FROM devices") == [
        (True, "run-2", '{"lines": 3}')
    ]
    will = late_will._replace(run="run-2")
    store.commit(Batch(states=[birth, will], reports=[report._replace(received_ms=6_000)]))
    assert rows(store, "SELECT online, report_received_ms FROM devices") == [(False, 6_000)]
    moved = birth._replace(run="run-3", attributes={"site": "south"})
    store.commit(Batch(states=[moved, will]))
    assert rows(store, "SELECT online, run FROM devices") == [(True, "run-3")]
    assert rows(store, "SELECT name, value FROM attributes") == [("site", "south")]


def test_the_quarantine_is_bounded_and_counts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duckdb_store, "QUARANTINE_ROWS_MAX_PER_DEVICE", 3)
    monkeypatch.setattr(duckdb_store, "QUARANTINE_ROWS_MAX", 5)

    def refuse(device: str, count: int, size: int = 1) -> None:
        row = [Quarantined(device, each, "no", 2_000, b"x" * size) for each in range(count)]
        store.commit(Batch(quarantined=row))

    kept = "SELECT device, count(*) FROM quarantine GROUP BY device ORDER BY device"
    dropped = "SELECT value FROM counters WHERE name = 'quarantine_dropped'"
    refuse("a", 10)
    assert rows(store, kept) == [("a", 3)]
    assert rows(store, "SELECT min(received_ms) FROM quarantine") == [(7,)]
    refuse("b", 3)
    assert rows(store, kept) == [("a", 2), ("b", 3)]
    assert rows(store, dropped) == [(8,)]
    monkeypatch.setattr(duckdb_store, "QUARANTINE_BYTES_MAX", 100)
    refuse("c", 1, 60)
    refuse("d", 1, 60)
    assert rows(store, kept) == [("d", 1)]
    assert rows(store, dropped) == [(14,)]


def test_a_reader_sees_one_moment(store: Store) -> None:
    store.commit(Batch(cells=[cell()]))
    with store.reading() as query:
        assert list(query("SELECT count(*) FROM cells", ())) == [(1,)]
        store.commit(Batch(cells=[cell(2)]))
        assert list(query("SELECT count(*) FROM cells", ())) == [(1,)]
    assert rows(store, "SELECT count(*) FROM cells") == [(2,)]


def test_a_batch_that_fails_writes_nothing(store: Store) -> None:
    class Broken(Cell):
        @property
        def stats(self) -> ErrorStats:  # type: ignore[override]
            raise duckdb.IOException("IO Error: disk full")

    good = cell()
    store.commit(Batch(cells=[good]))
    broken = Broken.__new__(Broken)
    for name in ("identity", "revision", "final", "device", "series", "window", "coverage"):
        object.__setattr__(broken, name, getattr(cell(2), name))
    with pytest.raises(StoreError, match="cannot be written: IO Error: disk full"):
        store.commit(Batch(cells=[cell(3), broken]))
    assert rows(store, "SELECT count(*), (SELECT count(*) FROM producers) FROM cells") == [(1, 1)]
    store.commit(Batch(cells=[cell(3)]))


def test_what_is_committed_survives_a_kill(path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "from support.cells import cell; from edgemse.stores import *\n"
        f"store = open_store({str(path)!r})\n"
        "for n in range(1, 6): store.commit(Batch(cells=[cell(n, s) for s in range(50)]))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=root).returncode == -signal.SIGKILL
    for read_only in (True, False):
        store = open_store(path, read_only=read_only)
        assert rows(store, "SELECT count(*) FROM cells") == [(250,)]
        store.close()


def test_a_second_process_is_told_who_holds_the_file(path: Path, store: Store) -> None:
    script = (
        "import sys; from edgemse.errors import *; from edgemse.stores import open_store\n"
        f"try: open_store({str(path)!r}, read_only=len(sys.argv) > 1)\n"
        "except StoreLockedError as error: print(error)\n"
    )
    for arguments in ([], ["read"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True
        )
        assert f"PID {os.getpid()}" in done.stdout, done
        assert "--from http://" in done.stdout
    assert issubclass(StoreLockedError, StoreError)


def test_reading_never_makes_a_file(path: Path) -> None:
    with pytest.raises(StoreUnreachableError, match="does not exist"):
        open_store(path, read_only=True)
    assert not path.exists()


def test_a_store_of_a_newer_version_is_left_alone(path: Path) -> None:
    open_store(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO schema_versions VALUES (99, 0)")
    for read_only in (False, True):
        with pytest.raises(StoreVersionError, match=r"version 99.*up to 1"):
            open_store(path, read_only=read_only)


def test_other_files_are_refused(path: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mine (x INTEGER)")
    with pytest.raises(StoreError, match="not a store of edgemse"):
        open_store(path)
    with duckdb.connect(str(tmp_path / "empty.duckdb")):
        pass
    with pytest.raises(StoreError, match="is empty"):
        open_store(tmp_path / "empty.duckdb", read_only=True)
    (tmp_path / "text").write_text("not a database\n" * 1_000)
    with pytest.raises(StoreUnreachableError, match="cannot be opened"):
        open_store(tmp_path / "text")
    for address in ("postgresql://host/db", "mysql://host/db"):
        with pytest.raises(StoreError):
            open_store(address)


def test_the_producers_of_cells_are_written_down_once(store: Store) -> None:
    store.commit(Batch(cells=[cell(1, 0), cell(1, 1), cell(2, 0)]))
    store.commit(Batch(cells=[cell(1, 2)]))
    assert rows(store, "SELECT producer FROM producers ORDER BY producer") == [
        (producer(1),),
        (producer(2),),
    ]
