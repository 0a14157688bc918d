from collections.abc import Iterable

from edgemse.stats.histogram import ResidualHistogram

__all__ = ["copied_histograms", "copied_numbers"]

def copied_histograms(
    messages: Iterable[bytes | bytearray | memoryview], keys: int
) -> dict[tuple[bytes | None, ...], ResidualHistogram | None]: ...
def copied_numbers(
    messages: Iterable[bytes | bytearray | memoryview], columns: int
) -> list[bytes]: ...
