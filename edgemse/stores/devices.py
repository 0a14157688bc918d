"""What people do to devices: forget, retire, rename. Each is one transaction with its audit row.

A cell that is gone leaves its name behind: it is acknowledged when it comes once more, and not
counted (delivery rule 13 in docs/architecture.md). A cell that still grows goes once it is final.
"""

from __future__ import annotations

from edgemse.errors import SettingsError
from edgemse.names import wrong_with
from edgemse.stores import rolled, statements
from edgemse.stores.attributes import joined
from edgemse.stores.audit import Actor, note
from edgemse.stores.base import Writing
from edgemse.stores.tables import ALIASES, ATTRIBUTES, PRODUCERS
from edgemse.stores.touching import HOUR, touch
from edgemse.times import HOUR_SECONDS

__all__ = ["forget", "rename", "retire", "unretire"]


def forget(
    writing: Writing, device: str, by: Actor, now_ms: int, *, grown: bool = False
) -> dict[str, int]:
    """Drop the device's cells, attributes, presence, series, quarantine, and keep the cells' names.

    Returns how many `cells` are gone, and of how many that still grow (`open`) the end is waited
    for; with `grown` these go at once, and what is yet to be added to them will not be counted.

    Raises SettingsError if the store has no such device.
    """
    writing.lock(PRODUCERS)  # cells of the device that are on their way come before, or after
    _check_there(writing, device)
    if grown:
        writing.execute(statements.LEAVE_NO_MORE, (device,))
    writing.execute(statements.ABSORB, (device, grown))
    cells = writing.execute(statements.DROP_CELLS, (device, grown))
    writing.execute(statements.LEAVE, (device,))
    ((left, _, _),) = writing.rows(statements.HOLDS, (device,) * 3)
    for sql in (*rolled.FORGET, *statements.FORGET, statements.DROP_ALIASES):
        writing.execute(sql, (device,))
    _touch(writing, device)  # what still grows
    return _noted(writing, "forget", device, by, now_ms, {"cells": cells, "open": left})


def retire(writing: Writing, device: str, by: Actor, now_ms: int) -> dict[str, int]:
    """Take the device out of service: its figures stay, and it is not called silent any more.

    Raises SettingsError if the store has no such device.
    """
    _check_there(writing, device)
    writing.execute(statements.RETIRE, (device, now_ms))
    return _noted(writing, "retire", device, by, now_ms, {})


def unretire(writing: Writing, device: str, by: Actor, now_ms: int) -> dict[str, int]:
    """Put a retired device back into service. Raises SettingsError if it is not retired."""
    if not writing.execute(statements.REACTIVATE, (device,)):
        raise SettingsError(f"device {device!r:.80} is not retired; nothing was done")
    return _noted(writing, "unretire", device, by, now_ms, {})


def rename(writing: Writing, device: str, to: str, by: Actor, now_ms: int) -> dict[str, int]:
    """Show the device's figures under another name, and those that it will send as well.

    If there is a device of that name, the figures of both are one device's from now on. To the own
    name: what comes under it from now on is its own again. Returns how many `cells` moved.

    Raises SettingsError if the store has no such device, or the name is none or not to be had.
    """
    wrong = wrong_with(to) or ("" if to else "nothing")
    if wrong:
        raise SettingsError(f"new name {to!r:.80}: {wrong}; wanted a device's name")
    writing.lock(PRODUCERS)
    aliases: dict[str, str] = dict(writing.rows(statements.ALIASES_OF, ([device, to],)))
    if to == device:
        if not writing.execute(statements.LOSE_ALIAS, (device,)):
            raise SettingsError(f"device {device!r:.80} has that name; nothing was done")
        return _noted(writing, "rename", device, by, now_ms, {"cells": 0}, to=to)
    if aliases.get(to, device) != device:
        raise SettingsError(f"device {to!r:.80} is called {aliases[to]!r:.80}; give that name")
    _check_there(writing, device)
    _move_attributes(writing, device, to, now_ms // 1000)
    for name in (device, to):
        for sql in rolled.FORGET:
            writing.execute(sql, (name,))
    cells = writing.execute(statements.RENAME_CELLS, (to, device))
    _touch(writing, to)
    moves = (statements.RENAME_PRODUCERS, statements.RENAME_RENAMES, statements.RENAME_SERIES)
    for sql in (statements.RENAME_QUARANTINE, statements.RENAME_DEPENDENCE, *moves):
        writing.execute(sql, (to, device))
    for sql in statements.SETTLE_RENAMES:
        writing.execute(sql, (device,))
    if writing.rows(statements.HAS_DEVICE, (to,)).rows:
        writing.execute(statements.FORGET[0], (device,))
    else:
        writing.execute(statements.RENAME_DEVICE, (to, device))
    writing.execute(statements.REACTIVATE, (device,))
    writing.execute(statements.FOLLOW_ALIASES, (to, device))
    writing.execute(statements.LOSE_ALIAS, (to,))
    writing.put(ALIASES, [(device, to, now_ms)], statements.REPLACE_ALIAS)
    return _noted(writing, "rename", device, by, now_ms, {"cells": cells}, to=to)


def _touch(writing: Writing, device: str) -> None:
    """Note that everything that is rolled up of the device is to be made anew."""
    hours = writing.rows(rolled.HOURS_OF, (device,)).rows
    touch(writing, HOUR, [hour for hour, *_ in hours], [(hour, tuple(key)) for hour, *key in hours])


def _check_there(writing: Writing, device: str) -> None:
    ((cells, heard, retired),) = writing.rows(statements.HOLDS, (device,) * 3)
    if cells or heard or retired:
        return
    aliases: dict[str, str] = dict(writing.rows(statements.ALIASES_OF, ([device],)))
    known = "edgemse fleet devices lists them"
    if device in aliases:
        known = f"it is called {aliases[device]!r:.80} now"
    raise SettingsError(f"no device {device!r:.80}; {known}")


def _move_attributes(writing: Writing, device: str, to: str, now_seconds: int) -> None:
    """Give the other name this one's history: until its own first window, if it has one."""
    ((first,),) = writing.rows(statements.FIRST_WINDOW, (to,))
    since = (now_seconds if first is None else first) // HOUR_SECONDS * HOUR_SECONDS
    old = writing.rows(statements.ATTRIBUTES_OF, (device,)).rows
    own = writing.rows(statements.ATTRIBUTES_OF, (to,)).rows
    rows = [(to, *row) for row in joined(old, own, since)]
    kept = {(name, start) for _, name, _, start, *_ in rows}
    for name, _, start, *_ in own:
        if (name, start) not in kept:
            writing.execute(statements.DROP_SPAN, (to, name, start))
    writing.execute(statements.DROP_ATTRIBUTES, (device,))
    writing.put(ATTRIBUTES, rows, statements.REPLACE_ATTRIBUTES)


def _noted(
    writing: Writing,
    action: str,
    device: str,
    by: Actor,
    now_ms: int,
    done: dict[str, int],
    **more: str,
) -> dict[str, int]:
    note(writing, action, by, now_ms, {**more, **done}, device=device)
    return done
