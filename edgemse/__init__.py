"""How wrong the models of a fleet are: mergeable error statistics, and what carries them."""

from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stats.histogram import ResidualHistogram

TYPE_CHECKING = False  # typing's own costs more to import than all that stands above
if TYPE_CHECKING:
    from edgemse.monitor import Monitor
    from edgemse.stats.loss_stats import LossStats
    from edgemse.stats.outputs import update_columns

__all__ = [
    "Coverage",
    "ErrorStats",
    "LossStats",
    "Monitor",
    "ResidualHistogram",
    "merge_all",
    "update_columns",
]

LATER = {
    "LossStats": "edgemse.stats.loss_stats",
    "Monitor": "edgemse.monitor",
    "update_columns": "edgemse.stats.outputs",
}


def __getattr__(name: str) -> object:
    """Import what not everybody needs when it is asked for: a device may only compute."""
    if name in LATER:
        from importlib import import_module

        return getattr(import_module(LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
