"""A disk without room: nothing is taken in, everything is answered, and it goes on by itself.

The limit on the size of a process' files stands for the disk: the same calls fail, and of DuckDB's
two ways to fail (the log, a checkpoint) each can be met by itself.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import duckdb
import pytest
from support.broker import Mosquitto
from support.cells import batch, cell
from support.device import FakeDevice
from support.processes import CollectorProcess, total_of
from support.waiting import eventually

from edgemse.errors import StoreError
from edgemse.stores.duckdb import DuckDBStore


@contextmanager
def files_no_larger_than(size_bytes: int, pid: int = 0) -> Iterator[None]:
    """Let no file of the process (0: this one) grow past the size."""
    usual = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, usual[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, usual)


def failure_of(commit: Callable[[], None]) -> str:
    """Commit until that fails, and return the reason."""
    for _ in range(100):
        try:
            commit()
        except StoreError as error:
            return str(error)
    return ""


def held(store: DuckDBStore) -> int:
    with store.reading() as reading:
        return int(reading.rows("SELECT count(*) FROM cells").rows[0][0])


@pytest.mark.parametrize("size_bytes", [0, 4_096, 8_192])
def test_a_store_that_found_no_room_to_be_made_is_made_when_there_is(
    tmp_path: Path, size_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "fleet.duckdb"
    with files_no_larger_than(size_bytes), pytest.raises(StoreError, match="cannot be opened"):
        DuckDBStore(path)
    assert path.stat().st_size == size_bytes
    store = DuckDBStore(path)
    store.commit(batch(cell(1)))
    assert held(store) == 1
    store.close()
    assert "was not made to its end" in caplog.text


@pytest.mark.parametrize("content", [b"text of somebody", bytes(8) + b"DUCK" + bytes(20_000)])
def test_what_is_no_unmade_store_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fleet.duckdb"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be opened"):
        DuckDBStore(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("threshold", "error"),
    [("1GB", "Could not write file"), ("150KB", "Failed to create checkpoint")],
    ids=["its log", "a checkpoint"],
)
def test_a_store_on_a_full_disk_is_read_and_goes_on_when_there_is_room(
    tmp_path: Path, threshold: str, error: str
) -> None:
    path = tmp_path / "fleet.duckdb"
    store = DuckDBStore(path)
    store._connection.execute(f"SET checkpoint_threshold = '{threshold}'")
    sequences = count()
    committed = 0

    def commit() -> None:
        nonlocal committed
        store.commit(batch(*[cell(1, next(sequences)) for _ in range(200)]))
        committed += 200

    commit()
    with files_no_larger_than(path.stat().st_size + 100_000):
        assert error in failure_of(commit)
    with files_no_larger_than(4_096):
        for _ in range(3):
            assert held(store) == committed
            with pytest.raises(StoreError, match=r"fleet\.duckdb cannot be written|only be read"):
                store.commit(batch(*[cell(1, next(sequences)) for _ in range(200)]))
    for _ in range(3):
        commit()
    assert held(store) == committed
    store.close()
    again = DuckDBStore(path)
    assert held(again) == committed
    with again.reading() as reading:
        lost = "SELECT value FROM counters WHERE name = 'commits_missing'"
        assert reading.rows(lost).rows == [(0,)]
    again.close()


def test_a_store_that_is_being_read_while_its_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "fleet.duckdb"
    store = DuckDBStore(path)
    store._connection.execute("SET checkpoint_threshold = '150KB'")
    store.commit(batch(*[cell(1, sequence) for sequence in range(200)]))
    sequences = count(1)

    def commit() -> None:
        store.commit(batch(*[cell(1, 200 * next(sequences) + n) for n in range(200)]))

    with store.reading() as reading:
        with files_no_larger_than(path.stat().st_size + 100_000):
            assert failure_of(commit)
        with pytest.raises(StoreError, match="once its 1 readers have ended"):
            store.commit(batch(cell(2)))
        with pytest.raises(duckdb.FatalException):
            reading.rows("SELECT count(*) FROM cells")
    store.commit(batch(cell(3)))
    with store.reading() as reading:
        found = reading.rows(
            "SELECT count(*) FROM cells WHERE producer = ?", (cell(3).identity[0],)
        )
        assert found.rows == [(1,)]
    store.close()


def test_a_collector_acknowledges_nothing_until_there_is_room(
    broker: Mosquitto, tmp_path: Path
) -> None:
    path = tmp_path / "fleet.duckdb"
    collector = CollectorProcess(path, broker.address)
    collector.start()
    device = FakeDevice(broker.address, "pi-1")
    try:
        first, then = [[cell(n, sequence) for sequence in range(50)] for n in (1, 2)]
        device.send(first)
        device.wait_for(first)
        assert collector.process is not None
        log = path.with_name(path.name + ".wal").stat().st_size
        with files_no_larger_than(log, collector.process.pid):
            device.send(then)
            eventually(lambda: collector.get("/health")[0] == 503)
            assert "cannot be written" in collector.get("/health")[1]["reasons"][0]
            assert total_of(collector.url)["total"]["count"] == 1_000
            assert len(device.held) == 50
        begun = time.monotonic()
        device.wait_for(then)
        assert time.monotonic() - begun < 15  # the longest pause is 10 s
        eventually(lambda: collector.get("/health")[0] == 200)
        assert total_of(collector.url)["total"]["count"] == 2_000
        assert collector.stop() == 0
    finally:
        device.close()
        collector.close()
