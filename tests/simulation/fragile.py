"""A ledger under which the agent's process dies."""

from __future__ import annotations

import random

from edgemse_agent.ledger import Defect, Ledger

__all__ = ["FragileLedger", "KilledError"]


class KilledError(Exception):
    """The agent process is no more."""


class FragileLedger(Ledger):
    """A ledger under which the process may die before or after any transaction."""

    rng: random.Random
    risk = 0.0

    def _perhaps_die(self) -> None:
        if self.rng.random() < self.risk:
            raise KilledError

    def commit(self, *arguments: object, **named: object) -> list[Defect]:
        self._perhaps_die()
        defects = super().commit(*arguments, **named)
        self._perhaps_die()
        return defects

    def expose(self, revisions: object) -> None:
        self._perhaps_die()
        super().expose(revisions)
        self._perhaps_die()

    def place(self, *arguments: object) -> tuple[int, int]:
        if self.rng.random() < 20 * self.risk:  # it happens once
            raise KilledError
        placed = super().place(*arguments)
        if self.rng.random() < 20 * self.risk:
            raise KilledError
        return placed

    def acked(self, *arguments: object) -> int:
        self._perhaps_die()
        ahead = super().acked(*arguments)
        self._perhaps_die()
        return ahead
