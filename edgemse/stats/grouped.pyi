from collections.abc import Hashable, Iterable
from typing import Protocol, TypeVar, overload

from edgemse.stats.histogram import ResidualHistogram

__all__ = ["merge_histograms"]

_Group = TypeVar("_Group", bound=Hashable)

class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...

@overload
def merge_histograms(source: _ArrowStream) -> dict[int, ResidualHistogram | None]: ...
@overload
def merge_histograms(
    source: Iterable[tuple[_Group, bytes | bytearray | memoryview | None]],
) -> dict[_Group, ResidualHistogram | None]: ...
