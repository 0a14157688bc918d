"""What does `Monitor.observe` cost in a Python loop? Against `ErrorStats.update`.

No agent listens: what the Monitor's own thread does once a second is not in the figures.
"""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from measuring import Table, options, per_item_ns

from edgemse import ErrorStats, Monitor

N = 200_000
Pairs = list[tuple[float, float]]


def updating(pairs: Pairs) -> None:
    update = ErrorStats().update
    for t, p in pairs:
        update(t, p)


def observing(monitor: Monitor, **more: object) -> Callable[[Pairs], None]:
    def loop(pairs: Pairs) -> None:
        observe = monitor.observe
        for t, p in pairs:
            observe(t, p, **more)  # type: ignore[arg-type]

    return loop


def in_a_segment(monitor: Monitor) -> Callable[[Pairs], None]:
    def loop(pairs: Pairs) -> None:
        observe = monitor.observe
        for t, p in pairs:
            observe(t, p, "hall 3")

    return loop


def in_turn(monitor: Monitor) -> Callable[[Pairs], None]:
    """Ten segments, one after the other."""
    names = [f"hall {number}" for number in range(10)]

    def loop(pairs: Pairs) -> None:
        observe = monitor.observe
        for start in range(0, len(pairs), 10):
            for (t, p), name in zip(pairs[start : start + 10], names, strict=True):
                observe(t, p, name)

    return loop


def main() -> None:
    args = options(__doc__)
    rng = random.Random(1)
    pairs = [(y := rng.gauss(20, 5), y + rng.gauss(0.1, 1)) for _ in range(N)]
    peer = "edgemse ErrorStats.update"
    table = Table("observe, ns a sample, the loop included", peer, "at most 2 x")
    with tempfile.TemporaryDirectory() as folder:
        monitor = Monitor(socket=Path(folder) / "nobody.sock")
        work: dict[str, Callable[[Pairs], None]] = {
            peer: updating,
            "observe(t, p)": observing(monitor),
            'observe(t, p, "hall 3")': in_a_segment(monitor),
            "observe(t, p, name), ten names in turn": in_turn(monitor),
            "observe(t, p, ts=...)": observing(monitor, ts=1_790_000_000.0),
            'observe(t, p, output="1h")': observing(monitor, output="1h"),
            'observe(t, p, loss="huber(delta=1)")': observing(monitor, loss="huber(delta=1)"),
        }
        for what, loop in work.items():
            time = per_item_ns(lambda loop=loop: loop(pairs), len(pairs), args.rounds)
            table.add(what, time, "ns")
    table.print(args.json)


if __name__ == "__main__":
    main()
