"""What people have said of versions, as the store has it; `registry` is what says it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from edgemse.stats.error_stats import ErrorStats
from edgemse.stores import statements
from edgemse.stores.base import Reading, Writing

__all__ = ["FACTS", "Baseline", "Baselines", "baselines_of", "of_part"]

FACTS = ("owner", "git", "training_data", "preprocessing_sha")
"""What is said of a version, each a text."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The offline error of a version, or of a part of it."""

    by: Mapping[str, str]
    """The columns that make the part, with their values; empty: everything."""
    rmse: float
    count: int | None
    """Samples; None: not known."""
    stats: ErrorStats | None
    """None: a bare figure, whose own uncertainty is not known."""
    set_ms: int


class Baselines:
    """The baselines of one version, by part."""

    def __init__(self, found: Iterable[Baseline]) -> None:
        self._by_part = {of_part(each.by): each for each in found}

    def __iter__(self) -> Iterator[Baseline]:
        """Yield them by part, that of everything first."""
        return (self._by_part[part] for part in sorted(self._by_part, key=lambda p: (p != "{}", p)))

    def find(self, by: Mapping[str, str]) -> Baseline | None:
        """Return the baseline of that part, or of everything where the part has none of its own."""
        return self._by_part.get(of_part(by), self._by_part.get(of_part({})))


def of_part(by: Mapping[str, str]) -> str:
    """Return the one text of a part that the store keeps it by.

    >>> of_part({"segment": "day", "output": "h1"})
    '{"output":"h1","segment":"day"}'
    """
    return json.dumps(dict(by), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def baselines_of(reading: Reading | Writing, model: str, version: str) -> Baselines:
    """Return the baselines of a version; none if nobody has set one."""
    found = reading.rows(statements.BASELINES_OF, (model, version))
    return Baselines(
        Baseline(
            json.loads(part),
            rmse,
            count,
            None if state is None else ErrorStats.from_bytes(bytes(state)),
            set_ms,
        )
        for part, rmse, count, state, set_ms in found
    )
