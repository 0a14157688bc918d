"""What does one update cost in a Python loop? Against list.append, an empty method, and peers."""

import random
from collections.abc import Callable

from apart import compiled
from measuring import Table, missing, options, per_item_ns

from edgemse import ErrorStats

N = 200_000
SLOWER = {"river": 10, "runstats": 10, "opentelemetry-sdk": 40, "torchmetrics": 400}
Pairs = list[tuple[float, float]]
Loop = Callable[[Pairs], None]


def looping(update: Callable[[float, float], object]) -> Loop:
    """A loop that does nothing but call a method of (label, prediction)."""

    def loop(pairs: Pairs) -> None:
        for t, p in pairs:
            update(t, p)

    return loop


def append(pairs: Pairs) -> None:
    put = [].append
    for t, p in pairs:
        put(p - t)


def nothing(pairs: Pairs) -> None:
    for _t, _p in pairs:
        pass


def runstats() -> Loop:
    from runstats import Statistics

    push = Statistics().push

    def loop(pairs: Pairs) -> None:
        for t, p in pairs:
            push(p - t)

    return loop


def opentelemetry() -> Loop:
    """The public way: an instrument whose view is an exponential histogram."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

    view = View(
        instrument_name="error", aggregation=ExponentialBucketHistogramAggregation(max_scale=3)
    )
    provider = MeterProvider([InMemoryMetricReader()], views=[view], shutdown_on_exit=False)
    record = provider.get_meter("bench").create_histogram("error").record

    def loop(pairs: Pairs) -> None:
        for t, p in pairs:
            record(abs(p - t))

    return loop


def torchmetrics() -> Loop:
    import torch
    from torchmetrics import MeanSquaredError

    metric = MeanSquaredError()

    def loop(pairs: Pairs) -> None:
        for t, p in pairs:
            metric.update(torch.tensor(p), torch.tensor(t))

    return loop


def peers() -> dict[str, tuple[str, Loop]]:
    """What is installed: what a row is called -> (distribution, loop)."""
    found: dict[str, tuple[str, Loop]] = {}
    if not missing("river"):
        from river import metrics

        found["river MSE"] = "river", looping(metrics.MSE().update)
        several = metrics.MSE() + metrics.MAE() + metrics.R2()
        found["river MSE + MAE + R2"] = "river", looping(several.update)
    if not missing("runstats"):
        found["runstats Statistics.push(e)"] = "runstats", runstats()
    if not missing("opentelemetry-sdk"):
        found["OpenTelemetry exp. histogram, record(|e|)"] = "opentelemetry-sdk", opentelemetry()
    if not missing("torchmetrics"):
        found["torchmetrics MeanSquaredError"] = "torchmetrics", torchmetrics()
    return found


def main() -> None:
    args = options(__doc__)
    rng = random.Random(1)
    pairs = [(y := rng.gauss(20, 5), y + rng.gauss(0.1, 1)) for _ in range(N)]
    work: dict[str, tuple[str, Loop]] = {"empty loop": ("", nothing)}
    target = "at most 1.35 x; at most 2 x the empty method"
    try:
        work["empty Cython method of two doubles"] = "", looping(compiled().Empty().update)
    except ImportError as error:
        target += f" (not measured: {error})"
    peer = "list.append(p - t)"
    work[peer] = "", append
    work["edgemse ErrorStats.update"] = "", looping(ErrorStats().update)
    table = Table("update, ns a sample, the loop included", peer, target)
    for what, (distribution, loop) in (work | peers()).items():
        some = pairs[: N // SLOWER.get(distribution, 1)]
        time = per_item_ns(lambda loop=loop, some=some: loop(some), len(some), args.rounds)
        table.add(what, time, "ns")
    table.print(args.json)


if __name__ == "__main__":
    main()
