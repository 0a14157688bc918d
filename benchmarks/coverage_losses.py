"""Does the 95 % interval of a mean loss cover the truth 95 times in 100? Simulated, seeded.

Target: 93.5 to 96.5 % at n = 200 and 2,000. The truth is the mean of 4 million samples.
"""

import argparse
import json

import numpy as np

from edgemse import LossStats


def events(rng, n):
    chance = rng.uniform(0, 1, n)
    return (rng.uniform(size=n) < chance).astype(float), chance


def counts(rng, n):
    y = rng.exponential(10, n)
    return y, y * np.exp(rng.normal(0, 0.3, n))


def far_from_zero(rng, n):
    y = rng.uniform(5, 15, n)
    return y, y + rng.normal(0, 2, n)


CASES = {
    "huber, normal": ("huber", {"delta": 1.0}, lambda r, n: (np.zeros(n), r.normal(0, 1, n))),
    "huber, Laplace": ("huber", {"delta": 1.0}, lambda r, n: (np.zeros(n), r.laplace(0, 1, n))),
    "mape, labels 5 to 15": ("mape", {"floor": 1.0}, far_from_zero),
    "smape, labels 5 to 15": ("smape", {}, far_from_zero),
    "pinball, 90 %": (
        "pinball",
        {"quantile": 0.9},
        lambda r, n: (r.normal(0, 1, n), np.full(n, 1.28155)),
    ),
    "rmsle, factors of 30 %": ("rmsle", {}, counts),
    "log_loss, calibrated": ("log_loss", {}, events),
    "brier, calibrated": ("brier", {}, events),
}


def coverage(name, parameters, draw, n: int, repetitions: int) -> float:
    rng = np.random.default_rng(20261120)
    whole = LossStats(name, **parameters)
    for _ in range(8):
        whole.update_many(*draw(rng, 500_000))
    covered = 0
    for _ in range(repetitions):
        s = LossStats(name, **parameters)
        s.update_many(*draw(rng, n))
        low, high = s.interval()
        covered += low <= whole.mean <= high
    return 100 * covered / repetitions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {}
    for title, case in CASES.items():
        for n in (200, 2000):
            found[f"{title}, n={n}"] = covered = coverage(*case, n, args.repetitions)
            if not args.json:
                print(f"{title:<26} n={n:<5} covers {covered:5.1f} %", flush=True)
    if args.json:
        print(json.dumps({"repetitions": args.repetitions, "coverage": found}))


if __name__ == "__main__":
    main()
