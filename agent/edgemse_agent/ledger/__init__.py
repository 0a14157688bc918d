"""The ledger: the SQLite file that holds what must survive a power cut."""

from edgemse_agent.ledger.file import check_place
from edgemse_agent.ledger.rows import Defect, Held, Parked, Refused, Written
from edgemse_agent.ledger.transactions import Ledger

__all__ = ["Defect", "Held", "Ledger", "Parked", "Refused", "Written", "check_place"]
