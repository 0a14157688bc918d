"""The kernel in vectors of 1, 2, 4 and 8 doubles: the same bits, whatever a CPU takes at once."""

import pathlib
import platform
import shutil
import subprocess
import sysconfig

import pytest

from edgemse import stats

HEADERS = pathlib.Path(stats.__file__).parent  # the installed ones: wheels carry them
CC = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
VERSION = CC and subprocess.run([CC, "--version"], capture_output=True, text=True).stdout
WIDTHS = [1, 2, 4, 8] if platform.machine() == "x86_64" else [1]
DEFINE = {4: ['-DFEATURE="avx2"'], 8: ['-DFEATURE="avx512f"'], 1: ["-DEDGEMSE_NATIVE=1"]}

PROGRAM = r"""
#include "_block.h"
#include <stdio.h>
#include <stdlib.h>

#define PASTE(name, width) name##width
#define SUMS(width) PASTE(edgemse_block_sums_, width)

int main(int count, char **kinds)
{
    static double y[EDGEMSE_BLOCK], pred[EDGEMSE_BLOCK], errors[EDGEMSE_BLOCK];
    static const int sizes[] = {1, 7, 8, 9, 24, 63, 64, 65, 72, 200, 511, 1017, 1024};
    uint64_t seed = 1;
    edgemse_block b;
#ifdef FEATURE
    if (!__builtin_cpu_supports(FEATURE))
        return 77;
#endif
    for (int kind = 0; kind < 5; kind++)
        for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            const double offset[5] = {0.0, 1e12, -1e15, 0x1p-500, 0.0};
            for (int i = 0; i < sizes[k]; i++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                y[i] = offset[kind] + (double)(int64_t)seed * (kind == 3 ? 0x1p-580 : 0x1p-60);
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                pred[i] = y[i] + (double)(int64_t)seed * (i % 2 && kind == 4 ? 0x1p-120 : 0x1p-62);
                if (kind == 4 && i % 3 == 2)
                    pred[i] = y[i] - (pred[i - 2] - y[i - 2]);
            }
            printf("%d ", SUMS(WIDTH)(y, pred, errors, sizes[k], &b));
            for (const double *x = (double *)&b; x < (double *)(&b + 1); x++)
                printf("%a ", *x);
            puts("");
        }
    return 0;
}
"""


@pytest.mark.skipif(not VERSION or "clang" in VERSION, reason="no compiler of all the widths")
def test_every_width_gives_the_same_bits(tmp_path):
    (tmp_path / "kernel.c").write_text(PROGRAM)
    seen = {}
    for width in WIDTHS:
        program = tmp_path / f"kernel{width}"
        flags = ["-O3", "-ffp-contract=off", "-fwrapv", f"-I{HEADERS}", f"-DWIDTH={width}"]
        source = [*DEFINE.get(width, []), tmp_path / "kernel.c", "-o", program, "-lm"]
        subprocess.run([CC, *flags, *source], check=True)
        ran = subprocess.run([program], capture_output=True, text=True)
        if ran.returncode != 77:  # this CPU has no such vectors
            assert ran.returncode == 0
            seen[width] = ran.stdout
    assert len(set(seen.values())) == 1, seen.keys()
    assert len(seen[1].splitlines()) == 65
