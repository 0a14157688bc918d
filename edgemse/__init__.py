"""How wrong the models of a fleet are: mergeable error statistics, and what carries them."""

try:
    from edgemse.stats.coverage import Coverage
    from edgemse.stats.error_stats import ErrorStats, merge_all
    from edgemse.stats.histogram import ResidualHistogram
except ModuleNotFoundError as error:
    raise ImportError(
        f"edgemse in {__path__[0]} has no compiled module {error.name} for this Python. If it is"
        " installed as well, start Python in another folder, or as python -P; to use it from here,"
        f" say: pip install --editable {__path__[0].rpartition('/')[0]}"
    ) from error

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
    if name == "__version__":
        from importlib.metadata import version

        return version("edgemse")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
