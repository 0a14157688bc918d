"""What does a question cost, in CPU seconds, on a store of a hundred cells a device?"""

import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measuring import Table, options

from edgemse import ErrorStats
from edgemse.cells import Identity, Series, Window
from edgemse.fleet.asked import Asked
from edgemse.fleet.asking import ask
from edgemse.fleet.merging import merge_sql, merged
from edgemse.fleet.selection import select
from edgemse.stores import Batch, Offered, Reading
from edgemse.stores.duckdb import DuckDBStore
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


def plant(path: Path, cells: int) -> None:
    """Put cells of windows of an hour over ten days, hour by hour as a fleet sends them."""
    devices = max(1, cells // A_DEVICE)
    name = f"lpad(CAST(cell % {devices} AS TEXT), 16, '0')"
    hour = f"(cell // {devices}) * {DAYS * 24} // {A_DEVICE}"
    made = {
        "producer": f"encode({name})",
        "sequence": f"cell // {devices}",
        "device": f"'pump-' || {name}",
        "model": f"'model ' || CAST(cell % {MODELS} AS TEXT)",
        "window_start_seconds": f"{START} + 3600 * ({hour})",
    }
    columns = ", ".join(made.get(column, f"state.{column}") for column in CELLS.columns)
    store = DuckDBStore(path)
    store.commit(Batch(cells=states()))
    for start in range(0, cells, PLANTED_AT_ONCE):
        end = min(cells, start + PLANTED_AT_ONCE)
        with store.writing() as writing:
            writing.execute(
                f"INSERT INTO cells ({', '.join(CELLS.columns)}) SELECT {columns}"
                f" FROM (SELECT range AS cell, CAST(hash(range) % {STATES} AS BIGINT) AS chosen"
                f" FROM range({start}, {end})) JOIN (SELECT * FROM cells WHERE producer = ?)"
                " AS state ON state.sequence = chosen ORDER BY cell",
                (TEMPLATES,),
            )
    with store.writing() as writing:
        writing.execute("DELETE FROM cells WHERE producer = ?", (TEMPLATES,))
    store.close()


def median_cpu(work: Callable[[], object], rounds: int) -> float:
    work()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def moments(reading: Reading, rounds: int, cells: int) -> Table:
    peer = "plain SQL sums of the same columns"
    table = Table(f"{cells:,} cells by device, CPU seconds", peer, "moments at most 2 x")
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
        ("the question variance", lambda: ask(reading, "variance", by="device")),
    ):
        table.add(what, median_cpu(work, rounds), "s")
    return table


def day(reading: Reading, rounds: int, cells: int) -> Table:
    table = Table(f"one of {cells:,} cells' days, CPU seconds", "limit: 0.2", "at most 1 x")
    table.add("limit: 0.2", 0.2, "s")
    since = START + (DAYS - 1) * 86_400
    for model, histograms in itertools.product((None, "model 1"), (False, True)):
        where = {"measure": ""} | ({"model": model} if model else {})
        asked = Asked(where=where, since=since)
        what = f"last 24 h of {model or 'all models'}, {'quantiles' if histograms else 'moments'}"
        work = lambda asked=asked, h=histograms: merged(reading, asked, histograms=h)  # noqa: E731
        table.add(what, median_cpu(work, rounds), "s")
    return table


def main() -> None:
    args = options(__doc__, cells=1_000_000)
    rounds = min(args.rounds, 5)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.duckdb"
        plant(path, args.cells)
        store = DuckDBStore(path, read_only=True)
        with store.reading() as reading:
            for table in (moments, day):
                table(reading, rounds, args.cells).print(args.json)
        store.close()


if __name__ == "__main__":
    main()
