"""The ledger: the SQLite file that holds what must survive a power cut."""

from edgemse_agent.ledger.rows import Held, Parked, Written
from edgemse_agent.ledger.transactions import Ledger, Refused

__all__ = ["Held", "Ledger", "Parked", "Refused", "Written"]
