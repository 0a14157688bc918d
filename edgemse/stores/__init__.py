"""Where the collector keeps cells: one protocol, one database behind it at a time."""

from edgemse.stores.base import (
    Batch,
    DevicePresence,
    DeviceReport,
    Quarantined,
    Reading,
    Rows,
    Selection,
    Store,
    Writing,
)
from edgemse.stores.offered import Offered
from edgemse.stores.opening import open_store

__all__ = [
    "Batch",
    "DevicePresence",
    "DeviceReport",
    "Offered",
    "Quarantined",
    "Reading",
    "Rows",
    "Selection",
    "Store",
    "Writing",
    "open_store",
]
