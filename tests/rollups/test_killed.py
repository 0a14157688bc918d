"""Processes that take in, roll up and let go, killed at any moment: totals stay exact."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from support.cells import START, batch, cell
from support.engines import duckdb_file
from support.postgres import Postgres
from support.rollups import counts, left, retained, rolled

from edgemse.stores import Store, open_store

CELLS, KILLS = 400, 6

TAKING_IN = """
import sys
sys.path.insert(0, {tests!r})
from support.cells import START, batch, cell
from edgemse.errors import StoreError
from edgemse.stores import open_store
store = open_store({address!r})
print("ready", flush=True)
for number in range({first}, {cells}):
    try:
        store.commit(batch(cell(1, number, start=START + 60 * (number * 7 % {cells}), final=True)))
    except StoreError:
        continue
    print(number, flush=True)
"""
ROLLING = """
import sys
sys.path.insert(0, {tests!r})
from support.rollups import LATER, retained, rolled
from edgemse.errors import StoreError
from edgemse.stores import open_store
store = open_store({address!r})
print("ready", flush=True)
while True:
    rolled(store)
    retained(store, raw_days=1, hourly_days=2)
"""
BOTH = """
import sys, threading
sys.path.insert(0, {tests!r})
from support.cells import START, batch, cell
from support.rollups import retained, rolled
from edgemse.stores import open_store
store = open_store({address!r})
def work():
    while True:
        rolled(store)
        retained(store, raw_days=1, hourly_days=2)
threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
for number in range({first}, {cells}):
    store.commit(batch(cell(1, number, start=START + 60 * (number * 7 % {cells}), final=True)))
    print(number, flush=True)
threading.Event().wait()
"""


def started(script: str, address: str, first: int) -> subprocess.Popen[str]:
    code = script.format(
        tests=str(Path(__file__).parent.parent), address=address, first=first, cells=CELLS
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def read_some(process: subprocess.Popen[str], lines: int) -> int:
    """Return the last number that the process said it has committed, after some more of them."""
    last = -1
    for _ in range(lines):
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            break
        last = int(line)
    return last


def killed(process: subprocess.Popen[str], last: int) -> int:
    """Kill the process; return the last number that it had committed."""
    assert process.poll() is None, "it ended by itself"
    process.kill()
    rest = process.communicate()[0].splitlines()
    whole = [int(line) for line in rest if line.strip()]
    return max([last, *whole])


def check(store: Store, committed: int) -> None:
    """Hold the store to what was said to be committed, one more may be; again, rolled up."""
    found = counts(store)["pi-1"] // 20
    assert committed + 1 <= found <= committed + 2
    store.commit(
        batch(*(cell(1, n, start=START + 60 * (n * 7 % CELLS), final=True) for n in range(CELLS)))
    )
    for _ in range(2):
        assert counts(store) == {"pi-1": 20 * CELLS}
        rolled(store)
        retained(store, raw_days=1, hourly_days=2)
    assert left(store).hours == left(store).touched == 0


def test_a_process_on_duckdb_is_killed(tmp_path: Path) -> None:
    rng = random.Random(1)
    path = tmp_path / "fleet.duckdb"
    duckdb_file(tmp_path, time.time).close()
    last = -1
    for _ in range(KILLS):
        process = started(BOTH, str(path), last + 1)
        last = killed(process, max(last, read_some(process, rng.randrange(1, 40))))
        store = open_store(path)
        assert last + 1 <= counts(store).get("pi-1", 0) // 20 <= last + 2
        store.close()
    store = open_store(path)
    check(store, last)
    store.close()


def test_processes_on_postgres_are_killed(postgres: Postgres) -> None:
    rng = random.Random(2)
    address = postgres.schema("killed")
    store = open_store(address)
    last = -1
    working = [started(ROLLING, address, 0) for _ in range(2)]  # two, though a lease lets one
    for turn in range(KILLS):
        taking_in = started(TAKING_IN, address, last + 1)
        last = max(last, read_some(taking_in, rng.randrange(1, 40)))
        killed(working[turn % 2], -1)
        last = max(last, read_some(taking_in, 5))
        last = killed(taking_in, last)
        assert last + 1 <= counts(store).get("pi-1", 0) // 20 <= last + 2
        working[turn % 2] = started(ROLLING, address, 0)
    for process in working:
        killed(process, -1)
    check(store, last)
    store.close()
