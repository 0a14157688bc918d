"""The fuzzer's corpus, once through: what it ever found stays mended. `make fuzz` looks on."""

from __future__ import annotations

import random

import pytest
from fuzz import properties, seeds


def test_every_input_of_the_corpus_keeps_the_properties() -> None:
    for data in seeds.corpus():
        properties.check(data)


@pytest.mark.parametrize("seed", range(4))
def test_and_so_do_its_neighbours(seed: int) -> None:
    rng = random.Random(seed)
    inputs = seeds.corpus()
    for _ in range(2_000):
        data = bytearray(rng.choice(inputs))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data) + 1)
            data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        properties.check(bytes(data))


def test_the_corpus_is_small() -> None:
    assert seeds.KEPT.stat().st_size < 100_000
