"""Sample sets, ways to fold them, and distances from exact rational arithmetic."""

import math
import random
from array import array
from fractions import Fraction

from edgemse import ErrorStats

SEED = 20261120


def ulps(got: float, want: Fraction) -> float:
    """Distance from an exact value in units in the last place of its double."""
    return float(abs(Fraction(got) - want) / Fraction(math.ulp(float(want))))


def exact_figures(errors):
    x = [Fraction(e) for e in errors]
    mean = sum(x) / len(x)
    m2 = sum((e - mean) ** 2 for e in x)
    return {"bias": mean, "error_variance": m2 / len(x), "mse": mean * mean + m2 / len(x)}


def worst_ulps(stats: ErrorStats, errors) -> float:
    return max(ulps(getattr(stats, name), want) for name, want in exact_figures(errors).items())


def one_by_one(errors, labels=None) -> ErrorStats:
    s = ErrorStats()
    for e, y in zip(errors, labels or [0.0] * len(errors), strict=True):
        s.update(y, y + e)
    return s


def in_batches(errors) -> ErrorStats:
    s = ErrorStats()
    s.update_many(array("d", bytes(8 * len(errors))), array("d", errors))
    return s


def through_bytes(s: ErrorStats) -> ErrorStats:
    return ErrorStats.from_bytes(s.to_bytes())


def split_and_merged(errors, parts: int, rng: random.Random) -> ErrorStats:
    """Pieces of random size, folded either way, merged in a random tree, through bytes."""
    inner = range(1, len(errors))
    cuts = sorted(rng.sample(inner, min(parts - 1, len(inner))))
    ends = zip([0, *cuts], [*cuts, len(errors)], strict=True)
    states = [rng.choice((one_by_one, in_batches))(errors[a:b]) for a, b in ends]
    rng.shuffle(states)
    while len(states) > 1:
        at, other = rng.sample(range(len(states)), 2)
        states[at].merge(through_bytes(states[other]))
        states[other] = states[-1]
        states.pop()
    return states[0]


def nist_by_formula() -> dict[str, list[float]]:
    """The numerical-accuracy sets of NIST's StRD (univariate summary statistics) and SmLs."""
    small = [10000000.2] + [10000000.1, 10000000.3] * 500
    return {
        "NumAcc1": [10000001.0, 10000003.0, 10000002.0],
        "NumAcc2": [1.2] + [1.1, 1.3] * 500,
        "NumAcc3": [1000000.2] + [1000000.1, 1000000.3] * 500,
        "NumAcc4": small,
        "SmLs07": [
            1e12 + 0.1 * (g % 10) + (0.4 if i % 2 else 0.2) for g in range(9) for i in range(1, 202)
        ],
    }


def families(n: int = 4000) -> dict[str, list[float]]:
    rng = random.Random(SEED)
    out = {"standard": [rng.gauss(0.1, 1) for _ in range(n)]}
    for offset in (1e3, 1e8, 1e12, 1e15):
        out[f"offset {offset:g}"] = [offset + rng.gauss(0, 1) for _ in range(n)]
    out["alternating 1e-8 and 1e8"] = [1e-8 if i % 2 else 1e8 for i in range(n)]
    out["random tiny and huge"] = [(1e-8 if i % 2 else 1e8) * rng.random() for i in range(n)]
    out["cancelling pairs"] = [
        x for _ in range(n // 3) for h in [1e8 * rng.random()] for x in (h, 1e-8 * rng.random(), -h)
    ]
    out["ramp"] = [float(i) for i in range(n)]
    out["two values an ulp apart"] = [
        math.nextafter(1e15, 2e15) if i % 3 else 1e15 for i in range(n)
    ]
    out["tiny"] = [1e-150 * rng.gauss(0, 1) for _ in range(n)]
    out["large"] = [1e59 * rng.gauss(0, 1) for _ in range(n)]
    return out | nist_by_formula()
