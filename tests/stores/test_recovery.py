"""A store whose log is cut, removed or damaged: what can be read is kept, what is missing said."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest
from support.cells import batch, cell

from edgemse.errors import StoreLockedError, StoreUnreachableError
from edgemse.stores import Store, open_store

COMMITS = 20
WRITE = (
    "import os, sys; sys.path.insert(0, 'tests')\n"
    "from support.cells import batch, cell; from edgemse.stores import *\n"
    "store = open_store(sys.argv[1])\n"
    f"for n in range(1, {COMMITS + 1}): store.commit(batch(*[cell(n, s) for s in range(5)]))\n"
    "os.kill(os.getpid(), 9)\n"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a log of twenty transactions of five cells, as a kill leaves it."""
    path = tmp_path_factory.mktemp("written") / "fleet.duckdb"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", WRITE, str(path)], cwd=root, timeout=60)
    assert done.returncode == -signal.SIGKILL
    return path


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    for name in (written, wal(written), count(written)):
        shutil.copy(name, tmp_path)
    return tmp_path / written.name


def wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def count(path: Path) -> Path:
    return path.with_name(path.name + ".commits")


def cells(store: Store) -> int:
    with store.reading() as reading:
        ((found,),) = reading.rows("SELECT count(*) FROM cells")
    return int(found)


def missing(store: Store) -> int:
    with store.reading() as reading:
        ((found,),) = reading.rows("SELECT value FROM counters WHERE name = 'commits_missing'")
    return int(found)


def aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.damaged-*"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def goes_on(path: Path) -> None:
    """Assert that the store takes cells and has them when it is opened again."""
    store = open_store(path)
    before = cells(store)
    store.commit(batch(cell(1_000)))
    store.close()
    store = open_store(path)
    assert cells(store) == before + 1
    store.close()


def test_a_whole_log_misses_nothing(path: Path) -> None:
    store = open_store(path)
    assert (cells(store), missing(store), aside(path)) == (5 * COMMITS, 0, [])
    store.close()
    assert int(count(path).read_text()) == COMMITS
    goes_on(path)


@pytest.mark.parametrize("seed", range(8))
def test_of_a_damaged_log_what_stands_before_the_damage_is_kept(
    path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    size = wal(path).stat().st_size
    at = random.Random(seed).randrange(200, size)
    flip(wal(path), at)
    before = (path.read_bytes(), wal(path).read_bytes())
    with suppress(StoreUnreachableError):  # a bad length DuckDB takes for the end, without a word
        open_store(path, read_only=True).close()
    assert (path.read_bytes(), wal(path).read_bytes()) == before
    with caplog.at_level(logging.ERROR):
        store = open_store(path)
    lost = COMMITS - cells(store) // 5
    assert 1 <= lost <= COMMITS * (1 - at / size) + 2
    assert missing(store) == lost
    assert f"the last {lost} transactions" in caplog.text
    store.close()
    copy, log = aside(path)
    assert (copy.read_bytes(), log.read_bytes()) == before
    assert str(copy) in caplog.text
    goes_on(path)
    store = open_store(path)
    assert missing(store) == lost
    store.close()


@pytest.mark.parametrize("at", range(0, 52, 4))
def test_a_log_whose_head_is_damaged_costs_the_log_alone(path: Path, at: int) -> None:
    whole = open_store(path, read_only=True)
    name = whole.id
    whole.close()
    flip(wal(path), at)
    store = open_store(path)
    assert store.id == name
    assert cells(store) + 5 * missing(store) == 5 * COMMITS
    store.close()
    goes_on(path)


def test_a_log_that_is_cut_or_removed_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.truncate(wal(path), wal(path).stat().st_size - 10)
    store = open_store(path)
    assert (cells(store), missing(store)) == (5 * (COMMITS - 1), 1)
    store.close()
    assert len(aside(path)) == 2


def test_a_log_that_is_removed_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wal(path).unlink()
    store = open_store(path)
    assert (cells(store), missing(store)) == (0, COMMITS)
    assert f"the last {COMMITS} transactions of the store {path} are missing" in caplog.text
    store.close()
    goes_on(path)


def test_an_older_copy_in_place_of_a_store_is_told(path: Path, tmp_path: Path) -> None:
    open_store(path).close()
    copy = tmp_path / "copy"
    shutil.copy(path, copy)
    store = open_store(path)
    store.commit(batch(cell(500)))
    store.close()
    shutil.copy(copy, path)
    store = open_store(path)
    assert missing(store) == 1
    store.close()


def test_a_file_that_is_damaged_itself_is_not_said_to_be_locked(path: Path) -> None:
    open_store(path).close()
    for at in (0, 4_100, 8_200):
        shutil.copy(path, path.with_name("damaged"))
        flip(path.with_name("damaged"), at)
        wanted = "Corrupt database file.*; the file itself is damaged.*put a copy of it in its"
        with pytest.raises(StoreUnreachableError, match=wanted) as raised:
            open_store(path.with_name("damaged"))
        assert not isinstance(raised.value, StoreLockedError)


def test_who_only_reads_a_store_with_a_damaged_log_hears_what_to_do(path: Path) -> None:
    flip(wal(path), wal(path).stat().st_size - 3)
    with pytest.raises(
        StoreUnreachableError, match="; its log is damaged: start edgemse collector"
    ):
        open_store(path, read_only=True)


@pytest.mark.parametrize("text", ["garbage", "9" * 20, "-1", f"{(1 << 53) + 1:20}\n"])
def test_a_count_that_is_none_is_told_and_counted_anew(
    path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    count(path).write_text(text)
    store = open_store(path)
    assert (cells(store), missing(store)) == (5 * COMMITS, 0)
    assert f"{count(path)} should hold the number of the store's transactions" in caplog.text
    store.close()
    assert int(count(path).read_text()) == COMMITS
    goes_on(path)


def test_without_room_for_a_copy_nothing_is_touched(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(wal(path), 1_000)
    before = wal(path).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(StoreUnreachableError, match=r"no copy of it can be made.*No space"):
        open_store(path)
    assert wal(path).read_bytes() == before
    with pytest.raises(duckdb.Error):
        duckdb.connect(str(path))
