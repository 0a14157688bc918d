"""What does one update cost in a Python loop? Against list.append and River."""

import random

from measuring import Table, missing, options, per_item_ns

from edgemse import ErrorStats

N = 200_000
Pairs = list[tuple[float, float]]


def ours(pairs: Pairs) -> None:
    update = ErrorStats().update
    for t, p in pairs:
        update(t, p)


def append(pairs: Pairs) -> None:
    put = [].append
    for t, p in pairs:
        put(p - t)


def empty(pairs: Pairs) -> None:
    for _t, _p in pairs:
        pass


def river(pairs: Pairs) -> None:
    from river import metrics

    update = metrics.MSE().update
    for t, p in pairs:
        update(t, p)


def runstats(pairs: Pairs) -> None:
    from runstats import Statistics

    push = Statistics().push
    for t, p in pairs:
        push(p - t)


def main() -> None:
    args = options(__doc__)
    rng = random.Random(1)
    pairs = [(y := rng.gauss(20, 5), y + rng.gauss(0.1, 1)) for _ in range(N)]
    peer = "list.append(p - t)"
    table = Table("update, ns a sample, the loop included", peer, "at most 1.35 x")
    work = {"empty loop": empty, peer: append, "edgemse ErrorStats.update": ours}
    if not missing("river"):
        work["river metrics.MSE.update"] = river
    if not missing("runstats"):
        work["runstats Statistics.push"] = runstats
    for what, loop in work.items():
        some = pairs if loop in (empty, append, ours) else pairs[: N // 10]
        time = per_item_ns(lambda loop=loop, some=some: loop(some), len(some), args.rounds)
        table.add(what, time, "ns")
    table.print(args.json)


if __name__ == "__main__":
    main()
