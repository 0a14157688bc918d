"""The collectors of a simulated world and their store, with retention and refusals."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from edgemse.cells import Identity, newest, unseal
from edgemse.wire import Ack, Code, Refusal, decode_report, encode_ack

__all__ = ["Fleet", "Stored"]


class Stored(NamedTuple):
    """What the store keeps of a cell: also of one that retention has absorbed."""

    revision: int
    final: bool
    count: int
    total: float


class Fleet:
    """A store that keeps the highest revision of each identity, as the real ones do.

    Retention absorbs final cells and keeps their names: what comes of these later is acknowledged
    and otherwise ignored.
    """

    def __init__(self, rng: random.Random) -> None:
        self.cells: dict[object, Stored] = {}
        self.absorbed: dict[object, Stored] = {}
        self.names: dict[object, Identity] = {}
        self._rng = rng

    def key(self, _device: str, identity: Identity) -> object:
        """Return what a cell is known by: never the device's name."""
        return identity

    def take(self, payload: bytes, refuses: float = 0.0, dies: float = 0.0) -> bytes | None:
        """Take a report; return the ack, if there is any.

        Some cells are refused; and a collector may die before its transaction, or after it.
        """
        if self._rng.random() < dies:
            return None
        held: dict[Identity, int] = {}
        refused: list[Refusal] = []
        report = decode_report(payload)
        for sealed in report.cells:
            assert not sealed.window.unplaced, f"exposed without a place: {sealed.window}"
            identity, revision = sealed.identity, sealed.revision
            key = self.key(report.device, identity)
            self.names[key] = identity
            if key in self.absorbed:
                known = self.absorbed[key].revision
                assert revision <= known, f"a final cell grew: {revision} after {known}"
                held[identity] = revision
                continue
            if key not in self.cells and self._rng.random() < refuses:
                refused.append(Refusal(*identity, revision, Code.NAME, "not today"))
                continue
            stored = self.cells.get(key)
            if newest(stored and stored.revision, revision):
                stats = unseal(sealed).stats
                total = stats.bias * stats.count if stats.count else 0.0
                self.cells[key] = Stored(revision, sealed.final, stats.count, total)
            held[identity] = self.cells[key].revision
        if self._rng.random() < dies or not (held or refused):
            return None
        return encode_ack(Ack("worker", held, tuple(refused)))

    def retain(self) -> None:
        """Absorb the final cells."""
        for key in [key for key, stored in self.cells.items() if self.absorbs(stored)]:
            self.absorbed[key] = self.cells.pop(key)

    def absorbs(self, stored: Stored) -> bool:
        """Whether retention may absorb a cell."""
        return stored.final

    def arrived(self) -> Iterator[tuple[Identity, Stored]]:
        """Return what counts in the fleet's figures."""
        for cells in (self.cells, self.absorbed):
            for key, stored in cells.items():
                yield self.names[key], stored
