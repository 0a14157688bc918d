"""The ledger's file and its lock: who may open it, and how it is opened, begun and put away."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import sqlite3
import zlib
from pathlib import Path

from edgemse.errors import LedgerError, LedgerLockedError, SettingsError
from edgemse_agent.calendar import Timeline
from edgemse_agent.ledger.schema import GUARDED, PAGE_BYTES, SCHEMA, SCHEMA_VERSION, inserted
from edgemse_agent.ledger.sound import checksum, tolerant

__all__ = [
    "FileLock",
    "board_number",
    "check_place",
    "connect",
    "create",
    "is_environment",
    "is_full",
    "put_away",
]

OWNER_ONLY = 0o600
"""Predictions, labels and producers are nobody else's business."""
NOTE_BYTES = 64
CACHE_KIBIBYTES = 512
"""Of SQLite's own pages. What is written next lies close together; its default is four times as
much, which a device has better use for."""
ENVIRONMENT = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""What SQLite says of the disk, its permissions and the machine, and not of the file's content."""


def check_place(path: Path) -> None:
    """Raise SettingsError if something is at the path that no ledger can be, such as a folder."""
    if path.is_dir():
        raise SettingsError(f"ledger {path}: is a folder; wanted a file, say {path}/ledger.sqlite")
    if path.exists() and not path.is_file():  # a device's mode would be changed
        raise SettingsError(f"ledger {path}: is a device, pipe or socket; wanted a file's path")


class FileLock:
    """The lock of the ledger at a path, held until it is closed; and the number of its commits.

    The number is written after each commit, not synced: it is never above the ledger's own, unless
    the ledger has lost commits (its journal was cut, or it was put back from a copy).

    Raises LedgerLockedError if another process holds it, SettingsError if no ledger can be there.
    """

    def __init__(self, path: Path) -> None:
        check_place(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, OWNER_ONLY)
        except OSError as error:
            raise LedgerError(
                f"ledger {path}: cannot be written: {error.strerror}; set another path (--ledger)"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise LedgerLockedError(
                f"ledger {path}: another edgemse-agent holds it; stop that one, or give this one"
                " a ledger of its own"
            ) from None

    def note(self, ledger: str, commits: int) -> None:
        """Write down how many commits that ledger has."""
        # Nothing hangs on it: where it cannot be written, a loss is less likely to be noticed.
        with contextlib.suppress(OSError):
            os.pwrite(self._file, f"{ledger} {commits}".encode().ljust(NOTE_BYTES), 0)

    def noted(self) -> tuple[str, int]:
        """Return the id of the ledger and the number that was written down last; "", 0 if none."""
        name, _, number = os.pread(self._file, NOTE_BYTES, 0).partition(b" ")
        number = number.strip()
        return (name.decode("ascii", "replace"), int(number)) if number.isdigit() else ("", 0)

    def close(self) -> None:
        """Give up the lock."""
        os.close(self._file)


def board_number(hardware: str) -> int:
    """Return what stands for the board in the file's header, where a damage may leave it alone."""
    return zlib.crc32(hardware.encode()) & 0x7FFFFFFF


def connect(path: Path | None) -> sqlite3.Connection:
    """Open the file, which may be empty or anything; raises sqlite3.Error or OSError."""
    if path is not None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
        path.chmod(OWNER_ONLY)
    database = sqlite3.connect(path or ":memory:")
    try:
        database.text_factory = tolerant
        database.create_function("checksum", -1, checksum, deterministic=True)
        database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        database.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        # The index of the journal then is in memory, so that a full disk can be read.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
    except BaseException:
        database.close()
        raise
    return database


def create(database: sqlite3.Connection, hardware: str, ledger: str = "") -> None:
    """Make the tables of a new ledger, of that id or a random one; raises sqlite3.Error."""
    named = (SCHEMA_VERSION, ledger or secrets.token_hex(16), hardware, 0.0, "", 0)
    about = (*named, *Timeline())
    assert len(about) == len(GUARDED["meta"])
    with database:
        database.executescript(
            f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};"
            f" PRAGMA application_id = {board_number(hardware)};"
        )
        database.execute(f"INSERT {inserted('meta')}", about)


def is_environment(error: Exception) -> bool:
    """Tell whether an error is about the disk or its permissions, and not about the content."""
    code: int = getattr(error, "sqlite_errorcode", 0)  # not there where the module itself raises
    return isinstance(error, OSError) or code & 0xFF in ENVIRONMENT


def is_full(error: Exception) -> bool:
    """Tell whether an error may come from a disk without room."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def put_away(path: Path, kind: str, journal: Path | None) -> Path:
    """Rename the ledger and its journal, so that a person can look at them later.

    `journal` is the journal as it was before SQLite saw it, if there was one.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.{kind}-{number}")).exists():
        number += 1
    # The journal first: without it the file is older, which is noticed if it ends here.
    for suffix in ("-wal", "-shm"):
        source = Path(f"{path}{suffix}")
        if source.exists():
            source.replace(f"{aside}{suffix}")
    if journal is not None:
        journal.replace(f"{aside}-wal")
    path.touch(OWNER_ONLY)
    path.replace(aside)
    return aside
