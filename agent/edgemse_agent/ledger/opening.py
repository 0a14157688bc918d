"""Opening a ledger: is it sound, is it this board's, and what becomes of it if not.

A file that is not fit is put away whole, under another name, and a new one begun. What is sound in
one that this board damaged is taken over at once; another board's, or a newer agent's, waits for
a person to say `adopt`.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edgemse.errors import LedgerError
from edgemse_agent.ledger.file import (
    FileLock,
    board_number,
    connect,
    create,
    is_environment,
    is_full,
    put_away,
)
from edgemse_agent.ledger.journal import keep
from edgemse_agent.ledger.salvage import Taken, about, take_over
from edgemse_agent.ledger.schema import NUMBERS, RECOUNT, SCHEMA_VERSION
from edgemse_agent.ledger.sound import UNREADABLE, rows

__all__ = ["NoRoomError", "Opened", "open_ledger", "put_away_files"]

log = logging.getLogger(__name__)

HEADER_VERSION_MAX = 1_000
"""A schema above this in the file's header is a damage, not the future."""


@dataclass
class Opened:
    """An open database, and what it cost to get there."""

    database: sqlite3.Connection
    set_aside: Path | None = None
    commits_lost: int = 0
    taken: list[Taken] = field(default_factory=list)


class NoRoomError(LedgerError):
    """The disk has no room to begin a ledger; `set_aside` is one that was put away just before."""

    set_aside: Path | None = None


class _Unfit(Exception):  # noqa: N818 - not an error: it says what to do with the file
    """A file that may not be used: `kind` is corrupt, newer or foreign.

    `whole` where nothing is missing but rows that can be named: the ledger goes on under its id.
    """

    def __init__(self, kind: str, why: str, *, whole: bool = False) -> None:
        super().__init__(why)
        self.kind, self.whole = kind, whole


def open_ledger(path: Path, hardware: str, lock: FileLock, *, begun_as: str = "") -> Opened:
    """Open or begin the ledger at the path, taking over what is sound in a damaged one.

    `begun_as` begins one of that id, whose agent runs already: nothing is taken over then. Raises
    NoRoomError if the disk has no room to begin one, another LedgerError if the disk or its
    permissions are in the way.
    """
    name, commits = lock.noted()
    journal = keep(path)
    aside, whole, lost = None, False, 0
    try:
        try:
            database = _fit(path, hardware, (name, commits), begun_as)
        except _Unfit as unfit:
            aside, whole = put_away(path, unfit.kind, journal), unfit.whole
            lost = commits if unfit.kind == "corrupt" else 0  # until it is read
            lock.note("", 0)
            log.error("ledger %s: %s; put away as %s", path, unfit, aside)
            database = _fit(path, hardware, ("", 0), begun_as)
    except NoRoomError as error:
        error.set_aside = aside
        raise
    except (OSError, *UNREADABLE) as error:
        raise LedgerError(f"ledger {path}: {error}; check the disk and its permissions") from error
    finally:
        if journal is not None:
            journal.unlink(missing_ok=True)
    opened = Opened(database, aside, lost)
    if not begun_as:
        _take_over_all(path, hardware, opened, commits, whole=whole)
    return opened


def put_away_files(path: Path, kinds: Iterable[str]) -> list[Path]:
    """Return the ledgers of these kinds that were put away beside the path."""
    return sorted(
        file
        for kind in kinds
        for file in path.parent.glob(f"{path.name}.{kind}-*")
        if file.name.rpartition("-")[2].isdigit()
    )


def _take_over_all(path: Path, hardware: str, opened: Opened, commits: int, *, whole: bool) -> None:
    """Take over what is sound in the damaged ledgers of this board that were put away."""
    for file in put_away_files(path, ["corrupt"]):
        now = file == opened.set_aside
        try:
            taken = take_over(opened.database, file, hardware, whole=whole and now)
        except (OSError, *UNREADABLE) as error:
            log.error("%s cannot be read now (%s); a later start tries again", file, error)
            continue
        if taken is not None:
            opened.taken.append(taken)
            if now:
                opened.commits_lost = max(0, commits - max(0, taken.commits))
            log.error("ledger %s: %s", path, taken)


def _fit(path: Path, hardware: str, noted: tuple[str, int], begun_as: str) -> sqlite3.Connection:
    """Open the file, or begin one if there is none; raise _Unfit if it may not be used.

    `noted` is the id of the ledger that was here last, and how many commits it had.
    """
    database, beginning = None, not path.exists() or not path.stat().st_size
    if beginning and noted[1]:
        raise _Unfit("corrupt", f"it is empty, after {noted[1]} commits")
    try:
        database = connect(path)
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0 and not database.execute("SELECT 1 FROM sqlite_master").fetchone():
            if noted[1]:
                raise _Unfit("corrupt", f"nothing is in it, after {noted[1]} commits")
            beginning = True
            create(database, hardware, begun_as)
        else:
            _check(database, version, hardware, noted)
            _recount(database)
    except (OSError, *UNREADABLE) as error:
        if database is not None:
            database.close()
        if beginning and is_full(error):
            raise NoRoomError(f"ledger {path}: cannot be begun: {error}") from error
        if is_environment(error):
            raise
        raise _Unfit("corrupt", f"not sound: {error}") from None
    except _Unfit:
        assert database is not None
        database.close()
        raise
    return database


def _check(
    database: sqlite3.Connection, version: int, hardware: str, noted: tuple[str, int]
) -> None:
    """Raise _Unfit unless the ledger is sound to the last row, and this board's."""
    said = about(database)
    newer = said["schema"] if said else version
    if newer > SCHEMA_VERSION and version == newer <= HEADER_VERSION_MAX:
        raise _Unfit("newer", f"made by a newer edgemse-agent (schema {newer})")
    if said and said["hardware"] != hardware:
        raise _Unfit("foreign", f"of another board ({said['hardware']!r}, not {hardware!r})")
    if not said:
        (board,) = database.execute("PRAGMA application_id").fetchone()
        kind = "corrupt" if board == board_number(hardware) else "foreign"
        raise _Unfit(kind, "what it says of itself is not sound")
    lost = noted[1] - said["commits"] if noted[0] == said["id"] else 0
    if lost > 0:
        raise _Unfit("corrupt", f"its last {lost} commits are missing")
    ((problem,),) = database.execute("PRAGMA integrity_check(1)").fetchall()
    if problem != "ok":
        raise _Unfit("corrupt", f"not sound: {problem}")
    if version != SCHEMA_VERSION:
        raise _Unfit("corrupt", f"its header says schema {version}, its content {SCHEMA_VERSION}")
    for table in ("sessions", "cells", "entries", "attributes", "spans"):
        for row in rows(database, table):
            if row.wrong:
                why = f"a row of {table} is not sound: {row.wrong}"
                raise _Unfit("corrupt", why, whole=table != "sessions")


def _recount(database: sqlite3.Connection) -> None:
    wanted = tuple(map(int, database.execute(RECOUNT).fetchone()))
    found = database.execute(f"SELECT {NUMBERS} FROM meta").fetchone()  # noqa: S608 - constant
    if found != wanted:
        marks = ", ".join(f"{name} = ?" for name in NUMBERS.split(", "))
        with database:
            database.execute(f"UPDATE meta SET {marks}", wanted)  # noqa: S608 - constants
