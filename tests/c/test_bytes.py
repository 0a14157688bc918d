"""The C client makes the bytes that ErrorStats makes, of the same calls, whoever compiles it."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
from support.compiled_c import (
    COMPILERS,
    HEADERS,
    PROGRAMS,
    SANITIZED,
    Sample,
    c_states,
    compile_c,
    python_stats,
    random_stream,
)

STREAMS = int(os.environ.get("EDGEMSE_C_STREAMS", "3000"))
SEED = int(os.environ.get("EDGEMSE_SEED", "1"))
BATCH = 2_000
pytestmark = pytest.mark.timeout(7_200)

BUILDS = [(name, flags) for name in COMPILERS for flags in (("-O2",), ("-Os",))]
BUILDS.append((COMPILERS[0], SANITIZED))


@pytest.mark.parametrize("buckets", [0, 64, 512])
@pytest.mark.parametrize(("compiler", "flags"), BUILDS, ids=lambda part: "".join(part)[:12])
def test_the_bytes_are_the_same(
    tmp_path: Path, compiler: str, flags: tuple[str, ...], buckets: int
) -> None:
    define = f"-DEDGEMSE_BUCKETS={buckets}"
    program = compile_c(
        PROGRAMS / "streams.c", tmp_path / "streams", *flags, define, compiler=compiler
    )
    rng = random.Random(SEED)
    bare = 0
    # The whole number for the build that everybody uses; the others get a tenth.
    wanted = STREAMS if flags == ("-O2",) else STREAMS // 10
    for start in range(0, wanted, BATCH):
        streams = [random_stream(rng) for _ in range(min(BATCH, wanted - start))]
        for number, (stream, got) in enumerate(
            zip(streams, c_states([program], streams), strict=True), start
        ):
            stats = python_stats(stream)
            without = stats.to_bytes(histogram=False)
            want = stats.to_bytes() if buckets else without
            if buckets == 64 and got == without != want:
                bare += 1  # its errors lie too far apart for 64 buckets, which it says
                continue
            assert got == want, f"EDGEMSE_SEED={SEED}, stream {number}: {stream}"
    assert bare < wanted / 2
    assert bare or buckets != 64


def test_a_histogram_is_given_up_only_when_it_must_be(tmp_path: Path) -> None:
    program = compile_c(PROGRAMS / "streams.c", tmp_path / "streams", "-DEDGEMSE_BUCKETS=64")
    near = [Sample(0.0, 2.0**k, 1.0) for k in (0, 7, -0.875)]
    far = [Sample(0.0, 1.0, 1.0), Sample(0.0, 2.0**-8, 1.0)]
    # 64 octaves apart: nobody has buckets for both, and the small ones belong to the zero bucket
    apart = [Sample(0.0, 2.0**-80, 1.0), Sample(0.0, 1.0, 1.0), Sample(0.0, -(2.0**-70), 1.0)]
    got = c_states([program], [near, far, far[::-1], apart])
    assert got[0] == python_stats(near).to_bytes()
    assert got[1] == python_stats(far).to_bytes(histogram=False)
    assert got[2] == python_stats(far[::-1]).to_bytes(histogram=False)
    assert got[3] == python_stats(apart).to_bytes()


def test_one_header_of_all_is_the_same(tmp_path: Path) -> None:
    make = ["make", "-s", "-C", str(HEADERS), f"OUT={tmp_path}", "single"]
    assert subprocess.run(make, timeout=60).returncode == 0
    alone = tmp_path / "alone.c"
    alone.write_text((PROGRAMS / "streams.c").read_text())
    assert '#include "edgemse_' not in (tmp_path / "edgemse.h").read_text()
    # the folder of a file goes before those of -I
    program = compile_c(alone, tmp_path / "streams", "-DEDGEMSE_BUCKETS=512")
    rng = random.Random(SEED)
    streams = [random_stream(rng) for _ in range(100)]
    assert c_states([program], streams) == [python_stats(each).to_bytes() for each in streams]


@pytest.mark.parametrize("flags", [("-O2", "-ffast-math"), ("-DEDGEMSE_BUCKETS=48",)])
def test_what_would_make_other_bytes_does_not_compile(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    with pytest.raises(AssertionError, match="#error"):
        compile_c(PROGRAMS / "streams.c", tmp_path / "streams", *flags)
