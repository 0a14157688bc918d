"""Cells on their way in that are gone already, or wait to go; devices that have another name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgemse.cells import Identity
from edgemse.stores import statements
from edgemse.stores.base import Batch, Writing
from edgemse.stores.offered import Offered
from edgemse.stores.tables import ABSORBED

__all__ = ["named_anew", "take_out"]


def named_anew(writing: Writing, batch: Batch) -> Batch:
    """Return the batch with each device under the name that its figures stand under."""
    named = (batch.cells, batch.reports, batch.presences)
    devices = {each.device for part in named for each in part}
    devices |= {device for device, _ in batch.series}
    shown: dict[str, str] = dict(writing.rows(statements.ALIASES_OF, ([*devices],)))
    if not shown:
        return batch
    return replace(
        batch,
        cells=[each._replace(device=shown.get(each.device, each.device)) for each in batch.cells],
        reports=[e._replace(device=shown.get(e.device, e.device)) for e in batch.reports],
        series=[(shown.get(device, device), series) for device, series in batch.series],
        presences=[e._replace(device=shown.get(e.device, e.device)) for e in batch.presences],
    )


def take_out(writing: Writing, offered: Mapping[Identity, Offered]) -> dict[Identity, int]:
    """Return the cells that are not to be stored, each with the revision to acknowledge.

    Those whose name is written down are counted; of a forgotten device's those go that are final.
    """
    producers = [*{identity.producer for identity in offered}]
    ranges: dict[bytes, list[tuple[int, int]]] = {}
    leaving: set[Identity] = set()
    for producer, first, last, gone_already in writing.rows(
        statements.GONE_OR_LEAVING, (producers, producers)
    ):
        if gone_already:
            ranges.setdefault(producer, []).append((first, last))
        else:
            leaving.add(Identity(producer, first))
    gone = [
        each
        for each in offered
        if any(first <= each.sequence <= last for first, last in ranges.get(each.producer, ()))
    ]
    if gone:
        writing.execute(statements.COUNT_FORGOTTEN, (len(gone),))
    ended = [each for each in offered if each in leaving and offered[each].cell.final]
    for identity in ended:
        for sql in statements.DROP_CELL:
            writing.execute(sql, tuple(identity))
    writing.put(ABSORBED, [(*identity, identity.sequence) for identity in ended])
    return {each: offered[each].cell.revision for each in (*gone, *ended)}
