"""The faults that the campaign writes: each is one, each compiles, none is in a word."""

from __future__ import annotations

import pytest

from mutants.campaign import FILES, ROOT
from mutants.making import mutants

SOURCE = '''
"""A docstring with 1 and 2 and max(a, b)."""
def f(a: int = 1) -> bool:
    """Another: a < b."""
    log.info("a < %d", a + 1)
    if a < 2 and not b:
        raise ValueError(f"{a} < 2")
    total["x"] = max(a, 2)
    return a is None
Q = f"SELECT x FROM {t} WHERE a < ? AND NOT b ORDER BY c DESC"
'''


def test_each_fault_is_there_once_and_none_is_in_a_word() -> None:
    found = mutants(SOURCE.encode())
    assert [each.what for each in found] == [
        "1 -> 2",
        "condition turned",
        "< -> <=",
        "2 -> 3",
        "and -> or",
        "not taken out",
        "raise taken out",
        "assignment taken out",
        "max -> min",
        "2 -> 3",
        "returns None",
        "is -> is not",
        "SQL ' < ' -> ' <= '",
        "SQL ' AND ' -> ' OR '",
        "SQL ' NOT ' -> ' '",
        "SQL ' DESC' -> ''",
    ]
    changed = {each.applied(SOURCE.encode()) for each in found}
    assert len(changed) == len(found)
    assert b"if a <= 2 and not b:" in b"".join(changed)


@pytest.mark.parametrize("name", FILES)
def test_there_are_faults_in_every_file(name: str) -> None:
    assert len(mutants((ROOT / name).read_bytes())) > 10
