"""How wrong the models of a fleet are: mergeable error statistics, and what carries them."""

from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stats.histogram import ResidualHistogram

__all__ = ["Coverage", "ErrorStats", "ResidualHistogram", "merge_all"]
