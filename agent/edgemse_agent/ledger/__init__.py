"""The ledger: the SQLite file that holds what must survive a power cut."""

from edgemse_agent.ledger.file import check_place
from edgemse_agent.ledger.rows import Defect, Held, Parked, Refused, Written
from edgemse_agent.ledger.transactions import SESSIONS_MAX, Ledger

__all__ = [
    "SESSIONS_MAX",
    "Defect",
    "Held",
    "Ledger",
    "Parked",
    "Refused",
    "Written",
    "check_place",
]
