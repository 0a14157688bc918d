"""What the benchmarks of the core share: medians over rounds, versions, and one way to print."""

import argparse
import gc
import json
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata

__all__ = ["Table", "missing", "options", "per_item_ns"]

PEERS = (
    *("numpy", "river", "runstats", "boost-histogram", "datasketches", "opentelemetry-sdk"),
    *("torchmetrics", "torch"),
)


def options(
    description: str | None, cells: int | None = None, hours: float | None = None
) -> argparse.Namespace:
    """`--json` and `--rounds N`; with a default for it, `--cells N` and `--hours N` too."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=11, help="rounds per measurement")
    if cells is not None:
        parser.add_argument("--cells", type=int, default=cells, help="cells in the store")
    if hours is not None:
        parser.add_argument("--hours", type=float, default=hours, help="hours to simulate")
    return parser.parse_args()


def per_item_ns(work: Callable[[], object], items: int, rounds: int) -> float:
    """Median over rounds of the time of work() per item, in ns; one round more goes first."""
    times = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds + 1):
            start = time.perf_counter_ns()
            work()
            times.append(time.perf_counter_ns() - start)
    finally:
        gc.enable()
    return statistics.median(times[1:]) / items


def missing(name: str) -> str | None:
    """The reason to leave a peer out, or None if it is installed."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is not installed"
    return None


def cpu() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


class Table:
    """Rows of (what, value, unit), each compared with one that was measured in the same run."""

    def __init__(self, title: str, peer: str, target: str) -> None:
        self.title, self.peer, self.target = title, peer, target
        self.rows: list[dict[str, object]] = []

    def add(self, what: str, value: float, unit: str) -> None:
        self.rows.append({"what": what, "value": value, "unit": unit})

    def print(self, as_json: bool) -> None:
        base = next((row["value"] for row in self.rows if row["what"] == self.peer), None)
        for row in self.rows:
            row["ratio"] = row["value"] / base if base else None  # type: ignore[operator]
        versions = {name: metadata.version(name) for name in PEERS if not missing(name)}
        about = {"python": sys.version.split()[0], "cpu": cpu(), **versions}
        if as_json:
            head = {"title": self.title, "peer": self.peer, "target": self.target, "about": about}
            print(json.dumps({**head, "rows": self.rows}))
            return
        print(f"{self.title}\n  {', '.join(f'{k} {v}' for k, v in about.items())}")
        print(f"  target: {self.target}; ratio: to '{self.peer}'")
        for row in self.rows:
            times = f"{row['ratio']:>7.2f} x" if row["ratio"] else ""
            print(f"  {row['what']:<52} {row['value']:>10.2f} {row['unit']:<8} {times}")
