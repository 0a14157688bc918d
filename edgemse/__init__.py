"""How wrong the models of a fleet are: mergeable error statistics, and what carries them."""

from typing import TYPE_CHECKING

from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stats.histogram import ResidualHistogram

if TYPE_CHECKING:
    from edgemse.monitor import Monitor

__all__ = ["Coverage", "ErrorStats", "Monitor", "ResidualHistogram", "merge_all"]


def __getattr__(name: str) -> object:
    """Import Monitor when it is asked for: whoever only computes need not load its sockets."""
    if name == "Monitor":
        from edgemse.monitor import Monitor

        return Monitor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
