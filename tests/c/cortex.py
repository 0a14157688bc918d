"""Random streams through the C client as a Cortex-M runs it, in qemu, against ErrorStats."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from support.compiled_c import CORTEX, PROGRAMS, c_states, compile_c, python_stats, random_stream

STREAMS = int(os.environ.get("EDGEMSE_CORTEX_STREAMS", "20000"))
SEED = int(os.environ.get("EDGEMSE_SEED", "1"))
BATCH = 500
FREESTANDING = ("-DALONE", "-nostdlib", "-Wl,--gc-sections")
"""streams.c then makes its system calls itself: qemu's user mode needs no board."""


def built(core: str, folder: str, *flags: str) -> Path:
    """Return streams.c as that core runs it."""
    every = (*CORTEX, f"-mcpu={core}", *FREESTANDING, "-DEDGEMSE_BUCKETS=512", *flags, "-lgcc")
    program = Path(folder) / "streams"
    return compile_c(PROGRAMS / "streams.c", program, *every, compiler="arm-none-eabi-gcc")


def main() -> int:
    """Run the streams on each core; 1 if a state differs."""
    if not is_noticed():
        print("edgemse_sound takes libgcc's addition of doubles on a Cortex-M4 for right")
        return 1
    for core in ("cortex-m4", "cortex-m0plus"):
        with tempfile.TemporaryDirectory() as folder:
            program = built(core, folder)
            rng = random.Random(SEED)
            for start in range(0, STREAMS, BATCH):
                streams = [random_stream(rng) for _ in range(min(BATCH, STREAMS - start))]
                states = c_states(["qemu-arm-static", program], streams)
                for number, (stream, got) in enumerate(zip(streams, states, strict=True), start):
                    if got != python_stats(stream).to_bytes():
                        print(f"{core}: EDGEMSE_SEED={SEED}, stream {number} differs: {stream}")
                        return 1
        print(f"{core}: {STREAMS} streams, the same bytes")
    return 0


def is_noticed() -> bool:
    """Tell whether the program says that libgcc's own addition will not do."""
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(["qemu-arm-static", built("cortex-m4", folder, "-DEDGEMSE_SUM_33=0")])
    return ran.returncode == 1


if __name__ == "__main__":
    sys.exit(main())
