from edgemse.stats.histogram import ResidualHistogram

__all__ = ["CoverageCounts"]

class CoverageCounts:
    predictions: int
    matched: int
    expired: int
    orphan: int
    duplicate: int
    conflicting: int
    lag_ms_sum: int
    lag_ms_max: int
    lag_histogram: ResidualHistogram
    def match(self, lag_ms: int) -> None: ...
