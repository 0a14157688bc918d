"""What does a batch cost? Against numpy's MSE, and the same figures in numpy."""

import numpy as np
from apart import compiled
from measuring import Table, missing, options, per_item_ns

from edgemse import ErrorStats

N = 1_000_000
SMALL = 64


def everything(y, p):
    """The figures of ErrorStats, but for compensation, in numpy."""
    e = p - y
    mean, y_mean = e.mean(), y.mean()
    d, g = e - mean, y - y_mean
    square = d * d
    magnitude = np.abs(e)
    index = np.ceil(np.log2(magnitude) * 8).astype(np.int64) - 1
    return (
        square.sum(),
        (square * d).sum(),
        (square * square).sum(),
        magnitude.sum(),
        e.min(),
        e.max(),
        (g * g).sum(),
        (g * d).sum(),
        np.unique(index, return_counts=True),
    )


def main() -> None:
    args = options(__doc__)
    rng = np.random.default_rng(1)
    y = rng.normal(20, 5, N)
    p = y + rng.normal(0.1, 1, N)
    s = ErrorStats()
    peer = "numpy ((p - t)**2).mean()"
    target = "at most 2.5 x; without the histogram less than 1 x; 4 x faster than the same figures"
    table = Table("1e6 float64 pairs, ns a pair", peer, target)
    table.add(peer, per_item_ns(lambda: ((p - y) ** 2).mean(), N, args.rounds), "ns")
    table.add(
        "edgemse update_many, everything",
        per_item_ns(lambda: s.update_many(y, p), N, args.rounds),
        "ns",
    )
    try:
        moments = compiled().moments
    except ImportError as error:
        print(f"the moments apart are not measured: {error}")
    else:
        table.add(
            "edgemse, the same without the histogram (apart.pyx)",
            per_item_ns(lambda: moments(y, p), N, args.rounds),
            "ns",
        )
    table.add(
        "numpy, the same figures",
        per_item_ns(lambda: everything(y, p), N, min(args.rounds, 3)),
        "ns",
    )
    if not missing("boost-histogram"):
        import boost_histogram as bh

        h = bh.Histogram(bh.axis.Regular(512, 1e-10, 1e9, transform=bh.axis.transform.log))
        table.add(
            "boost-histogram fill(|e|) alone",
            per_item_ns(lambda: h.fill(np.abs(p - y)), N, 3),
            "ns",
        )
    if not missing("datasketches"):
        import datasketches

        kll = datasketches.kll_doubles_sketch(200)
        table.add(
            "datasketches KLL update(e) alone", per_item_ns(lambda: kll.update(p - y), N, 3), "ns"
        )
    if not missing("torchmetrics"):
        import torch
        from torchmetrics import MeanSquaredError

        metric, ty, tp = MeanSquaredError(), torch.from_numpy(y), torch.from_numpy(p)
        table.add(
            "torchmetrics MeanSquaredError.update",
            per_item_ns(lambda: metric.update(tp, ty), N, args.rounds),
            "ns",
        )
    table.print(args.json)

    small_y, small_p = y[:SMALL].copy(), p[:SMALL].copy()
    peer = "numpy ((p - t)**2).mean()"
    table = Table("64 pairs, ns a call", peer, "at most 1,000 ns")
    calls = range(2000)
    for what, work in (
        (peer, lambda: ((small_p - small_y) ** 2).mean()),
        ("edgemse update_many", lambda: s.update_many(small_y, small_p)),
    ):
        table.add(
            what, per_item_ns(lambda work=work: [work() for _ in calls], 2000, args.rounds), "ns"
        )
    table.print(args.json)


if __name__ == "__main__":
    main()
