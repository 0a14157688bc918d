"""An export into a store, by the rules of ingest: what is imported twice counts once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from edgemse.errors import InputError
from edgemse.stores import statements, tables
from edgemse.stores.attributes import joined
from edgemse.stores.base import Store, Writing
from edgemse.stores.parquet import NAMES, cells_files, names_file, rows_of
from edgemse.stores.tables import Row, Table
from edgemse.stores.touching import HOUR, touch
from edgemse.times import HOUR_SECONDS

__all__ = ["Imported", "import_store"]

PRODUCER, SEQUENCE, FINAL = (
    list(tables.CELLS.columns).index(name) for name in ("producer", "sequence", "final")
)
START = list(tables.CELLS.columns).index("window_start_seconds")
SERIES = slice(list(tables.CELLS.columns).index("device"), START)
RENAMED = {"cells", "dependence", "series", "devices", "attributes"}
"""Tables whose device may have another name in the store."""


class Imported(NamedTuple):
    """What an import has come to."""

    cells: int
    """In the files."""
    taken: int
    """That were new, or of a higher revision than the store had."""
    gone: int
    """That the store has dropped for good, or the exported one had."""


def import_store(folder: Path, store: Store) -> Imported:
    """Put an export into a store; stopped in the middle, do it again.

    A cell is taken if its revision is higher than the store's, as from a device; names that are
    gone stay gone; what the store knows of a device itself stays. Cells that retention has put into
    another one in the exported store give way to that one.

    Raises:
        InputError, FileUnreadableError: the folder is no export, a file of it is damaged, or both
            stores have put the same cells into others.
        StoreError: the store does not take it.
    """
    files = cells_files(folder)
    for table in NAMES:
        blocks = rows_of(names_file(folder, table), table)
        for rows in _whole_devices(blocks) if table is tables.ATTRIBUTES else blocks:
            with store.writing() as writing:
                writing.lock(tables.PRODUCERS, [])  # whoever renames a device waits, or we do
                _put(writing, table, _named_anew(writing, table, rows))
    found = Imported(0, 0, 0)
    for path in files:
        for rows in rows_of(path, tables.CELLS):
            with store.writing() as writing:
                _lock(writing, rows)
                rows = _named_anew(writing, tables.CELLS, rows)
                kept = _still_wanted(writing, rows)
                _touch(writing, kept)
                taken = writing.put(tables.CELLS, kept, statements.KEEP_HIGHEST)
            gone = len(rows) - len(kept)
            found = Imported(found.cells + len(rows), found.taken + len(taken), found.gone + gone)
    with store.writing() as writing:
        for sql in statements.ANALYSE:
            writing.execute(sql)
    return found


def _whole_devices(blocks: Iterable[list[Row]]) -> Iterator[list[Row]]:
    """Yield rows that come in the order of devices so that each device's come together."""
    held: list[Row] = []
    for rows in blocks:
        held += rows
        last = held[-1][0]
        yield [row for row in held if row[0] != last]
        held = [row for row in held if row[0] == last]
    yield held


def _put(writing: Writing, table: Table, rows: list[Row]) -> None:
    if table is tables.ATTRIBUTES:
        writing.lock(tables.DEVICES)  # what is read of a device must stay so
        _put_histories(writing, rows)
    elif table is tables.ABSORBED:
        _put_names(writing, rows)
    else:
        writing.put(table, rows, statements.KEEP)


def _put_names(writing: Writing, rows: list[Row]) -> None:
    """Write names down. Cells that the exported store has in another one now leave their place.

    Raises InputError where this store has let go of some of these itself: the other cell, which
    holds their figures, would count them once more.
    """
    theirs: dict[object, list[Row]] = {}
    for *name, absorber in rows:
        if absorber:
            theirs.setdefault(absorber, []).append(tuple(name))
    for absorber, names in theirs.items():
        columns = [list(column) for column in zip(*names, strict=True)]
        writing.lock(tables.PRODUCERS, sorted({*columns[0]}))
        for producer, first, last, here in writing.rows(statements.RANGES_WITHIN, columns):
            if here != absorber:
                raise InputError(
                    f"cells {first} to {last} of producer {producer.hex()} are"
                    f" {'absorbed' if here else 'forgotten'} here, and in an hour or a day of the"
                    " export, which cannot be told apart; import an export from before retention,"
                    " or into a store of its own"
                )
        places = writing.rows(statements.PLACES_WITHIN, columns).rows
        keys = [(hour, tuple(key)) for hour, *key in places]
        touch(writing, HOUR, [hour for hour, _ in keys], keys)
        for sql in statements.DROP_WITHIN:
            writing.execute(sql, columns)
    writing.put(tables.ABSORBED, rows, statements.JOIN_RANGES)


def _lock(writing: Writing, rows: list[Row]) -> None:
    """Take the producers' rows first, as ingest does (delivery rule 14 in docs/architecture.md)."""
    producers = sorted({row[PRODUCER] for row in rows})  # type: ignore[type-var]
    writing.lock(tables.PRODUCERS, producers)


def _named_anew(writing: Writing, table: Table, rows: list[Row]) -> list[Row]:
    """Return the rows with each device under the name that its figures stand under here."""
    if table.name not in RENAMED:
        return rows
    place = list(table.columns).index("device")
    devices = [*{row[place] for row in rows}]
    shown: dict[Any, str] = dict(writing.rows(statements.ALIASES_OF, (devices,)))
    if not shown:
        return rows
    changed = [(*row[:place], shown.get(row[place], row[place]), *row[place + 1 :]) for row in rows]
    at = [list(table.columns).index(name) for name in table.key]
    return [*{tuple(row[n] for n in at): row for row in reversed(changed)}.values()]


def _still_wanted(writing: Writing, rows: list[Row]) -> list[Row]:
    """Return the cells whose names are not gone, nor go with them."""
    producers = [*{row[PRODUCER] for row in rows}]
    ranges: dict[Any, list[tuple[int, int]]] = {}
    leaving: set[tuple[Any, Any]] = set()
    for producer, first, last, gone_already in writing.rows(
        statements.GONE_OR_LEAVING, (producers, producers)
    ):
        if gone_already:
            ranges.setdefault(producer, []).append((first, last))
        else:
            leaving.add((producer, first))
    kept = []
    for row in rows:
        name: tuple[Any, Any] = row[PRODUCER], row[SEQUENCE]
        producer, sequence = name
        gone = any(a <= sequence <= b for a, b in ranges.get(producer, ()))
        if not gone and name in leaving and row[FINAL]:
            for sql in statements.DROP_CELL:
                writing.execute(sql, name)
            writing.put(tables.ABSORBED, [(*name, sequence, "")], statements.JOIN_RANGES)
            gone = True
        if not gone:
            kept.append(row)
    return kept


def _touch(writing: Writing, rows: list[Row]) -> None:
    """Note the hours of cells, and of those that they take the place of."""
    found = [(HOUR.start(row[START]), row[SERIES]) for row in rows]  # type: ignore[arg-type]
    names = [[row[at] for row in rows] for at in (PRODUCER, SEQUENCE)]
    if rows:
        found += [(hour, tuple(key)) for hour, *key in writing.rows(statements.PLACES, names)]
    touch(writing, HOUR, [hour for hour, _ in found], found)


def _put_histories(writing: Writing, rows: list[Row]) -> None:
    """Put attributes: of two histories of one the later ends it, the earlier may begin it."""
    held: dict[tuple[Any, ...], list[Row]] = {}
    devices = [*{row[0] for row in rows}]
    for row in writing.rows(statements.HISTORY, (devices,)):
        held.setdefault(row[:2], []).append(row[1:])
    for key, group in groupby(sorted(rows, key=_order), key=lambda row: row[:2]):
        device, name = key
        come, own = [row[1:] for row in group], held.get(key, [])
        history = _joined(own, come)
        if history == own:
            continue
        for _, _, since, *_ in own:
            writing.execute(statements.DROP_SPAN, (device, name, since))
        writing.put(tables.ATTRIBUTES, [(device, *span) for span in history])


def _joined(own: list[Row], come: list[Row]) -> list[Row]:
    """Return one history of two: spans are (name, value, since, until, said)."""

    def said(spans: list[Row]) -> int:
        return max((int(span[4]) for span in spans), default=-1)  # type: ignore[call-overload]

    earlier, later = (own, come) if said(come) > said(own) else (come, own)
    # What a store heard first holds since 0 there, and what was said again is said later: one of
    # the two tells that a span is in the other history too.
    known = {(span[1], span[place]) for span in later for place in (2, 4)}
    if all({(span[1], span[2]), (span[1], span[4])} & known for span in earlier):
        return later
    first = min(int(span[4]) for span in later)  # type: ignore[call-overload]
    return sorted(joined(earlier, later, first // HOUR_SECONDS * HOUR_SECONDS), key=_since)


def _order(row: Row) -> Any:
    return row[0], row[1], row[3]


def _since(span: Row) -> Any:
    return span[2]
