"""What the collector counts of itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["MEANINGS", "Counters"]

MEANINGS = {
    "messages": "Messages received from the broker",
    "messages_dropped": "Messages dropped because the queue was full; devices send them again",
    "reports": "Reports decoded",
    "cells": "Cells offered by devices, repetitions included",
    "cells_refused": "Cells refused, with the reason in the ack",
    "reports_malformed": "Reports and states that could not be read",
    "quarantine_unrecorded": "Refusals not written into the quarantine because too many came",
    "commits": "Transactions committed",
    "commit_failures": "Transactions that failed and were tried again",
    "acks": "Acks handed to the broker",
    "acks_unsent": "Acks that found no connection; devices send their cells again",
    "internal_errors": "Messages set aside because of a defect in edgemse; see the log",
    "queue": "Messages that wait to be committed",
    "connected": "1 while the broker is connected, else 0",
}
"""Each counter, and each gauge at the end, and what it says; docs/collector.md lists the same."""


@dataclass(slots=True)
class Counters:
    """Counts since the collector started; each is written by one thread and read by any."""

    messages: int = 0
    messages_dropped: int = 0
    reports: int = 0
    cells: int = 0
    cells_refused: int = 0
    reports_malformed: int = 0
    quarantine_unrecorded: int = 0
    commits: int = 0
    commit_failures: int = 0
    acks: int = 0
    acks_unsent: int = 0
    internal_errors: int = 0

    def values(self) -> dict[str, int]:
        """Return each counter by name."""
        return asdict(self)
