"""What does a commit cost the collector's CPU, in DuckDB and in PostgreSQL, and what the server?

    python benchmarks/bench_stores.py [--json] [--rounds 11]

A round is one commit of 5,000 new cells of 1,000 devices, as a batch of reports has them. The
server is Debian's, started for this and ended.
"""

import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

from measuring import Table, options
from support.cells import START, filled, offered
from support.postgres import Postgres

from edgemse.cells import Cell, Identity, Series, Window
from edgemse.stats.coverage import Coverage
from edgemse.stores import Batch, Store, open_store

DEVICES = 1_000
SERIES = 5
STATES = 200
"""Different ones, of 60 samples each."""


def batch(number: int, states: list[object]) -> Batch:
    """Return the cells of one minute of all devices."""
    window = Window(START + 60 * number, 60)
    cells = []
    for device in range(DEVICES):
        for place in range(SERIES):
            identity = Identity(device.to_bytes(16, "big"), SERIES * number + place)
            series = Series("pump", "v1", "", str(place))
            state = states[(7 * number + SERIES * device + place) % STATES]
            cell = Cell(identity, 1, True, series, window, state, Coverage())
            cells.append((f"pi-{device}", cell))
    return Batch(cells=offered(*cells))


def commits(store: Store, batches: list[Batch], server: Postgres) -> tuple[float, float]:
    """Return the median CPU time per cell, of this process and of the server, in microseconds."""
    own, servers = [], []
    store.commit(batches[0])
    for each in batches[1:]:
        before, server_before = time.process_time(), server.cpu_seconds()
        store.commit(each)
        own.append(time.process_time() - before)
        servers.append(server.cpu_seconds() - server_before)
    scale = 1e6 / (DEVICES * SERIES)
    return scale * statistics.median(own), scale * statistics.mean(servers)


def main() -> None:
    """Measure both engines in turn, and print."""
    given = options(__doc__)
    states = [filled(seed, 60) for seed in range(STATES)]
    batches = [batch(number, states) for number in range(given.rounds + 1)]
    table = Table("CPU of commits, a cell", "DuckDB, the collector", "PostgreSQL: 70 us at most")
    server = Postgres()
    try:
        server.start()
        server.prepare()
        with tempfile.TemporaryDirectory() as folder:
            for name, place in (
                ("DuckDB", f"{folder}/fleet.duckdb"),
                ("PostgreSQL", server.schema()),
            ):
                store = open_store(place)
                own, servers = commits(store, batches, server)
                store.close()
                table.add(f"{name}, the collector", own, "us/cell")
                if name == "PostgreSQL":
                    table.add(f"{name}, the server", servers, "us/cell")
    finally:
        server.close()
    table.print(given.json)


if __name__ == "__main__":
    main()
