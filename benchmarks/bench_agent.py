"""What does a line cost the agent's process, what memory does it take, and how soon is it there?

The real daemon on its socket, without a broker: CPU seconds of its process a line (reading, joining
and the ledger's commits in it), beside what json.loads and numpy take for the same lines here.
"""

import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from bench_collector import cpu_seconds, resident_mb
from edgemse_agent.status import ask
from measuring import Table, options

LINES = 200_000
SERIES = 20
BEHIND = 10_000
"""Predictions between one and its label: so many wait, and as many joined ones are remembered."""
PAUSE_SECONDS = 0.05
WHOLE_LIMIT, PAIR_LIMIT, MIB_LIMIT, START_LIMIT = 0.7, 1.8, 36.0, 400.0


def whole(count: int) -> list[bytes]:
    rng = random.Random(1)
    line = b'{"y_true":%.3f,"y_pred":%.3f,"segment":"s%d"}\n'
    return [line % (rng.gauss(20, 5), rng.gauss(20, 5), i % SERIES) for i in range(count)]


def pairs(count: int) -> list[bytes]:
    rng, lines = random.Random(1), []
    for i in range(count // 2):
        segment = i % SERIES
        lines.append(b'{"id":%d,"y_pred":%.3f,"segment":"s%d"}\n' % (i, rng.gauss(20, 5), segment))
        if i >= BEHIND:
            lines.append(b'{"id":%d,"y_true":%.3f}\n' % (i - BEHIND, rng.gauss(20, 5)))
    return lines


def reference(lines: list[bytes]) -> float:
    """CPU microseconds a line of json.loads and numpy for the same figure."""
    start = time.process_time()
    read = [json.loads(line) for line in lines]
    errors = np.array([each["y_pred"] - each["y_true"] for each in read])
    float((errors * errors).mean())
    return (time.process_time() - start) / len(lines) * 1e6


class Running:
    """The daemon, and a client of it."""

    def __init__(self, process: int, path: Path) -> None:
        self.process, self._path, self._taken = process, path, 0

    def cost(self, lines: list[bytes]) -> float:
        """CPU microseconds a line, until the daemon has taken them all."""
        before = cpu_seconds(self.process)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self._path))
            client.sendall(b"".join(lines))
            self._taken += len(lines)
            while ask(self._path, "status")["status"]["health"]["lines"] < self._taken:
                time.sleep(PAUSE_SECONDS)
        return (cpu_seconds(self.process) - before) / len(lines) * 1e6


@contextmanager
def agent(folder: Path) -> Iterator[tuple[Running, float]]:
    """Start the daemon; yield it and the milliseconds until its socket took a connection."""
    path, command = folder / "agent.sock", Path(sys.executable).with_name("edgemse-agent")
    options = ["--broker", "127.0.0.1:1", "--device", "dev", "--ledger", folder / "l"]
    start = time.perf_counter()
    with subprocess.Popen([command, *options, "--socket", path], stderr=subprocess.DEVNULL) as run:
        while True:
            with socket.socket(socket.AF_UNIX) as client:
                if client.connect_ex(str(path)) == 0:
                    break
            time.sleep(PAUSE_SECONDS / 10)
        try:
            yield Running(run.pid, path), (time.perf_counter() - start) * 1e3
        finally:
            run.terminate()


def main() -> None:
    args = options(__doc__)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        with agent(Path(folder)) as (running, started):
            first = resident_mb(running.process)
            lines = whole(LINES)
            costs = {"a whole sample's line": running.cost(lines)}
            costs["a prediction's or label's line"] = running.cost(pairs(LINES))
            last = resident_mb(running.process)
        theirs = reference(lines)
    target = f"at most {WHOLE_LIMIT} x and {PAIR_LIMIT} x"
    table = Table("the agent's process, CPU a line", "json.loads + numpy", target)
    table.add("json.loads + numpy", theirs, "us")
    for what, cost in costs.items():
        table.add(what, cost, "us")
    table.print(args.json)
    table = Table("its memory", "limit", "at most 1 x")
    table.add("limit", MIB_LIMIT, "MiB")
    table.add("at the start", first, "MiB")
    table.add(f"with {BEHIND:,} waiting and {BEHIND:,} joined ids", last, "MiB")
    table.print(args.json)
    table = Table("from its start to the first line", "limit", "at most 1 x")
    table.add("limit", START_LIMIT, "ms")
    table.add("edgemse-agent", started, "ms")
    table.print(args.json)


if __name__ == "__main__":
    main()
