"""Old cells into one of an hour, old hours into one of a day; and what is older goes for good.

What takes the place of cells is a cell as well, which the store itself names: questions, exports,
and what people do to devices know nothing else. Delivery rule 13: final cells only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, groupby

from edgemse.cells import PRODUCER_BYTES, Identity
from edgemse.rollups.dependence import KEY, dependences
from edgemse.rollups.rolling import merged_rows
from edgemse.stores import Store, retaining
from edgemse.stores.keep import Keep
from edgemse.stores.tables import ROLLUPS, Row

__all__ = ["Retained", "pending", "retain"]

CELLS_MAX = 20_000
"""Cells that go in one transaction: some tenths of a second, for which commits wait."""
OF_WINDOW = slice([*ROLLUPS.columns].index("cell_count"), [*ROLLUPS.columns].index("count"))


@dataclass(slots=True)
class Retained:
    """What was done, or is to be done."""

    absorbed: int = 0
    """Cells whose figures are in another one now."""
    rows: int = 0
    """Cells that these came into."""
    dropped: int = 0
    """Cells that are gone for good."""
    overtaken: int = 0
    """Steps that were left for the next time because a cell changed meanwhile."""


def pending(store: Store, keep: Keep, now: float) -> Retained:
    """Return what is to be done; how many rows that makes is not known before."""
    found = Retained()
    before = 0  # what is older goes with the step before
    for width, cut in keep.steps(now):
        with store.reading() as reading:
            due = reading.rows(*retaining.due(width, cut)).rows
        cells = sum(each for period, _, each in due if period >= before)
        before = cut
        if width:
            found.absorbed += cells
        else:
            found.dropped += cells
    return found


def retain(
    store: Store,
    keep: Keep,
    now: float,
    ended: Callable[[], bool] = lambda: False,
    told: Callable[[Retained], None] = lambda _: None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Retained:
    """Do what is to be done, the oldest first, each step whole in one transaction.

    Args:
        store: where.
        keep: how long.
        now: UTC seconds; UTC days that are over for so long go whole.
        ended: asked before each step whether that is enough for now.
        told: called after each step with what was done so far.
        random_bytes: where the name of this run's cells comes from.

    Raises StoreError; every step before is done.
    """
    done = Retained()
    producer, sequences = random_bytes(PRODUCER_BYTES), count()
    for width, cut in keep.steps(now):
        with store.reading() as reading:
            due = reading.rows(*retaining.due(width, cut)).rows
        for period, rows in groupby(due, key=lambda row: row[0]):
            for devices in _chunks([(device, cells) for _, device, cells in rows]):
                if ended():
                    return done
                _step(store, (width, cut, period, devices), (producer, sequences), now, done)
                told(done)
    return done


def _chunks(devices: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """Yield devices together that have no more cells than one transaction takes."""
    chunk: list[str] = []
    held = 0
    for device, cells in devices:
        if chunk and held + cells > CELLS_MAX:
            yield chunk
            chunk, held = [], 0
        chunk.append(device)
        held += cells
    if chunk:
        yield chunk


def _step(
    store: Store,
    what: tuple[int, int, int, list[str]],
    names: tuple[bytes, Iterator[int]],
    now: float,
    done: Retained,
) -> None:
    width = what[0]
    with store.reading() as reading:
        chosen = retaining.going(*what)
        gone = [
            retaining.Going(Identity(producer, sequence), revision, start, tuple(series))
            for producer, sequence, revision, start, *series in reading.rows(*chosen[:2])
        ]
        rows = [*merged_rows(reading, retaining.to_absorb(*what), width)] if width else []
        seen = reading.rows(*retaining.windows_of(*what)[:2]).rows if width else []
    producer, sequences = names
    cells = [(producer, next(sequences), 1, True, *_without_extent(row)) for row in rows]
    if not gone:
        return
    kept = [
        (*cells[place][:2], *rows[place][:KEY], what[2], *numbers)
        for place, numbers in dependences(rows, seen)
    ]
    try:
        with store.writing() as writing:
            absorber = store.id if width else ""
            if not retaining.replace(writing, gone, cells, kept, absorber, int(now * 1000)):
                raise _ChangedError
    except _ChangedError:
        done.overtaken += 1
        return
    done.rows += len(cells)
    if width:
        done.absorbed += len(gone)
    else:
        done.dropped += len(gone)


class _ChangedError(Exception):
    """A cell is not as it was read."""


def _without_extent(row: Row) -> Row:
    return (*row[: OF_WINDOW.start], *row[OF_WINDOW.stop :])
