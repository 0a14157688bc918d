"""What do merging and bytes cost, and how large is a state? Windows of 6,000 N(0.1, 1) samples."""

import random
import struct
import sys

from measuring import Table, missing, options, per_item_ns

from edgemse import ErrorStats, ResidualHistogram, merge_all
from edgemse.stats.grouped import merge_histograms
from edgemse.stats.parts import split_state

WINDOWS = 150
CALLS = 2000


def window(seed: int) -> ErrorStats:
    rng = random.Random(seed)
    s = ErrorStats()
    for _ in range(6000):
        s.update(0.0, rng.gauss(0.1, 1))
    return s


def main() -> None:
    args = options(__doc__)
    states = [window(seed) for seed in range(WINDOWS)]
    many = states * 100
    raw = states[0].to_bytes()
    rows = [(i % 10, s.histogram.to_bytes()) for i, s in enumerate(many)]
    row = struct.Struct("<12d")

    def merge() -> None:
        into = ErrorStats().merge
        for s in states:
            into(s)

    def one_by_one() -> None:
        merged = {group: ResidualHistogram() for group in range(10)}
        for group, histogram in rows:
            merged[group].merge(ResidualHistogram.from_bytes(histogram))

    peer = "struct.pack of 12 doubles"
    table = Table("merge and bytes, ns a state", peer, "merge 150 ns; bytes 1,000 ns each way")
    for what, work, items in (
        (peer, lambda: [row.pack(*range(12)) for _ in range(CALLS)], CALLS),
        ("edgemse merge", merge, WINDOWS),
        ("edgemse merge_all", lambda: merge_all(many), len(many)),
        ("edgemse to_bytes", lambda: [states[0].to_bytes() for _ in range(CALLS)], CALLS),
        ("edgemse from_bytes", lambda: [ErrorStats.from_bytes(raw) for _ in range(CALLS)], CALLS),
        ("edgemse split_state", lambda: [split_state(raw) for _ in range(CALLS)], CALLS),
        ("edgemse histogram: from_bytes, then merge", one_by_one, len(rows)),
        ("edgemse merge_histograms of an iterable", lambda: merge_histograms(rows), len(rows)),
    ):
        table.add(what, per_item_ns(work, items, args.rounds), "ns")
    if not missing("pyarrow"):
        import pyarrow

        groups, histograms = zip(*rows, strict=True)
        columns = pyarrow.table({"group": groups, "histogram": histograms})
        what = "edgemse merge_histograms of an Arrow table"
        table.add(
            what, per_item_ns(lambda: merge_histograms(columns), len(rows), args.rounds), "ns"
        )
    if not missing("runstats"):
        from runstats import Statistics

        theirs = [Statistics(range(s)) for s in range(1, WINDOWS)]
        table.add(
            "runstats a + b",
            per_item_ns(lambda: sum(theirs, Statistics()), WINDOWS, args.rounds),
            "ns",
        )
    table.print(args.json)

    peer = "limit: 300"
    table = Table("size of a window of 6,000", peer, "300 bytes on the wire, 2,560 in memory")
    table.add(peer, 300.0, "bytes")
    lengths = sorted(len(s.to_bytes()) for s in states)
    table.add("edgemse to_bytes, largest of 150", float(lengths[-1]), "bytes")
    sizes = sorted(map(sys.getsizeof, states))
    table.add("edgemse in memory, median of 150", float(sizes[WINDOWS // 2]), "bytes")
    table.add("edgemse in memory, largest of 150", float(sizes[-1]), "bytes")
    table.print(args.json)


if __name__ == "__main__":
    main()
