"""The auditor: what was fed, what arrived, and what may be missing. It imports no edgemse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

__all__ = ["Books"]

SHOWN_MAX = 5


class Books:
    """A sample is its error, a number that no other sample has.

    `excused` may be missing, as the rules have it: refused for want of room and counted so, in the
    memory of a Monitor that was killed and never told durable, or in a ledger that was destroyed.
    """

    def __init__(self) -> None:
        self.fed = 0
        self.excused: set[float] = set()
        self.late = ""
        """The first sample that was not durable in time, in words."""

    def sample(self) -> float:
        """Return the next sample's error."""
        self.fed += 1
        return float(self.fed)

    def audit(self, arrived: Iterable[tuple[list[float], int, float]]) -> str:
        """Return what is wrong with cells, each of (errors, count, sum of errors), or nothing."""
        wrong, times = [self.late] if self.late else [], Counter[float]()
        for errors, count, total in arrived:
            if len(errors) != count or sum(errors) != round(total):
                wrong.append(f"a cell of {count} samples, sum {total}, is not {errors[:9]}")
            times.update(errors)
        twice = [error for error, count in times.items() if count > 1]
        every = {float(n) for n in range(1, self.fed + 1)}
        lost = every - times.keys() - self.excused
        for what, which in (("twice", twice), ("lost", lost), ("never fed", times.keys() - every)):
            if which:
                wrong.append(f"{len(which)} {what}: {sorted(which)[:SHOWN_MAX]}")
        return "; ".join(wrong)
