"""What does following another loss cost, a sample at a time and in batches? Against River."""

import random
from array import array

from measuring import Table, missing, options, per_item_ns

from edgemse import ErrorStats, LossStats

N = 50_000
LOSSES = {
    "huber": {"delta": 1.0},
    "mape": {"floor": 1.0},
    "pinball": {"quantile": 0.9},
    "rmsle": {},
    "brier": {},
    "log_loss": {},
    "smape": {},
}
Pairs = list[tuple[float, float]]


def samples(name: str) -> Pairs:
    rng = random.Random(1)
    if name in ("brier", "log_loss"):
        return [(float(rng.random() < 0.5), rng.random()) for _ in range(N)]
    return [(y := rng.expovariate(0.1), y + abs(rng.gauss(0, 1))) for _ in range(N)]


def loop(update, pairs: Pairs) -> None:
    for y, p in pairs:
        update(y, p)


def main() -> None:
    args = options(__doc__)
    single = Table(
        "update, ns a sample, the loop included", "edgemse ErrorStats.update", "under a microsecond"
    )
    batch = Table(
        "update_many of 50,000, ns a sample", "edgemse ErrorStats.update_many", "as update or less"
    )
    pairs = samples("huber")
    columns = [array("d", column) for column in zip(*pairs, strict=True)]
    time = per_item_ns(lambda: loop(ErrorStats().update, pairs), N, args.rounds)
    single.add("edgemse ErrorStats.update", time, "ns")
    time = per_item_ns(lambda: ErrorStats().update_many(*columns), N, args.rounds)
    batch.add("edgemse ErrorStats.update_many", time, "ns")
    for name, parameters in LOSSES.items():
        pairs = samples(name)
        columns = [array("d", column) for column in zip(*pairs, strict=True)]
        new = LossStats(name, **parameters)
        time = per_item_ns(lambda new=new, pairs=pairs: loop(new.update, pairs), N, args.rounds)
        single.add(f"LossStats {name}", time, "ns")
        time = per_item_ns(
            lambda new=new, columns=columns: new.update_many(*columns), N, args.rounds
        )
        batch.add(f"LossStats {name}", time, "ns")
    if not missing("river"):
        from river import metrics

        for name, peer in (
            ("mape", metrics.MAPE),
            ("smape", metrics.SMAPE),
            ("rmsle", metrics.RMSLE),
            ("log_loss", metrics.LogLoss),
        ):
            pairs = samples(name)
            if name == "log_loss":
                pairs = [(y == 1.0, p) for y, p in pairs]
            time = per_item_ns(
                lambda peer=peer, pairs=pairs: loop(peer().update, pairs), N, args.rounds
            )
            single.add(f"River {peer.__name__}", time, "ns")
    single.print(args.json)
    batch.print(args.json)


if __name__ == "__main__":
    main()
