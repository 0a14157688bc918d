"""The auditor: what the fleet counts against what was fed. It imports nothing of edgemse."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

RELATIVE = 1e-12


class Fed(Protocol):
    """A feeder that saw all its lines confirmed."""

    name: str

    @property
    def source(self) -> Any: ...


class Ran(Protocol):
    """A process of a model: at least `confirmed` and at most `fed` of its samples count."""

    @property
    def segment(self) -> str: ...
    @property
    def fed(self) -> int: ...
    @property
    def confirmed(self) -> int: ...
    @property
    def closed(self) -> bool: ...


@dataclass
class Found:
    """What came of an audit; `wrong` says it in words."""

    confirmed: int = 0
    lost: int = 0
    twice: int = 0
    wrong: list[str] = field(default_factory=list)

    def compare(self, name: str, counted: int, low: int, high: int) -> None:
        """Hold a count to its bounds."""
        self.confirmed += low
        self.lost += max(0, low - counted)
        self.twice += max(0, counted - high)
        if not low <= counted <= high:
            self.wrong.append(f"{name}: counted {counted}, wanted {low} to {high}")


def audit(
    fleet: Mapping[str, Mapping[str, Any]], feeders: Iterable[Fed], runs: Iterable[Ran]
) -> Found:
    """Compare the fleet's figures, by segment, with what all feeders and models did."""
    found = Found()
    known = set()
    for feeder in feeders:
        errors = feeder.source.errors
        figures = fleet.get(feeder.name, {"count": 0})
        known.add(feeder.name)
        found.compare(feeder.name, figures["count"], len(errors), len(errors))
        if figures["count"] == len(errors) > 0:
            mse = math.fsum(error * error for error in errors) / len(errors)
            bias = math.fsum(errors) / len(errors)
            if not math.isclose(figures["mse"], mse, rel_tol=RELATIVE):
                found.wrong.append(f"{feeder.name}: MSE {figures['mse']!r}, wanted {mse!r}")
            if not math.isclose(figures["bias"], bias, rel_tol=0, abs_tol=RELATIVE * mse**0.5):
                found.wrong.append(f"{feeder.name}: bias {figures['bias']!r}, wanted {bias!r}")
    for run in runs:
        known.add(run.segment)
        counted = fleet.get(run.segment, {"count": 0})["count"]
        found.compare(run.segment, counted, run.confirmed, run.confirmed if run.closed else run.fed)
    for stranger in sorted(set(fleet) - known):
        found.twice += fleet[stranger]["count"]
        found.wrong.append(f"segment {stranger!r} was never fed: {fleet[stranger]['count']}")
    return found
