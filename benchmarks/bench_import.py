"""What does `import edgemse.stats` cost over bare Python? Each round is a process of its own."""

import statistics
import subprocess
import sys

from measuring import Table, options

PROBE = """
import sys, time
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 2**20
before = resident()
start = time.perf_counter_ns()
exec(sys.argv[1])
spent = time.perf_counter_ns() - start
print(spent / 1e6, resident() - before)
"""


def probe(statement: str, rounds: int) -> tuple[float, float]:
    """Median ms and MiB of a statement in a fresh interpreter."""
    out = [
        subprocess.run(
            [sys.executable, "-c", PROBE, statement], check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(rounds + 1)
    ][1:]
    ms, mib = zip(*out, strict=True)
    return statistics.median(map(float, ms)), statistics.median(map(float, mib))


def main() -> None:
    args = options(__doc__)
    ours, theirs = (probe(f"import {name}", args.rounds) for name in ("edgemse", "json"))
    for at, unit, target in ((0, "ms", "at most 5 ms"), (1, "MiB", "at most 3 MiB")):
        peer = "import json"
        table = Table(f"import, {unit}", peer, target)
        table.add(peer, theirs[at], unit)
        table.add("import edgemse", ours[at], unit)
        table.print(args.json)


if __name__ == "__main__":
    main()
