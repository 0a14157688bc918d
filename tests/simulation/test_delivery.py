"""Whatever breaks between them, what the clients fed is what the collector has: once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from simulation.world import DAY_SECONDS, lived, lived_long

FIRST = int(os.environ.get("EDGEMSE_SEED", "1"))
SEEDS = int(os.environ.get("EDGEMSE_SEEDS", "200"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_every_sample_arrives_once(seed: int, tmp_path: Path) -> None:
    print(f"seed {seed}; EDGEMSE_SEED={seed} EDGEMSE_SEEDS=1 repeats it")
    assert lived(seed, tmp_path) == ""


def test_every_sample_of_a_month_arrives_once(tmp_path: Path) -> None:
    print(f"seed {FIRST}; make simulate ARGS='--years 1 --seed {FIRST}' is a year of it")
    assert lived_long(FIRST, tmp_path, 30 * DAY_SECONDS) == ""
