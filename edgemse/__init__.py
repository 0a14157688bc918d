"""How wrong the models of a fleet are: mergeable error statistics, and what carries them."""

TYPE_CHECKING = False  # typing's own costs more to import than all that stands here
if TYPE_CHECKING:
    from edgemse.monitor import Monitor
    from edgemse.stats.coverage import Coverage
    from edgemse.stats.error_stats import ErrorStats, merge_all
    from edgemse.stats.histogram import ResidualHistogram
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

PLACES = {
    "Coverage": "edgemse.stats.coverage",
    "ErrorStats": "edgemse.stats.error_stats",
    "LossStats": "edgemse.stats.loss_stats",
    "Monitor": "edgemse.monitor",
    "ResidualHistogram": "edgemse.stats.histogram",
    "merge_all": "edgemse.stats.error_stats",
    "update_columns": "edgemse.stats.outputs",
}
ROOMS = ("errors", "fleet")
"""What people write behind `edgemse.` without having imported it."""


def __getattr__(name: str) -> object:
    """Import a name's module when it is asked for: nobody needs them all, a command none here."""
    if name in PLACES:
        from importlib import import_module

        try:
            found = getattr(import_module(PLACES[name]), name)
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("edgemse."):
                raise
            raise ImportError(_not_compiled(error.name)) from error
        globals()[name] = found
        return found
    if name in ROOMS:
        from importlib import import_module

        return import_module(f"edgemse.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("edgemse")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *ROOMS, "__version__"})


def _not_compiled(module: str | None) -> str:
    folder = __path__[0]
    return (
        f"edgemse in {folder} has no compiled module {module} for this Python. If it is"
        " installed as well, start Python in another folder, or as python -P; to use it from here,"
        f" say: pip install --editable {folder.rpartition('/')[0]}"
    )
