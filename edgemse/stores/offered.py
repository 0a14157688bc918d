"""Cells on their way into a store: checked once, and taken apart into columns."""

from __future__ import annotations

from collections.abc import Mapping

from edgemse.cells import Identity, SealedCell, Series, Window, check_place, newest
from edgemse.stores.arrow import Columns
from edgemse.stores.tables import CELLS

__all__ = ["Offered"]


class Offered:
    """Sound cells, each with the device whose report it came in, in the order of arrival."""

    def __init__(self) -> None:
        self.rows = Columns(CELLS.columns)
        self.identities: list[Identity] = []
        """Of each row."""
        self.devices: list[str] = []
        self.series: list[Series] = []
        self.starts: list[int] = []
        """When each window begins."""
        self.revisions: list[int] = []
        self.finals: list[bool] = []

    def __len__(self) -> int:
        return len(self.revisions)

    def take(
        self,
        device: str,
        identity: Identity,
        revision: int,
        final: bool,
        series: Series,
        window: Window,
        state: bytes,
        coverage: bytes | None,
    ) -> int:
        """Add a cell, and return the highest of everything that it counts.

        Raises CellError or another StateError with what is wrong with the cell, which is then not
        added.
        """
        check_place(series, window)
        head = (*identity, revision, final, device, *series, *window)
        largest = self.rows.append_cell(head, state, coverage or b"")
        self.identities.append(identity)
        self.devices.append(device)
        self.series.append(series)
        self.starts.append(window.start)
        self.revisions.append(revision)
        self.finals.append(final)
        return largest

    def take_sealed(self, device: str, cell: SealedCell) -> int:
        """Add a cell that is sealed; see `take`."""
        return self.take(device, *cell)

    def drop_last(self) -> None:
        """Take the cell out again that was added last."""
        self.rows.drop_last()
        columns = (self.identities, self.devices, self.series, self.starts, self.revisions)
        for column in (*columns, self.finals):
            column.pop()

    def named_anew(self, shown: Mapping[str, str]) -> Offered:
        """Return the same cells, devices under the names that `shown` has for some."""
        new = Offered()
        new.devices = [shown.get(device, device) for device in self.devices]
        new.identities, new.revisions = [*self.identities], [*self.revisions]
        new.finals, new.series, new.starts = [*self.finals], [*self.series], [*self.starts]
        new.rows = self.rows.only(range(len(self)), {"device": new.devices})
        return new

    def newest(self) -> dict[Identity, int]:
        """Return the row of each cell's highest revision, the first one of several."""
        found: dict[Identity, int] = {}
        for place, identity in enumerate(self.identities):
            held = found.get(identity)
            if newest(None if held is None else self.revisions[held], self.revisions[place]):
                found[identity] = place
        return found

    def producers(self) -> dict[bytes, dict[str, None]]:
        """Return the devices that cells of each producer came from, in the order of arrival."""
        found: dict[bytes, dict[str, None]] = {}
        for identity, device in zip(self.identities, self.devices, strict=True):
            found.setdefault(identity.producer, {})[device] = None
        return found
