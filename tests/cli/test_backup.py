"""Copies of a store: made while the collector works, and what a restored one says and lacks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import pytest
from support.broker import Mosquitto
from support.cells import batch, cell
from support.device import FakeDevice
from support.processes import CollectorProcess, edgemse, total_of

from edgemse.errors import OutputError, StoreError
from edgemse.fleet import backup as backing
from edgemse.fleet.backup import backup
from edgemse.stores import open_store
from edgemse.stores.duckdb import DuckDBStore
from edgemse.web.tokens import new_token, token_hash


class Served(NamedTuple):
    collector: CollectorProcess
    admin: str
    read: str
    options: tuple[str, ...]


@pytest.fixture
def served(broker: Mosquitto, tmp_path: Path) -> Iterator[Served]:
    admin, read = new_token(), new_token()
    tokens = tmp_path / "tokens"
    tokens.touch(mode=0o600)
    tokens.write_text(f"anna admin {token_hash(admin)}\nboard read {token_hash(read)}\n")
    options = ("--tokens", str(tokens))
    folder = tmp_path / "store"
    folder.mkdir()
    collector = CollectorProcess(folder / "fleet.duckdb", broker.address, *options, token=read)
    collector.start()
    yield Served(collector, admin, read, options)
    collector.close()


def run(*arguments: object, token: str = "") -> tuple[int, str, str]:
    done = edgemse(*arguments, env=os.environ | {"EDGEMSE_TOKEN": token})
    return done.returncode, done.stdout, done.stderr


def metric(collector: CollectorProcess, name: str) -> float:
    lines = str(collector.get("/metrics")[1]).splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[-1])


def test_a_running_collectors_store_is_copied_while_it_commits(
    served: Served, broker: Mosquitto, tmp_path: Path
) -> None:
    device = FakeDevice(broker.address, "pi-1")
    over, sent = Event(), []

    def feed() -> None:
        while not over.is_set():
            cells = [cell(1, len(sent) + n) for n in range(20)]
            device.send(cells)
            device.wait_for(cells)
            sent.extend(cells)

    feeding = Thread(target=feed)
    feeding.start()
    try:
        files = [tmp_path / f"copy-{n}.duckdb" for n in range(3)]
        for file in files:
            before = len(sent)
            code, out, err = run("backup", "--from", served.collector.url, file, token=served.admin)
            assert (code, err) == (0, "")
            assert f"{file}: {file.stat().st_size:,} bytes, store " in out
            held = total_of(file)["total"]["count"] // 20
            assert before <= held <= len(sent) + 20
            assert held % 20 == 0  # a report is whole in it, or not at all
    finally:
        over.set()
        feeding.join()
        device.close()
    names = set()
    for file in files:
        store = open_store(file, read_only=True)
        names.add(store.id)
        store.close()
    assert len(names) == 3
    left = {path.name for path in (tmp_path / "store").iterdir()}
    assert left <= {"fleet.duckdb", "fleet.duckdb.wal", "fleet.duckdb.commits", "fleet.log"}
    assert not list(tmp_path.glob("*.part"))


def test_only_the_role_admin_copies(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "copy.duckdb"
    for token in ("", served.read):
        code, out, err = run("backup", "--from", served.collector.url, file, token=token)
        assert (code, out, err.count("\n")) == (76, "", 1)
    file.write_text("mine")
    code, _, err = run("backup", "--from", served.collector.url, file, token=served.admin)
    assert (code, "is there already" in err, file.read_text()) == (84, True, "mine")
    nowhere = tmp_path / "no" / "copy.duckdb"
    code, _, err = run("backup", "--from", served.collector.url, nowhere, token=served.admin)
    assert (code, err.count("\n")) == (84, 1)


def test_a_restored_copy_says_what_it_lacks(
    served: Served, broker: Mosquitto, tmp_path: Path
) -> None:
    collector, device = served.collector, FakeDevice(broker.address, "pi-1")
    first, then = [[cell(n, sequence) for sequence in range(5)] for n in (1, 2)]
    device.send(first)
    device.wait_for(first)
    file = tmp_path / "copy.duckdb"
    assert run("backup", "--from", collector.url, file, token=served.admin)[0] == 0
    kept = shutil.copy(file, tmp_path / "kept.duckdb")
    device.send(then)
    device.wait_for(then)
    assert collector.stop() == 0

    # Under another name: the old store's presence is on the prefix, and where it is from is said.
    other = CollectorProcess(file, broker.address, *served.options, token=served.read)
    assert other.fails() == 82
    other = CollectorProcess(
        file, broker.address, *served.options, "--take-over", token=served.read
    )
    other.start()
    assert "this store is a copy of the store" in other.log()
    assert other.stop() == 0

    # In the old one's place: what is missing is counted.
    path = tmp_path / "store" / "fleet.duckdb"
    shutil.copy(kept, path)
    options = (*served.options, "--take-over")
    restored = CollectorProcess(path, broker.address, *options, token=served.read)
    restored.start()
    assert "transactions of the store" in restored.log()
    assert metric(restored, "edgemse_collector_commits_missing") >= 1
    device.acks.clear()
    device.send(first + then[:2])  # what a device still holds
    device.wait_for(first + then[:2])
    assert restored.stop() == 0
    assert total_of(path)["total"]["count"] == 20 * 7
    device.close()


def test_a_file_that_nobody_holds_is_copied_as_it_is(tmp_path: Path) -> None:
    path, file = tmp_path / "it's.duckdb", tmp_path / "the 'copy'.duckdb"
    store = DuckDBStore(path, now=lambda: 1_000.0)
    store.commit(batch(*[cell(1, sequence) for sequence in range(50)]))
    name = store.id
    store.close()
    as_it_was = path.read_bytes()
    made = backup(path, file)
    assert path.read_bytes() == as_it_was
    assert (made.source, made.size_bytes) == (name, file.stat().st_size)
    assert made.id != name
    tables = ("cells", "producers", "counters", "schema_versions")
    found = []
    for each in (path, file):
        again = open_store(each, read_only=True)
        with again.reading() as reading:
            found.append([sorted(reading.rows(f"SELECT * FROM {name}").rows) for name in tables])
        again.close()
    assert found[0] == found[1]
    second = backup(file, tmp_path / "second.duckdb")
    assert second.source == made.id
    copy = DuckDBStore(file)  # its keys and its sequences work
    assert copy.commit(batch(cell(1, 0, 7))) == {cell(1, 0).identity: 7}
    copy.close()


def test_what_is_no_store_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "copy.duckdb"
    monkeypatch.setattr(
        backing, "download", lambda _url, _path, _token, part: part.write(b"<html>")
    )
    with pytest.raises(StoreError, match="cannot be opened"):
        backup("http://127.0.0.1:1", file)
    assert list(tmp_path.iterdir()) == []
    file.touch()
    with pytest.raises(OutputError, match="is there already"):
        backup("http://127.0.0.1:1", file)
