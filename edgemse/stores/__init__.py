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
)
from edgemse.stores.opening import open_store

__all__ = [
    "Batch",
    "DevicePresence",
    "DeviceReport",
    "Quarantined",
    "Reading",
    "Rows",
    "Selection",
    "Store",
    "open_store",
]
