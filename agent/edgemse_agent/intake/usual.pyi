from edgemse.cells import Series
from edgemse_agent.entries import Where
from edgemse_agent.pairs import Pairs

__all__ = ["UsualLines", "read"]

def read(
    line: bytes,
) -> (
    tuple[str, str | None, Where, float | None, float | None, float, float | None, int | None]
    | None
): ...

class UsualLines:
    lines: int
    samples: int
    def __init__(self, pairs: Pairs, default: Series) -> None: ...
    def follow(self, default: Series) -> None: ...
    def take(self, data: bytes, at: int, number: int, time: float, born: float) -> int: ...
