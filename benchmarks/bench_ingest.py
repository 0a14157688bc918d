"""What does a cell cost the collector: CPU seconds a million (reports read, checked, committed and
acknowledged on a DuckDB file), and bytes in the store?"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event

import duckdb
from measuring import Table, options

from edgemse import ErrorStats
from edgemse.cells import Identity, SealedCell, Series, Window
from edgemse.collector.counters import MEANINGS
from edgemse.collector.inbox import Kind, Message
from edgemse.collector.ingest import Ingest
from edgemse.collector.settings import Limits
from edgemse.counters import Counters
from edgemse.stores import Batch, Offered
from edgemse.stores.duckdb import DuckDBStore
from edgemse.topics import Topics
from edgemse.wire import Report, encode_report, unpack_report

START = 1_767_225_600
DEVICES, SEGMENTS = 1_000, 5
SAMPLES = 60
MINUTES_KEPT = 40
LIMITS = {1_000: 35.0, 60: 70.0}
"""Messages a batch, and the project's limit in CPU seconds a million cells. At 300 reports a second
the collector, which waits 0.2 s for more, takes 60 at a time."""


def states(rng: random.Random) -> Iterator[bytes]:
    while True:
        stats = ErrorStats()
        truth = [rng.gauss(20, 5) for _ in range(SAMPLES)]
        stats.update_many(truth, [y + rng.gauss(0.1, 1) for y in truth])
        yield stats.to_bytes()


def minute_of(minute: int) -> list[Message]:
    """A report of each device with the cells of one minute, as its agent sends it."""
    series = [Series("pump", "v1", segment=f"valve {place}") for place in range(SEGMENTS)]
    window = Window(START + 60 * minute, 60)
    of_cell = states(random.Random(minute))
    found = []
    for device in range(DEVICES):
        producer = random.Random(device).randbytes(16)
        cells = tuple(
            SealedCell(Identity(producer, minute * SEGMENTS + n), 1, True, s, window, state, None)
            for n, (s, state) in enumerate(zip(series, of_cell, strict=False))
        )
        name, health = f"pump-{device:05}", {"lines": minute}
        report = Report(name, window.end * 1_000, True, cells, health, f"run-{device}")
        found.append(Message(Kind.REPORT, name, encode_report(report)))
    return found


def cpu_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def taken_in(store: DuckDBStore, minutes: Iterable[list[Message]], most: int) -> list[float]:
    """CPU seconds a million cells of each minute after the first, in batches of `most` messages."""
    ingest = Ingest(
        *(store, Topics(), "main", lambda _: True),
        counters=Counters(MEANINGS),
        limits=Limits(),
        now=lambda: START + 86_400.0,
    )
    never = Event()

    def take(messages: list[Message]) -> None:
        for start in range(0, len(messages), most):
            ingest.take_in(messages[start : start + most], never)

    # The first brings devices and series that are new; checkpoints come every few minutes.
    return [cpu_of(lambda m=m: take(m)) / (DEVICES * SEGMENTS) * 1e6 for m in minutes][1:]


def opened(minutes: list[list[Message]]) -> list[Offered]:
    found = []
    for messages in minutes:
        found.append(Offered())
        for message in messages:
            report = unpack_report(message.payload)
            for cell in report.cells:
                found[-1].take_sealed(report.device, report.sealed(cell))
    return found


def parts(table: Table, minutes: list[list[Message]], folder: Path) -> None:
    """The same work in parts, each alone."""
    million = DEVICES * SEGMENTS * len(minutes) / 1e6
    unpacked = [unpack_report(message.payload) for each in minutes for message in each]
    pieces = [(cell.state, b"") for report in unpacked for cell in report.cells]
    head = (bytes(16), 0, 1, True, "pump-00001", "pump", "v1", "", "valve 1", "", START, 60)
    rows = Offered().rows

    def to_columns() -> None:
        for state, coverage in pieces:
            rows.append_cell(head, state, coverage)

    table.add("  of it: bytes to checked columns", cpu_of(to_columns) / million, "s")
    offered = opened(minutes)
    store = DuckDBStore(folder / "commits.duckdb")
    commit = sum(cpu_of(lambda o=o: store.commit(Batch(cells=o))) for o in offered)
    store.close()
    table.add("  of it: the commit of cells alone", commit / million, "s")
    seconds = 0.0
    with duckdb.connect(str(folder / "plain.duckdb")) as plain:
        plain.register("first", offered[0].rows)
        plain.execute("CREATE TABLE cells AS SELECT * FROM first LIMIT 0")
        for each in offered:
            plain.register("rows", each.rows)
            seconds += cpu_of(lambda: plain.execute("INSERT INTO cells SELECT * FROM rows"))
    table.add("DuckDB's plain INSERT of the same, no key", seconds / million, "s")


def main() -> None:
    args = options(__doc__)
    rounds = max(4, args.rounds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        peer = f"limit: {LIMITS[1_000]:.0f}"
        table = Table(
            "ingest, CPU seconds a million cells", peer, "at most 1 x; of 60 messages 2 x"
        )
        table.add(peer, LIMITS[1_000], "s")
        for most, limit in LIMITS.items():
            minutes = MINUTES_KEPT if limit == LIMITS[1_000] else rounds
            store = DuckDBStore(folder / f"{most}.duckdb")
            times = taken_in(store, map(minute_of, range(minutes)), most)
            table.add(f"batches of {most:,} messages: mean", statistics.mean(times), "s")
            table.add(f"batches of {most:,} messages: median", statistics.median(times), "s")
            store.close()
        parts(table, [minute_of(minute) for minute in range(rounds)], folder)
        table.print(args.json)
        size_of(folder / "1000.duckdb").print(args.json)


def size_of(path: Path) -> Table:
    table = Table("the store, bytes a cell", "limit: 140", "at most 1 x")
    table.add("limit: 140", 140.0, "bytes")
    count = DEVICES * SEGMENTS * MINUTES_KEPT
    sent = sum(len(message.payload) for message in minute_of(0))
    table.add("as reports", sent / (DEVICES * SEGMENTS), "bytes")
    with duckdb.connect(str(path), read_only=True) as store:
        asked = "SELECT used_blocks * block_size FROM pragma_database_size()"
        used = store.execute(asked).fetchone()
        assert used is not None
        table.add(f"{count:,} cells, blocks in use", used[0] / count, "bytes")
    table.add("the file, with blocks that are free again", path.stat().st_size / count, "bytes")
    return table


if __name__ == "__main__":
    main()
