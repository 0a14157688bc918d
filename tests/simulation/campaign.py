"""Let simulated devices live for years while everything breaks, and audit what arrived.

    python tests/simulation/campaign.py [--years 100] [--lives 0] [--seed 1] [--days 365]

A device-year is one seed and takes half a minute of CPU; a life is 200 busy seconds. A seed plays
the same events again. Exit code 1 if a sample is lost, counted twice or late.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation.world import DAY_SECONDS, lived, lived_long


def one(job: tuple[int, float]) -> tuple[int, str]:
    """Run a life of so many days, a short one for 0; return its seed and what was wrong."""
    seed, days = job
    logging.disable(logging.CRITICAL)  # what breaks is told, and is what this is about
    with tempfile.TemporaryDirectory(prefix="edgemse-simulation-") as name:
        try:
            folder = Path(name)
            found = lived_long(seed, folder, days * DAY_SECONDS) if days else lived(seed, folder)
        except Exception as error:  # a defect, or what never arrives
            found = f"{type(error).__name__}: {error}"
    return seed, found


def main() -> int:
    """Run what the command line asks for, and print what was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--years", type=int, default=100, help="devices that live for --days")
    parser.add_argument("--days", type=float, default=365.0)
    parser.add_argument("--lives", type=int, default=0, help="devices of 200 busy seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=None, help="default: one a CPU")
    given = parser.parse_args()
    jobs = [(given.seed + n, given.days) for n in range(given.years)]
    jobs += [(given.seed + n, 0.0) for n in range(given.lives)]
    done, wrong = 0, {}
    with multiprocessing.Pool(given.processes) as pool:
        for seed, found in pool.imap_unordered(one, jobs):
            done += 1
            if found:
                wrong[seed] = found
                print(f"seed {seed}: {found}", flush=True)
            if done % 10 == 0:
                print(f"{done} of {len(jobs)}", flush=True)
    print(json.dumps({"seed": given.seed, "years": given.years, "lives": given.lives} | wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
