from collections.abc import Mapping
from types import TracebackType

from edgemse.stats.coverage_counts import CoverageCounts
from edgemse.stats.error_stats import ErrorStats

__all__ = ["Guard", "Observer", "OpenStats"]

class OpenStats:
    stats: ErrorStats
    counted: CoverageCounts | None
    start: float
    end: float
    grown: bool
    final: bool
    def __init__(self, start: float, end: float) -> None: ...

class Guard:
    def acquire(self, blocking: bool = True) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> Guard: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

class Observer:
    guard: Guard
    latest: Mapping[str, Mapping[str, OpenStats]]
    closed: bool
    ticking: bool
    counting: bool
    ahead: float
    def observe(
        self,
        y_true: float,
        y_pred: float,
        segment: str = "",
        weight: float = 1.0,
        ts: float | None = None,
        *,
        output: str = "",
        loss: str = "",
        latency: float | None = None,
        features: Mapping[str, float] | None = None,
        lower: float | None = None,
        upper: float | None = None,
    ) -> None: ...
