"""Samples that were refused are in no figure: a version may look good by what it fails to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgemse.fleet.answers import percent
from edgemse.stats.error_stats import ErrorStats

__all__ = ["refused_notes"]

REFUSED_MAX = 0.05
"""Share of the samples from which refused ones are named, as a diagnosis does."""


def refused_notes(states: Mapping[str, ErrorStats]) -> Iterator[str]:
    """Yield for each name of which more than 5 % of the samples were refused that it is so."""
    for name, stats in states.items():
        refused = stats.nonfinite + stats.out_of_range
        share = refused / (stats.count + refused) if refused else 0.0
        if share > REFUSED_MAX:
            yield (
                f"{percent(share)} of the samples of {name} were refused, because they are not"
                " finite or out of range: the figures are of the others only"
            )
