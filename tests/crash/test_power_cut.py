"""The power goes between two calls, and the disk keeps what it likes of what was not synced."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from crash.disk import Call, Disk
from crash.power import cuts

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing")
SEED = int(os.environ.get("EDGEMSE_SEED", "1"))
CUTS = int(os.environ.get("EDGEMSE_CUTS", "25"))


@needs_strace
@pytest.mark.parametrize("durable_seconds", [75.0, 5.0])
def test_what_was_confirmed_outlives_a_power_cut_and_counts_once(
    durable_seconds: float, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    assert cuts(tmp_path, SEED, durable_seconds, CUTS) == {}


@needs_strace
def test_a_ledger_that_does_not_wait_for_the_disk_is_found_out(tmp_path: Path) -> None:
    assert len(cuts(tmp_path, SEED, 5.0, 10, "careless")) > 3


def test_of_what_was_not_synced_any_part_may_be_there(tmp_path: Path) -> None:
    disk, rng = Disk(), random.Random(1)
    for call in (
        Call("open", "a"),
        Call("write", "a", b"old " * 256),
        Call("sync", "a"),
        Call("write", "a", b"new " * 256),
        Call("write", "a", b"more", 1_024),
        Call("open", "b"),
    ):
        disk.play(call)
    seen = set()
    for number in range(200):
        folder = tmp_path / str(number)
        folder.mkdir()
        disk.power_cut(rng, folder)
        content = (folder / "a").read_bytes()
        sectors = tuple(content[at : at + 3].decode() for at in (0, 512, 1_024))
        seen.add((*sectors, (folder / "b").exists()))
    nothing, torn, whole = ("old", "old"), ("old", "new"), ("new", "new")
    assert {(*nothing, "", False), (*nothing, "mor", True), (*whole, "", True)} <= seen
    assert {each[:2] for each in seen} == {nothing, torn, torn[::-1], whole}
