"""States at the very edge of what is accepted, and the fleet's merge in plain doubles."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence

from edgemse import ErrorStats
from edgemse.errors import CorruptStateError
from edgemse.stats.moments import Moments

__all__ = ["accepted", "edge_of", "honest", "merged_by_table", "pushed", "sealed"]

OFFSETS = (0.0, 0.0, 1.0, 1e3, 1e8, -1e12, 1e15, 2.0**199)
SCALES = (1.0, 1.0, 1e-9, 1e5, 0.0, 1e-40, 1e-160, 2.0**198)
WEIGHTS = ((1.0,), (1.0,), (0.5, 2.0), (2.0**-100, 2.0**100), (2.0**-20, 1.0))
LABELS = (0.0, 20.0, 1e15)
FIELDS = ("mean", "m2", "m3", "m4", "abs_sum", "y_mean", "y_m2", "y_e", "weight", "weight2")
PAIRS = ("mean", "y_mean", "weight", "m2", "y_m2", "y_e")
HALVINGS = 70  # more than the 64 between neighbouring doubles and the farthest ones


def honest(rng: random.Random) -> ErrorStats:
    """1 to 100 samples of one of many kinds: far off, nearly constant, skewed, weighted."""
    s = ErrorStats()
    offset, scale, labels = rng.choice(OFFSETS), rng.choice(SCALES), rng.choice(LABELS)
    weights = rng.choice(WEIGHTS)
    for _ in range(rng.choice((1, 2, 3, 5, 30, 100))):
        shape = rng.choice((rng.gauss(0, 1), rng.choice((-1, 1)), rng.expovariate(1) ** 3))
        y = labels + rng.choice((0, 1)) * rng.gauss(0, 1)
        s.update(y, y + offset + scale * shape, rng.choice(weights))
    return s if s.count else honest(rng)


def edge_of(m: Moments, rng: random.Random) -> Moments:
    """The same with up to four of the numbers pushed to the edge of what is accepted."""
    largest = max(abs(m.max_error), abs(m.min_error), 1e-30)
    total = m.weight
    either = rng.choice((-1.0, 1.0))
    far = {
        "mean": either * 2 * largest,
        "m2": rng.choice((0.0, 4 * total * largest**2)),
        "m3": either * 8 * total * largest**3,
        "m4": either * 16 * total * largest**4,
        "abs_sum": rng.choice((0.0, 2 * total * largest)),
        "y_mean": either * 2.0**201,
        "y_m2": rng.choice((0.0, total * 2.0**404)),
        "y_e": either * total * 2.0**300,
        "weight": total * rng.choice((0.001, 1000.0)),
        "weight2": m.weight2 * rng.choice((0.001, 1000.0)),
    }
    for field in rng.sample(FIELDS, rng.choice((0, 1, 1, 2, 4))):
        m = pushed(m, field, far[field])
    return m


def sealed(m: Moments) -> bytes:
    """The bytes of a state with these moments and no histogram, whatever they are."""
    count, *weights = m[:4]
    body = (*m[4:19],)
    mask = 1 << 18 | 4 * (tuple(weights) != (count, 0.0, count))
    mask |= sum(1 << (3 + place) for place, value in enumerate(body) if value != 0.0)
    numbers = [*(weights if mask & 4 else ()), *(value for value in body if value != 0.0)]
    return b"\x01" + _varint(count) + _varint(mask) + struct.pack(f"<{len(numbers)}d", *numbers)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def accepted(m: Moments) -> ErrorStats | None:
    """The state if its bytes are accepted."""
    try:
        return ErrorStats.from_bytes(sealed(m))
    except CorruptStateError:
        return None


def pushed(m: Moments, field: str, far: float) -> Moments:
    """The same with a field as far on its way to `far` as it is accepted, to the last bit."""
    good, bad = getattr(m, field), far
    lost = {f"{field}_lo": 0.0} if field in PAIRS else {}
    if accepted(m._replace(**{field: good}, **lost)) is None:
        return m
    for _ in range(HALVINGS):
        half = good + (bad - good) / 2
        if accepted(m._replace(**{field: half}, **lost)) is None:
            bad = half
        else:
            good = half
    return m._replace(**{field: good + 0.0}, **lost)


def plain_sum(values: Iterable[float]) -> float:
    """One after the other; `sum` of floats is compensated from Python 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total


def merged_by_table(rows: Sequence[Moments]) -> Moments:
    """edgemse/fleet/merge.sql and what follows it, doubles added one after the other."""
    total = plain_sum(r.weight for r in rows)
    k, s, d = _origin([(r.weight, r.mean, r.mean_lo) for r in rows], total)
    y_k, y_s, y_d = _origin([(r.weight, r.y_mean, r.y_mean_lo) for r in rows], total)
    each = list(zip(rows, d, y_d, strict=True))
    m2 = plain_sum(r.m2 + r.weight * x * x for r, x, _ in each)
    m3 = plain_sum(r.m3 + 3 * x * r.m2 + r.weight * x * x * x for r, x, _ in each)
    m4 = plain_sum(
        r.m4 + 4 * x * r.m3 + 6 * x * x * r.m2 + r.weight * x * x * x * x for r, x, _ in each
    )
    y_m2 = plain_sum(r.y_m2 + r.weight * y * y for r, _, y in each)
    y_e = plain_sum(r.y_e + r.weight * y * x for r, x, y in each)
    values = {name: plain_sum(getattr(r, name) for r in rows) for name in Moments._fields}
    values |= {name: int(values[name]) for name in ("count", "nonfinite", "out_of_range")}
    values |= {
        "mean": k,
        "mean_lo": s,
        "y_mean": y_k,
        "y_mean_lo": y_s,
        "m2": m2 - total * s * s,
        "m3": m3 - 3 * s * m2 + 2 * total * s * s * s,
        "m4": m4 - 4 * s * m3 + 6 * s * s * m2 - 3 * total * s * s * s * s,
        "y_m2": y_m2 - total * y_s * y_s,
        "y_e": y_e - total * y_s * s,
        "min_error": min(r.min_error for r in rows),
        "max_error": max(r.max_error for r in rows),
    }
    for name in PAIRS:
        high, low = values[name], values[f"{name}_lo"]
        values[name] = high + low
        part = values[name] - high
        values[f"{name}_lo"] = (high - (values[name] - part)) + (low - part)
    for name in ("m2", "m4", "y_m2"):
        if values[name] < 0:
            values[name] = 0.0
            values |= {f"{name}_lo": 0.0} if name in PAIRS else {}
    return Moments(**values)


def _origin(
    means: Sequence[tuple[float, float, float]], total: float
) -> tuple[float, float, list[float]]:
    average = plain_sum(w * mean for w, mean, _ in means) / total
    k = max(min(average, max(mean for _, mean, _ in means)), min(mean for _, mean, _ in means))
    d = [(mean - k) + low for _, mean, low in means]
    return k, plain_sum(w * x for (w, _, _), x in zip(means, d, strict=True)) / total, d
