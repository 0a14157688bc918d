"""The proof must fail when it should: one sample lost, one doubled, one altered, none at all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edgemse.demo.proof import Proof, prove
from edgemse.demo.truth import TruthFile, read_truth
from edgemse.stats.error_stats import ErrorStats

Samples = list[tuple[float, float]]
KEY = ("cpu0", "rls")


@pytest.fixture
def samples() -> Samples:
    rng = random.Random(5)
    return [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(5_000)]


def proof_of(merged: Samples, raw: Samples, folder: Path) -> Proof:
    """Compare cells of 100 samples each, merged in another order, with a file of raw samples."""
    cells = []
    for start in range(0, len(merged), 100):
        cell = ErrorStats()
        for sample in merged[start : start + 100]:
            cell.update(*sample)
        cells.append(cell)
    fleet = ErrorStats()
    for cell in reversed(cells):
        fleet.merge(cell)
    with TruthFile(folder / "truth") as file:
        for sample in raw:
            file.add(*sample)
    return prove({KEY: fleet}, {KEY: read_truth(folder / "truth", KEY[1])})


def test_the_same_samples_agree(samples: Samples, tmp_path: Path) -> None:
    proof = proof_of(samples, samples, tmp_path)
    assert proof.holds
    assert (proof.lost, proof.counted_twice) == (0, 0)
    assert proof.difference < 1e-14


def test_one_lost_sample_is_found(samples: Samples, tmp_path: Path) -> None:
    proof = proof_of(samples[:-1], samples, tmp_path)
    assert not proof.holds
    assert (proof.lost, proof.counted_twice) == (1, 0)


def test_one_doubled_sample_is_found(samples: Samples, tmp_path: Path) -> None:
    proof = proof_of([*samples, samples[0]], samples, tmp_path)
    assert not proof.holds
    assert (proof.lost, proof.counted_twice) == (0, 1)


def test_one_lost_and_one_doubled_in_its_place_are_found(samples: Samples, tmp_path: Path) -> None:
    proof = proof_of([*samples[:-1], samples[0]], samples, tmp_path)
    assert not proof.holds
    assert proof.difference > 1e-12


def test_a_series_that_one_side_lacks_is_found(samples: Samples, tmp_path: Path) -> None:
    assert proof_of(samples, samples, tmp_path).holds
    truth = {KEY: read_truth(tmp_path / "truth", "rls")}
    missing = prove({}, truth)
    assert not missing.holds
    assert missing.lost == len(samples)
    extra = ErrorStats()
    extra.update(1.0, 2.0)
    ghost = prove({("ghost", "rls"): extra}, truth).comparisons["ghost", "rls"]
    assert ghost.counted_twice == 1
    assert not ghost.holds


def test_nothing_proves_nothing(tmp_path: Path) -> None:
    assert not prove({}, {}).holds
    with TruthFile(tmp_path / "truth"):
        pass
    assert not prove({KEY: ErrorStats()}, {KEY: read_truth(tmp_path / "truth", "rls")}).holds
