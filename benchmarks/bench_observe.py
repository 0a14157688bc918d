"""What does `Monitor.observe` cost in a Python loop? Against `ErrorStats.update`.

No agent listens: what the Monitor's own thread does once a second is not in the figures.
"""

import contextlib
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measuring import Table, options, per_item_ns

from edgemse import ErrorStats, Monitor
from edgemse.errors import UnacknowledgedError

N = 200_000
Pairs = list[tuple[float, float]]


def updating(pairs: Pairs) -> None:
    update = ErrorStats().update
    for t, p in pairs:
        update(t, p)


def observing(monitor: Monitor) -> Callable[[Pairs], None]:
    def loop(pairs: Pairs) -> None:
        observe = monitor.observe
        for t, p in pairs:
            observe(t, p)

    return loop


def in_a_segment(monitor: Monitor) -> Callable[[Pairs], None]:
    def loop(pairs: Pairs) -> None:
        observe = monitor.observe
        for t, p in pairs:
            observe(t, p, "hall 3")

    return loop


def timed(monitor: Monitor) -> Callable[[Pairs], None]:
    def loop(pairs: Pairs) -> None:
        observe, now = monitor.observe, time.time()
        for t, p in pairs:
            observe(t, p, ts=now)

    return loop


def of_an_output(monitor: Monitor) -> Callable[[Pairs], None]:
    def loop(pairs: Pairs) -> None:
        observe = monitor.observe
        for t, p in pairs:
            observe(t, p, output="1h")

    return loop


def with_a_loss(monitor: Monitor) -> Callable[[Pairs], None]:
    def loop(pairs: Pairs) -> None:
        observe = monitor.observe
        for t, p in pairs:
            observe(t, p, loss="huber(delta=1)")

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
            "observe(t, p, ts=...)": timed(monitor),
            'observe(t, p, output="1h")': of_an_output(monitor),
            'observe(t, p, loss="huber(delta=1)")': with_a_loss(monitor),
        }
        for what, loop in work.items():
            ns = per_item_ns(lambda loop=loop: loop(pairs), len(pairs), args.rounds)
            table.add(what, ns, "ns")
        with contextlib.suppress(UnacknowledgedError):  # there is no agent
            monitor.close(0.01)
    table.print(args.json)


if __name__ == "__main__":
    main()
