"""The C client compiled, and random streams of samples through it and through ErrorStats."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgemse import ErrorStats

ROOT = Path(__file__).parent.parent.parent
HEADERS = ROOT / "agent" / "c"
PROGRAMS = ROOT / "tests" / "c"
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)] or ["cc"]
CORTEX = ("-Os", "-mthumb", "-ffreestanding", "-ffunction-sections")
NAN, INFINITY = float("nan"), float("inf")


class Sample(NamedTuple):
    """What one call of `update` takes."""

    y_true: float
    y_pred: float
    weight: float


Stream = list[Sample]


def compile_c(source: Path, program: Path, *flags: str, compiler: str = COMPILERS[0]) -> Path:
    """Compile a file of C against the headers, any warning being an error; return the program."""
    command = [compiler, *WARNINGS, "-I", str(HEADERS), str(source), "-o", str(program), *flags]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert ran.returncode == 0, ran.stderr
    return program


def random_stream(rng: random.Random) -> Stream:
    """Draw a stream of any kind that there is: plain, weighted, refused, huge, tiny, cancelling."""
    lengths = (0, 1, 2, 3, 8, 16, 17, 23, 24, 25, 40, 48, 49, 100)
    count = rng.choice(lengths) if rng.random() < 0.5 else rng.randrange(60)
    kind, weights = rng.randrange(8), rng.randrange(5)
    offset = rng.choice((0.0, 1.0, 1e3, 1e8, 1e15, 1e-300))
    scale = rng.choice((1.0, 1e-8, 1e8, 1e-150, 1e59, 5e-324))
    return [Sample(*_pair(rng, kind, offset, scale), _weight(rng, weights)) for _ in range(count)]


def _pair(rng: random.Random, kind: int, offset: float, scale: float) -> tuple[float, float]:
    if kind == 0:  # any bits at all, NaN and infinity among them
        return struct.unpack("<dd", rng.randbytes(16))
    if kind == 1:
        return 0.0, struct.unpack("<d", rng.randbytes(8))[0]
    if kind == 2:
        return rng.choice((0.0, -0.0, 1.0, offset)), rng.choice((0.0, -0.0, 1.5, offset))
    y = offset if kind == 3 else offset + scale * rng.gauss(0, 1)
    if kind == 4:
        return y, y + rng.choice((1e8, -1e8, 1e-8)) * rng.random()
    return y, y + scale * rng.gauss(0, 1)


def _weight(rng: random.Random, kind: int) -> float:
    if kind == 1:
        return rng.choice((1.0, 1.0, 2.0, 0.5, rng.random()))
    if kind == 2:
        return rng.choice((0.0, -0.0, -1.0, 1.0, NAN, INFINITY, 2.0**-100, 2.0**100, 1e40, 1e-40))
    if kind == 3 and rng.random() < 0.05:
        return 3.0
    return 1.0


def python_stats(stream: Stream) -> ErrorStats:
    """Return what ErrorStats makes of the stream."""
    stats = ErrorStats()
    for sample in stream:
        try:
            stats.update(*sample)
        except ValueError:  # a negative weight, which C answers with a code
            assert sample.weight < 0.0
    return stats


def c_states(program: Sequence[str | Path], streams: Sequence[Stream]) -> list[bytes]:
    """Return the states' bytes that a build of streams.c makes of the streams."""
    packed = b"".join(
        struct.pack("<I", len(stream)) + b"".join(struct.pack("<ddd", *s) for s in stream)
        for stream in streams
    )
    ran = subprocess.run(program, input=packed, capture_output=True, timeout=600)
    assert ran.returncode == 0, ran.stderr.decode()
    states, at = [], 0
    while at < len(ran.stdout):
        (size,) = struct.unpack_from("<I", ran.stdout, at)
        states.append(ran.stdout[at + 4 : at + 4 + size])
        at += 4 + size
    assert len(states) == len(streams)
    return states
