"""The one clock of publishing and of the ledger: how old a sample may be that is only in memory.

With 75 seconds a minute's window goes out once, final: it ends before its first sample is that old.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Pace"]

PUBLISH_LEAD_SECONDS = 10.0
"""So long before its age a cell is handed over, for its acknowledgement to come first. Not more:
a minute's window and its grace are 62 seconds, after which the cell is final."""
COMMIT_LEAD_SECONDS = 5.0
"""So long before its age a sample is written to the ledger, for the disk to be slow."""
LEAD_SHARE = 0.2
"""Of a short age, both leads are at most this share, so that something is left to wait for."""


class Pace(NamedTuple):
    """`durable_seconds`: the age of the oldest sample that is neither committed nor in the ledger.

    >>> Pace(75.0).publish_seconds, Pace(75.0).commit_seconds, Pace(5.0).publish_seconds
    (65.0, 70.0, 4.0)
    """

    durable_seconds: float

    @property
    def publish_seconds(self) -> float:
        """The age at which a growing cell goes to the broker."""
        lead = min(PUBLISH_LEAD_SECONDS, LEAD_SHARE * self.durable_seconds)
        return self.durable_seconds - lead

    @property
    def commit_seconds(self) -> float:
        """The age at which the ledger takes over."""
        lead = min(COMMIT_LEAD_SECONDS, LEAD_SHARE / 3 * self.durable_seconds)
        return self.durable_seconds - lead
