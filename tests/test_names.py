from __future__ import annotations

import pytest

from edgemse.names import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12_345, "12,345 rows")]
)
def test_one_is_not_many(number: int, said: str) -> None:
    assert counted(number, "row") == said


def test_a_plural_without_an_s() -> None:
    assert counted(1, "entry", many="entries") == "1 entry"
    assert counted(2, "entry", many="entries") == "2 entries"
