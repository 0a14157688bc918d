"""What the C client takes of a microcontroller: code, memory, stack (docs/c.md has the figures)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.compiled_c import CORTEX, PROGRAMS, ROOT, compile_c

CODE_BYTES_MAX = 8_192
HISTOGRAM_BYTES_MAX = 1_400
PAGE = (ROOT / "docs" / "c.md").read_text()
BOARDS = ("cortex-m0plus", "cortex-m4")


@pytest.fixture(scope="module")
def needs_arm_gcc() -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc on PATH")


def built(folder: Path, board: str, buckets: int) -> Path:
    """Return the object of device.c, which calls everything that a device does."""
    flags = (*CORTEX, f"-mcpu={board}", f"-DEDGEMSE_BUCKETS={buckets}", "-fstack-usage", "-c")
    return compile_c(
        PROGRAMS / "device.c", folder / "device.o", *flags, compiler="arm-none-eabi-gcc"
    )


def code_bytes(program: Path) -> int:
    """Return its text: instructions and constants."""
    ran = subprocess.run(
        ["arm-none-eabi-size", program], capture_output=True, text=True, check=True, timeout=20
    )
    return int(ran.stdout.splitlines()[1].split()[0])


@pytest.mark.parametrize("board", BOARDS)
def test_the_code_fits_into_8_kib(needs_arm_gcc: None, tmp_path: Path, board: str) -> None:
    moments = code_bytes(built(tmp_path, board, 0))
    assert moments <= CODE_BYTES_MAX
    assert code_bytes(built(tmp_path, board, 512)) <= moments + HISTOGRAM_BYTES_MAX


@pytest.mark.parametrize("board", BOARDS)
def test_it_needs_no_library_but_the_compilers(
    needs_arm_gcc: None, tmp_path: Path, board: str
) -> None:
    ran = subprocess.run(
        ["arm-none-eabi-nm", "--undefined-only", built(tmp_path, board, 512)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    names = set(re.findall(r"U (\w+)", ran.stdout))
    assert {name for name in names if not name.startswith("__")} <= {"memcpy", "memset"}
    assert not names & {"malloc", "free", "__aeabi_uldivmod"}


def test_what_the_documentation_says_of_memory_holds(needs_arm_gcc: None, tmp_path: Path) -> None:
    """A cell, its histogram, and the deepest stack, as docs/c.md has them."""
    for board in BOARDS:
        for buckets, cell in ((0, 592), (512, 4_696)):
            built(tmp_path, board, buckets)
            check = tmp_path / "check.c"
            check.write_text(
                '#include "edgemse.h"\n'
                f"typedef char as_documented[sizeof(edgemse_cell) == {cell} ? 1 : -1];\n"
                "extern as_documented unused;\n"
            )
            compile_c(
                check,
                tmp_path / "check.o",
                *CORTEX,
                f"-mcpu={board}",
                f"-DEDGEMSE_BUCKETS={buckets}",
                "-c",
                compiler="arm-none-eabi-gcc",
            )
            assert f"{cell:,} bytes" in PAGE
