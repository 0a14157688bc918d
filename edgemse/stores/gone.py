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
    devices = {each.device for part in (batch.reports, batch.presences) for each in part}
    devices |= {device for device, _ in batch.series} | {*batch.cells.devices}
    shown: dict[str, str] = dict(writing.rows(statements.ALIASES_OF, ([*devices],)))
    if not shown:
        return batch
    return replace(
        batch,
        cells=batch.cells.named_anew(shown),
        reports=[e._replace(device=shown.get(e.device, e.device)) for e in batch.reports],
        series=[(shown.get(device, device), series) for device, series in batch.series],
        presences=[e._replace(device=shown.get(e.device, e.device)) for e in batch.presences],
    )


def take_out(
    writing: Writing, offered: Offered, newest: Mapping[Identity, int]
) -> dict[Identity, int]:
    """Return the cells that are not to be stored, each with the revision to acknowledge.

    `newest` has the row that each cell is to be stored from. Those whose name is written down are
    counted; of a forgotten device's those go that are final.
    """
    producers = [*{identity.producer for identity in newest}]
    if not producers:
        return {}
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
        for each in newest
        if any(first <= each.sequence <= last for first, last in ranges.get(each.producer, ()))
    ]
    if gone:
        writing.execute(statements.COUNT_FORGOTTEN, (len(gone),))
    ended = [each for each in newest if each in leaving and offered.finals[newest[each]]]
    for identity in ended:
        for sql in statements.DROP_CELL:
            writing.execute(sql, tuple(identity))
    writing.put(ABSORBED, [(*identity, identity.sequence, "") for identity in ended])
    return {each: offered.revisions[newest[each]] for each in (*gone, *ended)}
