"""The auditor: what a device told its clients against what its fleet has. It imports no edgemse."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

__all__ = ["Arrived", "Books"]


class Arrived(NamedTuple):
    """A cell that the fleet has, at its highest revision: how many errors, and their sum."""

    producer: str
    sequence: int
    count: int
    total: float


class Books:
    """What was fed, and what was confirmed, by the facts that a device told up to some moment."""

    def __init__(self, facts: Iterable[Sequence[Any]]) -> None:
        self.ledger = ""
        """The id that clients know the ledger by, empty before any does."""
        self.lines: list[dict[str, Any]] = []
        self.lines_durable = 0
        self.now = 0.0
        self._lines_at: list[float] = []
        self._samples: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
        self._durable: dict[tuple[str, int], int] = defaultdict(int)
        self.handed: list[str] = []
        self.took: list[str] = []
        self.settled = False
        for kind, *said in facts:
            self._note(kind, said)

    def _note(self, kind: str, said: Sequence[Any]) -> None:
        if kind == "ledger":
            self.ledger = said[0]
            self._resent()
        elif kind == "step":
            self.now = said[0]
        elif kind == "line":
            self.lines.append(said[0])
            self._lines_at.append(self.now)
        elif kind == "sample":
            producer, sequence, error = said
            self._samples[producer, sequence].append((error, self.now))
        elif kind == "lines durable":
            self.lines_durable = said[0]
        elif kind == "cell durable":
            producer, sequence, count = said
            self._durable[producer, sequence] = max(count, self._durable[producer, sequence])
        elif kind in ("handed", "took"):
            (self.handed if kind == "handed" else self.took).append(said[0])
        else:
            assert kind in ("settled", "no ledger"), kind
            self.settled |= kind == "settled"

    def _resent(self) -> None:
        """Count ages anew: an agent that was started again has from clients what it lacked."""
        for n in range(self.lines_durable, len(self.lines)):
            self._lines_at[n] = self.now
        for name, samples in self._samples.items():
            for n in range(self._durable[name], len(samples)):
                samples[n] = (samples[n][0], self.now)

    def audit(self, arrived: Iterable[Arrived], received: int, durable_seconds: float) -> list[str]:
        """Return what is wrong with what arrived, where the ledger had `received` of the lines.

        Nothing that was fed more than `durable_seconds` ago may be missing, whoever was told.
        """
        wrong = []
        old = sum(self.now - at > durable_seconds for at in self._lines_at)
        if received < max(old, self.lines_durable):
            durable = f"{self.lines_durable} were confirmed, {old} older than {durable_seconds:g} s"
            wrong.append(f"the ledger has {received} lines; {durable}")
        cells = {(each.producer, each.sequence): each for each in arrived}
        own = [each for name, each in cells.items() if name not in self._samples]
        count, total = self._of_lines(received)
        found = sum(each.count for each in own), sum(each.total for each in own)
        if found[0] != count or round(found[1]) != total:
            wrong.append(f"of {received} lines {found} arrived (samples, errors): {count, total}")
        for name, samples in self._samples.items():
            cell = cells.get(name, Arrived(*name, 0, 0.0))
            old = sum(self.now - at > durable_seconds for _, at in samples)
            if not max(old, self._durable[name]) <= cell.count <= len(samples):
                told = f"{self._durable[name]} confirmed, {old} old, {len(samples)} fed"
                wrong.append(f"cell {name}: {cell.count} samples, of {told}")
            if round(cell.total) != sum(error for error, _ in samples[: cell.count]):
                wrong.append(f"cell {name}: {cell.count} samples, but not the first ones")
        return wrong

    def _of_lines(self, received: int) -> tuple[int, float]:
        """Return how many errors so many lines come to, and their sum."""
        errors, pending, labels = [], {}, set()
        for line in self.lines[:received]:
            if "id" not in line:
                errors.append(line["y_pred"])
            elif "y_pred" in line:
                pending[line["id"]] = line["y_pred"]
            else:
                labels.add(line["id"])
        errors += [error for key, error in pending.items() if key in labels]
        return len(errors), sum(errors)
