"""Cut a device's power, and let its disk fail, many times, and compare what arrives in the end.

    python tests/crash/campaign.py [--lives 20] [--cuts 50] [--troubles 100] [--seed 1]

Each life is recorded once and its power cut at so many moments; `durable_seconds` is 75 and 5 in
turn. Each trouble (a disk that is full, fails or is read-only for a while) is a life of its own.
Exit code 1 if what was confirmed is missing or counted twice, or a ledger was not read again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from crash.power import cuts, troubled, troubles

DURABLE_SECONDS = (75.0, 5.0)


def main() -> int:
    """Run what the command line asks for, and print what was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lives", type=int, default=20)
    parser.add_argument("--cuts", type=int, default=50, help="power cuts a life")
    parser.add_argument("--troubles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    wrong = {}
    with tempfile.TemporaryDirectory(prefix="edgemse-crash-") as name:
        folder = Path(name)
        for number in range(given.lives):
            seed, durable = given.seed + number, DURABLE_SECONDS[number % 2]
            for moment, why in cuts(folder / f"life {seed}", seed, durable, given.cuts).items():
                wrong[f"seed {seed}, durable_seconds {durable:g}, after call {moment}"] = why
                print(f"seed {seed}, after call {moment}: {why}", flush=True)
        for trouble in troubles(given.seed, given.troubles):
            why = troubled(folder / "trouble", given.seed, trouble)
            if why:
                wrong[f"seed {given.seed}, {trouble}"] = why
                print(f"{trouble}: {why}", flush=True)
    done = {"seed": given.seed, "lives": given.lives, "power_cuts": given.lives * given.cuts}
    print(json.dumps(done | {"troubles": given.troubles, "wrong": wrong}, indent=1))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
