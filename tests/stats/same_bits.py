"""Recipes whose results are the same bits on every CPU, and the file that says which.

Every number comes from integers: by a shift, a product with a power of two, or its 64 bits. No
libm and no decimal takes part, so where a digest differs, edgemse's own arithmetic did.
`python tests/stats/same_bits.py` writes the file anew; do that only where the arithmetic was meant
to change, and run `make test-arm` then.
"""

import hashlib
import json
import pathlib
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from itertools import count, islice

from edgemse import ErrorStats, merge_all

FILE = pathlib.Path(__file__).parent / "golden_bits.json"
SAMPLES = 3000
MASK = 2**64 - 1

Samples = list[tuple[float, float, float]]


def splitmix(seed: int) -> Iterator[int]:
    """Steele, Lea and Flood's SplitMix64 (2014): 64 random bits at a time."""
    while True:
        seed = seed + 0x9E3779B97F4A7C15 & MASK
        z = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        yield z ^ z >> 31


def of_bits(bits: int) -> float:
    return struct.unpack("<d", bits.to_bytes(8, "little"))[0]


def power_of_two(exponent: int) -> float:
    """Of a normal number."""
    return of_bits(exponent + 1023 << 52)


def signed(bits: int, exponent: int) -> float:
    """A multiple of 2^(exponent - 52) from -2^exponent to 2^exponent."""
    return float((bits & 2**53 - 1) - 2**52) * power_of_two(exponent - 52)


def bell(bits: int, exponent: int) -> float:
    """Four 16-bit numbers added up: nearly normal, sd about 2^exponent."""
    total = sum(bits >> shift & 0xFFFF for shift in (0, 16, 32, 48)) - 4 * 32768
    return float(total) * power_of_two(exponent - 15)


def ranges(e_offset: int, y_offset: int) -> Callable[[Iterator[int]], tuple[float, float]]:
    def draw(bits: Iterator[int]) -> tuple[float, float]:
        y = float(y_offset) + bell(next(bits), 3)
        return y, y + float(e_offset) + bell(next(bits), 0)

    return draw


def uneven(bits: Iterator[int]) -> tuple[float, float]:
    """Magnitudes from 2^-40 to 2^39, either sign."""
    return signed(next(bits), 4), signed(next(bits), next(bits) % 80 - 40)


def subnormal(bits: Iterator[int]) -> tuple[float, float]:
    """Flushing to zero (NEON, SSE's FTZ) would show here."""
    return 0.0, of_bits(next(bits) & (1 << 63 | 2**52 - 1))


def nearly_underflowing(bits: Iterator[int]) -> tuple[float, float]:
    """Squares are subnormal, and so are the rests of products."""
    return signed(next(bits), -530), signed(next(bits), -520)


def huge(bits: Iterator[int]) -> tuple[float, float]:
    return signed(next(bits), 199), signed(next(bits), 198)


def anything(bits: Iterator[int]) -> tuple[float, float]:
    """Every double there is: NaN, infinities and what is out of range are refused and counted."""
    return of_bits(next(bits)), of_bits(next(bits))


def bounds(bits: Iterator[int]) -> tuple[float, float]:
    """Powers of two and their neighbours: bounds of buckets."""
    draw = next(bits)
    near = (draw % 80 + 983 << 52) + (draw >> 8) % 3 - 1
    return 0.0, of_bits(near | (draw >> 16 & 1) << 63)


def constant(bits: Iterator[int]) -> tuple[float, float]:
    return 1.0, 1.0 + 3.0 * power_of_two(-30)


def whole(bits: Iterator[int]) -> tuple[float, float]:
    return float(next(bits) % 100), float(next(bits) % 100)


KINDS: dict[str, Callable[[Iterator[int]], tuple[float, float]]] = {
    "about zero": ranges(0, 20),
    "offset 10^3": ranges(10**3, 10**3),
    "offset 10^8": ranges(10**8, -(10**8)),
    "offset 10^12": ranges(-(10**12), 10**12),
    "offset 10^15": ranges(10**15, 0),
    "uneven": uneven,
    "subnormal": subnormal,
    "nearly underflowing": nearly_underflowing,
    "huge": huge,
    "anything": anything,
    "bounds": bounds,
    "constant": constant,
    "whole": whole,
}


def weight(bits: int) -> float:
    """Mostly ordinary; some zero, out of range or not finite."""
    if bits % 17 == 0:
        return (0.0, of_bits(0x7FF0 << 48), of_bits(0x7FF8 << 48), power_of_two(120))[bits >> 8 & 3]
    return float(1 + (bits >> 16 & 0xFFFF)) * power_of_two(bits % 13 - 20)


def samples_of(kind: str) -> Samples:
    bits = splitmix(sum(kind.encode()) * 0x10001)
    return [(*KINDS[kind](bits), weight(next(bits))) for _ in range(SAMPLES)]


def one_by_one(samples: Samples) -> ErrorStats:
    s = ErrorStats()
    for y, pred, _ in samples:
        s.update(y, pred)
    return s


def weighted_one_by_one(samples: Samples) -> ErrorStats:
    s = ErrorStats()
    for sample in samples:
        s.update(*sample)
    return s


def batch(samples: Samples) -> ErrorStats:
    s = ErrorStats()
    y, pred, _ = zip(*samples, strict=True)
    s.update_many(array("d", y), array("d", pred))
    return s


def weighted_batch(samples: Samples) -> ErrorStats:
    s = ErrorStats()
    s.update_many(*(array("d", column) for column in zip(*samples, strict=True)))
    return s


def mixed(samples: Samples) -> ErrorStats:
    """Batches of every size around the lanes and the block, with single ones in between."""
    s = ErrorStats()
    rest = iter(samples)
    for size in (1, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 300, 1023, 1024):
        part = list(islice(rest, size))
        s.update_many([y for y, _, _ in part], [pred for _, pred, _ in part])
        for sample in islice(rest, size % 5):
            s.update(*sample)
    return s


def merged(samples: Samples) -> ErrorStats:
    """Pieces of 1, 2, 3 ... samples, merged as a balanced tree through bytes."""
    rest = iter(samples)
    states = []
    for size in count(1):
        piece = list(islice(rest, size))
        if not piece:
            break
        states.append((one_by_one, batch, weighted_batch)[size % 3](piece))
    while len(states) > 1:
        for left, right in zip(states[::2], states[1::2], strict=False):
            left.merge(ErrorStats.from_bytes(right.to_bytes()))
        states = states[::2]
    return states[0]


def chained(samples: Samples) -> ErrorStats:
    return merge_all(batch(samples[i : i + 60]) for i in range(0, len(samples), 60))


def converted(samples: Samples) -> ErrorStats:
    """Columns of whole numbers of every width."""
    s = ErrorStats()
    for i, code in enumerate("bBhHiIqQ"):
        numbers = [(j * 2654435761 >> i) % 120 for j in range(100)]
        s.update_many(array(code, numbers), array(code, numbers[::-1]))
    single = array("f", [float(j % 512) * power_of_two(-8) for j in range(len(samples))])
    s.update_many(single, single[::-1])
    return s


WAYS: dict[str, Callable[[Samples], ErrorStats]] = {
    "one by one": one_by_one,
    "weighted, one by one": weighted_one_by_one,
    "batch": batch,
    "weighted batch": weighted_batch,
    "mixed": mixed,
    "merged": merged,
    "chained": chained,
}

# Those that take only + - * / and sqrt, which IEEE 754 rounds correctly everywhere. Intervals and
# shares ask libm for exp and log, whose last bit is the C library's.
FIGURES = [
    "weight",
    "effective_count",
    "mse",
    "rmse",
    "bias",
    "error_variance",
    "skewness",
    "kurtosis",
    "mae",
    "min_error",
    "max_error",
    "r2",
    "nrmse",
    "correlation",
    "calibration_slope",
    "mse_standard_error",
]


def digest(s: ErrorStats) -> str:
    """Of the bytes, the histogram's bytes, the figures and some quantiles."""
    figures = [getattr(s, name) for name in FIGURES]
    figures += [s.quantile(k / 16) for k in range(17)] + [s.abs_quantile(k / 16) for k in range(17)]
    told = " ".join("nan" if x != x else x.hex() for x in figures)
    return hashlib.sha256(s.to_bytes() + s.histogram.to_bytes() + told.encode()).hexdigest()


def digests_of(kind: str) -> dict[str, str]:
    samples = samples_of(kind)
    return {name: digest(way(samples)) for name, way in WAYS.items()}


def long_batch() -> str:
    """Above the size from which a batch is folded without the GIL, in whole and in part blocks."""
    bits = splitmix(2026)
    return digest(batch([(signed(next(bits), 2), bell(next(bits), 1), 1.0) for _ in range(17_001)]))


def everything() -> dict[str, dict[str, str]]:
    golden = {kind: digests_of(kind) for kind in KINDS}
    golden["other"] = {
        "columns of every kind": digest(converted(samples_of("whole"))),
        "long batch": long_batch(),
    }
    return golden


if __name__ == "__main__":
    FILE.write_text(json.dumps(everything(), indent=1) + "\n")
    sys.stdout.write(f"{FILE} written\n")
