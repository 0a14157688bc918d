"""The DuckDB file: kills, locks, versions, files of others."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from support.cells import batch, cell

from edgemse.cells import Identity
from edgemse.errors import (
    StoreError,
    StoreLockedError,
    StoreUnreachableError,
    StoreVersionError,
)
from edgemse.stores import Quarantined, Store, open_store
from edgemse.stores.duckdb import DuckDBStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.duckdb"


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    with store.reading() as reading:
        return reading.rows(sql).rows


def test_what_is_committed_survives_a_kill(path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "from support.cells import batch, cell; from edgemse.stores import *\n"
        f"store = open_store({str(path)!r})\n"
        "for n in range(1, 6): store.commit(batch(*[cell(n, s) for s in range(50)]))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=root).returncode == -signal.SIGKILL
    for read_only in (True, False):
        store = open_store(path, read_only=read_only)
        assert rows(store, "SELECT count(*) FROM cells") == [(250,)]
        store.close()


def test_a_second_process_is_told_who_holds_the_file(path: Path) -> None:
    store = open_store(path)
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
    store.close()


def test_reading_never_makes_a_file(path: Path) -> None:
    with pytest.raises(StoreUnreachableError, match="does not exist"):
        open_store(path, read_only=True)
    assert not path.exists()


def test_a_store_that_must_exist_is_not_made(path: Path) -> None:
    with pytest.raises(StoreUnreachableError, match="does not exist"):
        open_store(path, must_exist=True)
    assert not path.exists()
    open_store(path).close()
    open_store(path, must_exist=True).close()


def test_a_store_of_before_devices_were_forgotten_is_brought_up(path: Path) -> None:
    store = open_store(path)
    store.commit(batch(cell()))
    store.close()
    with duckdb.connect(str(path)) as connection:
        for table in ("absorbed", "leaving", "retired", "aliases", "audit"):
            connection.execute(f"DROP TABLE {table}")
        for table in ("rollups", "touched", "days", "hours", "retained", "dependence"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DROP SEQUENCE touched_ids")
        connection.execute("DROP SEQUENCE audit_ids; DELETE FROM schema_versions WHERE version > 2")
        connection.execute("DROP TABLE copies; ALTER TABLE quarantine DROP COLUMN kind")
        connection.execute(
            "DELETE FROM counters"
            " WHERE name IN ('cells_forgotten', 'cells_absorbed', 'cells_dropped')"
        )
    with pytest.raises(StoreError, match="reading it needs 6; run this version's"):
        open_store(path, read_only=True)
    store = open_store(path)
    store.commit(batch(cell(2)))
    counts = "SELECT (SELECT count(*) FROM cells), (SELECT count(*) FROM audit)"
    assert rows(store, counts) == [(2, 0)]
    store.close()


def test_a_store_of_a_newer_version_is_left_alone(path: Path) -> None:
    open_store(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO schema_versions VALUES (99, 0)")
    for read_only in (False, True):
        with pytest.raises(StoreVersionError, match=r"version 99.*up to 6"):
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


def test_a_store_of_an_older_version_is_brought_up_with_what_it_holds(path: Path) -> None:
    store = open_store(path)
    store.commit(batch(cell()))
    store.close()
    with duckdb.connect(str(path)) as connection:
        for table in ("baselines", "model_versions", "absorbed", "leaving", "retired", "aliases"):
            connection.execute(f"DROP TABLE {table}")
        for table in ("rollups", "touched", "days", "hours", "retained", "dependence"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DROP SEQUENCE touched_ids")
        connection.execute("DROP TABLE audit; DROP SEQUENCE audit_ids")
        connection.execute("DROP TABLE copies; ALTER TABLE quarantine DROP COLUMN kind")
        connection.execute(
            "DELETE FROM counters"
            " WHERE name IN ('cells_forgotten', 'cells_absorbed', 'cells_dropped')"
        )
        connection.execute("DELETE FROM schema_versions WHERE version > 1")
    with pytest.raises(StoreError, match="version 1, reading it needs 6; run this version's"):
        open_store(path, read_only=True)
    store = open_store(path)
    counts = [f"(SELECT count(*) FROM {table})" for table in ("cells", "baselines", "audit")]
    assert rows(store, f"SELECT {', '.join(counts)}") == [(1, 0, 0)]
    store.close()


def revisions(store: DuckDBStore) -> dict[Identity, int]:
    with store.reading() as reading:
        found = reading.rows("SELECT producer, sequence, revision FROM cells")
        return {Identity(p, s): r for p, s, r in found}


@pytest.mark.parametrize("most", [1, 100_000])
def test_what_is_remembered_changes_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """New cells are inserted, those that are there compared, whatever was forgotten meanwhile."""
    monkeypatch.setattr("edgemse.stores.duckdb.OPEN_MAX", most)
    monkeypatch.setattr("edgemse.stores.engine.PRODUCERS_MAX", most)
    path = tmp_path / "fleet.duckdb"
    store = DuckDBStore(path)
    highest: dict[Identity, int] = {}
    rng = random.Random(3)
    for turn in range(60):
        if turn == 30:
            store.close()
            store = DuckDBStore(path)
        cells = []
        for _ in range(rng.randrange(1, 5)):
            revision = rng.randrange(1, 7)
            number, sequence = rng.randrange(4), rng.randrange(4)
            cells.append(cell(number, sequence, revision, final=revision == 6))
        for each in cells:
            highest[each.identity] = max(each.revision, highest.get(each.identity, 0))
        held = store.commit(batch(*cells, device=f"pi-{turn % 2}"))
        assert held == {each.identity: highest[each.identity] for each in cells}
    assert revisions(store) == highest
    with store.reading() as reading:
        known = {p for (p,) in reading.rows("SELECT producer FROM producers")}
        renamed = {p for (p,) in reading.rows("SELECT producer FROM renames")}
    assert known == renamed == {identity.producer for identity in highest}
    store.close()


def test_a_batch_of_which_one_cell_is_there_is_written_whole_and_once(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "fleet.duckdb")
    store.commit(batch(cell(1, final=True)))
    again = batch(cell(2), cell(1, final=True), cell(3))
    again.quarantined.append(Quarantined("pi-1", 0, "no", 1, b""))
    assert len(store.commit(again)) == 3
    assert len(revisions(store)) == 3
    with store.reading() as reading:
        assert reading.rows("SELECT count(*) FROM quarantine").rows == [(1,)]
        assert reading.rows("SELECT value FROM counters WHERE name = 'commits'").rows == [(2,)]
    store.close()
