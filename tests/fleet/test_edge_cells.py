"""Cells at the edge of what a store takes never keep a question from being answered."""

from __future__ import annotations

import math
import random

import pytest
from stats.edges import accepted, edge_of, honest, sealed
from support.fleet import Planted

from edgemse import ErrorStats
from edgemse.errors import CorruptStateError
from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import merged
from edgemse.stats.parts import split_state


@pytest.mark.parametrize(("low", "high", "mean"), [(-1.0, 1.0, -1.0), (1.0, 3.0, 3.0)])
def test_what_cannot_be_merged_is_refused_at_the_door(low: float, high: float, mean: float) -> None:
    """Each of two such cells was taken, and no question about both could be answered."""
    stats = ErrorStats()
    stats.update_many([0.0, 0.0], [low, high])
    assert split_state(sealed(stats.moments()))[0] == stats.moments()
    with pytest.raises(CorruptStateError):
        split_state(sealed(stats.moments()._replace(mean=mean)))


@pytest.mark.parametrize("seed", range(12))
def test_questions_about_cells_at_the_edge_are_answered(planted: Planted, seed: int) -> None:
    rng = random.Random(seed)
    states = [accepted(edge_of(honest(rng).moments(), rng)) for _ in range(12)]
    for number, stats in enumerate(states):
        assert stats is not None
        planted.put(f"pi-{number % 3}", stats)
    planted.commit()
    for question in ("devices", "variance"):
        assert planted.ask(question)
    with planted.store.reading() as reading:
        total = merged(reading, Asked()).total()
    assert total.count == sum(stats.count for stats in states if stats is not None)
    assert not math.isinf(total.kurtosis)
