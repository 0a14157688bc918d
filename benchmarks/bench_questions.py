"""What does a question cost, in CPU seconds, on a store of a hundred cells a device, in DuckDB and
in PostgreSQL (there with what its server uses)?

    python benchmarks/bench_questions.py [--json] [--rounds 5] [--cells 1000000]

The server is Debian's, started for this and ended; where there is none, it is left out.
"""

import itertools
import pathlib
import random
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

from measuring import Table, options
from support.postgres import Postgres, postgres_folder

from edgemse import ErrorStats
from edgemse.cells import Identity, Series, Window
from edgemse.fleet.asked import Asked
from edgemse.fleet.asking import ask
from edgemse.fleet.merging import merge_sql, merged
from edgemse.fleet.selection import select
from edgemse.stores import Batch, Offered, Reading, Store, open_store
from edgemse.stores.tables import CELLS, COVERAGE_COLUMNS, MOMENT_COLUMNS

START = 1_767_225_600
DAYS = 10
STATES, SAMPLES = 5_000, 60
A_DEVICE = 100
PLANTED_AT_ONCE = 1_000_000
MODELS = 4
TEMPLATES = bytes(16)
"""The producer of the cells that all others are copied from."""


def states() -> Offered:
    rng = random.Random(1)
    found = Offered()
    for number in range(STATES):
        stats = ErrorStats()
        truth = [rng.gauss(20, 5) for _ in range(SAMPLES)]
        stats.update_many(truth, [y + rng.gauss(0.1, 1) for y in truth])
        identity = Identity(TEMPLATES, number)
        place = (Series("m", "v1"), Window(START, 3_600), stats.to_bytes(), None)
        found.take("pump", identity, 1, True, *place)
    return found


def plant(store: Store, cells: int) -> None:
    """Put cells of windows of an hour over ten days, hour by hour as a fleet sends them."""
    devices = max(1, cells // A_DEVICE)
    name = f"lpad(CAST(cell % {devices} AS TEXT), 16, '0')"
    turn = f"((cell - cell % {devices}) / {devices})"
    hours = f"(CAST({turn} AS BIGINT) * {DAYS * 24})"
    made = {
        "producer": f"CAST({name} AS BYTEA)",
        "sequence": f"CAST({turn} AS BIGINT)",
        "device": f"'pump-' || {name}",
        "model": f"'model ' || CAST(cell % {MODELS} AS TEXT)",
        "window_start_seconds": f"{START} + 3600 * (({hours} - {hours} % {A_DEVICE}) / {A_DEVICE})",
    }
    columns = ", ".join(made.get(column, f"state.{column}") for column in CELLS.columns)
    store.commit(Batch(cells=states()))
    for start in range(0, cells, PLANTED_AT_ONCE):
        end = min(cells, start + PLANTED_AT_ONCE)
        with store.writing() as writing:
            writing.execute(
                f"INSERT INTO cells ({', '.join(CELLS.columns)}) SELECT {columns}"
                f" FROM (SELECT cell, CAST(cell AS BIGINT) * 7919 % {STATES} AS chosen"
                f" FROM generate_series({start}, {end - 1}) AS every(cell)) AS made"
                " JOIN (SELECT * FROM cells WHERE producer = ?)"
                " AS state ON state.sequence = chosen ORDER BY cell",
                (TEMPLATES,),
            )
    with store.writing() as writing:
        writing.execute("DELETE FROM cells WHERE producer = ?", (TEMPLATES,))


@dataclass(frozen=True)
class Measured:
    """A planted store, and what CPU time it and this process have used so far."""

    engine: str
    cells: int
    rounds: int
    reading: Reading
    used: Callable[[], float]

    def table(self, title: str, peer: str, target: str) -> Table:
        """Return an empty table that names the engine."""
        return Table(f"{self.engine}: {title}, CPU seconds", peer, target)

    def cpu(self, work: Callable[[], object]) -> float:
        """Return the median of the rounds; one more goes first."""
        work()
        times = []
        for _ in range(self.rounds):
            start = self.used()
            work()
            times.append(self.used() - start)
        return statistics.median(times)


def moments(at: Measured) -> Table:
    peer = "plain SQL sums of the same columns"
    table = at.table(f"{at.cells:,} cells by device", peer, "moments at most 2 x")
    reading = at.reading
    asked = Asked(by=("device",))
    selection = select(reading, asked, by=asked.by)
    summed = [*MOMENT_COLUMNS, *(name for name in COVERAGE_COLUMNS if name != "lag_histogram")]
    sums = ", ".join(f"sum({column})" for column in summed)
    plain = f"SELECT g1, {sums} FROM ({selection.sql}) AS chosen GROUP BY g1"
    bare = {"by": ("device",), "histograms": False}
    for what, work in (
        (peer, lambda: reading.rows(plain, selection.parameters)),
        ("moments in SQL (merge.sql)", lambda: reading.rows(*merge_sql(selection))),
        ("moments as ErrorStats", lambda: merged(reading, asked, **bare)),  # type: ignore[arg-type]
        ("histograms", lambda: reading.histograms(selection)),
        ("both as ErrorStats", lambda: merged(reading, asked)),
        ("the question variance", lambda: ask(reading, "variance", by="device")),
    ):
        table.add(what, at.cpu(work), "s")
    return table


def day(at: Measured) -> Table:
    table = at.table(f"one of {at.cells:,} cells' days", "limit: 0.2", "at most 1 x")
    table.add("limit: 0.2", 0.2, "s")
    since = START + (DAYS - 1) * 86_400
    for model, histograms in itertools.product((None, "model 1"), (False, True)):
        where = {"measure": ""} | ({"model": model} if model else {})
        asked = Asked(where=where, since=since)
        what = f"last 24 h of {model or 'all models'}, {'quantiles' if histograms else 'moments'}"
        work = partial(merged, at.reading, asked, histograms=histograms)
        table.add(what, at.cpu(work), "s")
    return table


def measure(
    engine: str, place: str, given: Namespace, used: Callable[[], float] = time.process_time
) -> None:
    """Plant a store there, measure and print."""
    store = open_store(place)
    plant(store, given.cells)
    with store.reading() as reading:
        at = Measured(engine, given.cells, min(given.rounds, 5), reading, used)
        for table in (moments, day):
            table(at).print(given.json)
    store.close()


def main() -> None:
    given = options(__doc__, cells=1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        measure("DuckDB", f"{folder}/fleet.duckdb", given)
    if postgres_folder() is None:
        return
    server = Postgres()
    try:
        server.start()
        server.prepare()
        used = lambda: time.process_time() + server.cpu_seconds()  # noqa: E731
        measure("PostgreSQL", server.schema(), given, used)
    finally:
        server.close()


if __name__ == "__main__":
    main()
