"""How many devices and series the store takes: what names a hostile or broken sender can add."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from edgemse.cells import Series
from edgemse.collector.settings import Limits
from edgemse.errors import CellError, StoreError
from edgemse.stores import Store, statements

__all__ = ["Budget"]

log = logging.getLogger(__name__)

KNOWN_MAX = 1_000_000
"""Series that are remembered as known; past that they are looked up again, one by one."""


class Budget:
    """Admits what is known, and what is new while there is room; everything else is refused.

    The counts are those of the store; what one batch adds waits in `new` until `settle`.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        self.new: list[tuple[str, Series]] = []
        """Series that may be new to the store: the batch's."""
        self._store = store
        self._limits = limits
        with store.reading() as reading:
            self._counts: dict[str, int] = dict(reading.rows(statements.SERIES_COUNTS))
        self._total = sum(self._counts.values())
        self._known: set[int] = set()
        self._listed: set[str] = set()
        """Devices whose series are all known here."""
        self._pending: dict[str, set[int]] = {}
        self._pending_total = 0

    def admit_device(self, device: str) -> None:
        """Raise CellError if the device is new and there are too many."""
        if device in self._counts:
            return
        if len(self._counts) >= self._limits.devices_max:
            raise CellError(
                "limit",
                f"a new device, and the store has its {self._limits.devices_max} devices;"
                " raise devices_max in the collector's settings",
            )
        self._counts[device] = 0

    def knows(self, device: str, series: Series) -> bool:
        """Tell whether the series was admitted before, as far as it is remembered."""
        key = hash((device, series))
        return key in self._known or key in self._pending.get(device, ())

    def admit(self, device: str, series: Series) -> None:
        """Raise CellError if the series is new and one too many.

        Raises StoreError if the store does not say which ones it has.
        """
        if self.knows(device, series):
            return
        key = hash((device, series))
        limit = self._limit_reached(device)
        if limit and device not in self._listed:
            self._list(device)
            if key in self._known:
                return
            limit = self._limit_reached(device)
        if limit:
            raise CellError("limit", limit)
        self._pending.setdefault(device, set()).add(key)
        self._pending_total += 1
        self.new.append((device, series))

    def settle(self) -> None:
        """Take what was admitted as stored, and count anew."""
        if not self.new:
            return
        for keys in self._pending.values():
            self._known |= keys
        if len(self._known) > KNOWN_MAX:
            self._known.clear()
            self._listed.clear()
        try:
            self._count(self._pending)
        except StoreError as error:
            # The batch is committed: to count it too high until the next one costs nothing.
            log.warning("%s; the number of series is estimated", error)
            for device, keys in self._pending.items():
                self._counts[device] = self._counts.get(device, 0) + len(keys)
            self._total += self._pending_total
        self._pending.clear()
        self._pending_total = 0
        self.new = []

    def _limit_reached(self, device: str) -> str:
        limits = self._limits
        if self._counts.get(device, 0) + len(self._pending.get(device, ())) >= (
            limits.series_per_device_max
        ):
            return (
                f"a new series, and the device has its {limits.series_per_device_max};"
                " use fewer segments, or raise series_per_device_max in the collector's settings"
            )
        if self._total + self._pending_total >= limits.series_max:
            return (
                f"a new series, and the store has its {limits.series_max};"
                " use fewer segments, or raise series_max in the collector's settings"
            )
        return ""

    def _list(self, device: str) -> None:
        """Learn all series of the device: those that wait may be among them."""
        with self._store.reading() as reading:
            rows = reading.rows(statements.SERIES_OF, (device,)).rows
        stored = {hash((device, Series(*row))) for row in rows}
        self._known |= stored
        self._listed.add(device)
        pending = self._pending.get(device, set())
        self._pending_total -= len(pending & stored)
        pending -= stored

    def _count(self, devices: Iterable[str]) -> None:
        with self._store.reading() as reading:
            counts = reading.rows(statements.SERIES_COUNTS_OF, (list(devices),)).rows
        for device, count in counts:
            self._total += count - self._counts.get(device, 0)
            self._counts[device] = count
