"""Where the collector keeps cells: one protocol, one database behind it at a time."""

from edgemse.stores.base import Batch, DeviceReport, DeviceState, Quarantined, Query, Store
from edgemse.stores.opening import open_store

__all__ = [
    "Batch",
    "DeviceReport",
    "DeviceState",
    "Quarantined",
    "Query",
    "Store",
    "open_store",
]
