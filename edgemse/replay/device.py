"""One virtual agent: the agent's own code, fed with rows instead of a socket."""

from __future__ import annotations

import heapq
from dataclasses import replace
from math import inf

from edgemse_agent.agent import Agent
from edgemse_agent.clock import Clock
from edgemse_agent.entries import Where
from edgemse_agent.ledger import Ledger
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine
from edgemse_agent.settings import (
    AgentSettings,
    Defaults,
    DeliverySettings,
    PairingSettings,
    WindowSettings,
)

from edgemse.errors import LedgerError

__all__ = ["VirtualAgent", "settings_for"]

PENDING_MAX = 10_000_000
"""A replay may pair as much as its file holds; memory is the bound."""


def settings_for(device: str, model: str, version: str, width_seconds: int) -> AgentSettings:
    """Return the settings of one device's virtual agent: nothing that depends on elapsed time."""
    settings = AgentSettings(
        device,
        defaults=Defaults(model, version),
        windows=WindowSettings(width_seconds, inf, series_max=100_000, open_cells_max=1_000_000),
        pairing=PairingSettings(pending_max=PENDING_MAX, matched_max=1),
    )
    # Cells are closed by rows, never by a clock, so that a second replay makes the same ones.
    never = DeliverySettings(
        durable_seconds=inf, ledger_cells_max=PENDING_MAX, parked_cells_max=PENDING_MAX
    )
    return replace(settings, delivery=never, pairing=replace(settings.pairing, age_max_seconds=inf))


class VirtualAgent:
    """An agent without a disk; its labels come `label_delay_seconds` after their predictions."""

    def __init__(
        self, settings: AgentSettings, producer: bytes, clock: Clock, delay_seconds: float
    ) -> None:
        self.agent = Agent(settings, Ledger(None), clock, producer=producer)
        self._delay_seconds = delay_seconds
        self._labels: list[tuple[float, int, LabelLine]] = []
        self._rows = 0

    def feed(self, where: Where, time: float, y_true: float, y_pred: float, weight: float) -> None:
        """Take one row; labels that are due by its time come first."""
        if not self._delay_seconds:
            self.agent.take(SampleLine(where, y_true, y_pred, weight, time))
            return
        self._deliver(time)
        self._rows += 1
        key = str(self._rows)
        self.agent.take(PredictionLine(key, where, y_pred, weight, time))
        label = LabelLine(key, where, y_true, time + self._delay_seconds)
        heapq.heappush(self._labels, (time + self._delay_seconds, self._rows, label))

    def close_cells(self) -> None:
        """Close all cells, as after so many rows."""
        if not self.agent.commit(everything=True):
            raise LedgerError("no memory left for the cells of a replay; replay fewer rows at once")

    def finish(self) -> None:
        """Deliver the labels that are still to come, and close all cells."""
        self._deliver(inf)
        self.close_cells()

    def _deliver(self, until: float) -> None:
        while self._labels and self._labels[0][0] <= until:
            self.agent.take(heapq.heappop(self._labels)[2])
