"""Counters: what came in, what was refused, and what each bound has cost."""

from __future__ import annotations

__all__ = ["MEANINGS", "Health"]

MEANINGS = {
    "clients_refused": "clients of the socket refused, or displaced before their first line",
    "lines": "lines taken, good and bad",
    "lines_bad": "lines refused with a complaint",
    "lines_repeated": "lines of a session that had been taken already",
    "samples": "pairs of y_true and y_pred that reached a window",
    "samples_overflowed": "samples counted under the overflow segment, past series_max",
    "predictions_repeated": "predictions refused because their id and series were known",
    "pending_evicted": "predictions or labels that pending_max let go before their time",
    "cells_relayed": "revisions of cells that Monitors sent",
    "cells_closed_early": "cells closed before their window's end, past open_cells_max",
    "cells_coarsened": "cells merged into wider windows, past ledger_cells_max",
    "cells_parked": "cells that the collector refused",
    "commits_failed": "ledger transactions that failed and were tried again",
    "ledgers_set_aside": "ledgers put away as corrupt or another board's, in this run",
    "reports": "reports handed to the broker, the one that says so included",
    "report_bytes": "payload bytes of these reports",
    "reports_resent": "reports of which a cell had been handed over before",
    "acks": "acks taken",
    "messages_bad": "acks and states that could not be read",
}
"""Every counter that a report's health carries, by name."""


class Health:
    """The counters of one agent run, by the names in MEANINGS."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(MEANINGS, 0)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter; an unknown name is a bug (KeyError)."""
        self._counts[name] += by

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """Return the counters that are not 0."""
        return {name: value for name, value in self._counts.items() if value}
