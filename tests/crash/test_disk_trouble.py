"""A disk that is full, fails or takes nothing for a while, from any call on: nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.power import Trouble, troubled, troubles
from crash.test_power_cut import SEED, needs_strace

EDGES = [
    Trouble("pwrite64", "ENOSPC", 1, 300),
    Trouble("pwrite64", "ENOSPC", 8, 3),
    Trouble("pwrite64", "EROFS", 100, 300),
    Trouble("fdatasync", "EIO", 40, 3),
]


@needs_strace
@pytest.mark.parametrize(
    "trouble", [*EDGES, *troubles(SEED, 4)], ids=lambda each: "-".join(map(str, each))
)
def test_what_the_disk_refuses_stays_in_memory_and_counts_once(
    trouble: Trouble, tmp_path: Path
) -> None:
    assert troubled(tmp_path / "life", SEED, trouble) == ""
