"""A DuckDB file whose log is damaged: what can be read is kept, what is missing is said.

DuckDB opens no store whose log has one bad bit, and opens one whose log is cut or gone without a
word. So the readable part of a log is kept, copies are made first and nothing is ever deleted; and
a file beside the store knows how many transactions there were.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from edgemse.errors import StoreUnreachableError

__all__ = ["LOG_FAILURE", "Count", "clear_unmade", "log_of", "mend", "set_aside"]

log = logging.getLogger(__name__)

LOG_FAILURE = re.compile("while replaying WAL|This WAL was created")
BAD_ENTRY = re.compile(r"entry at byte position (\d+)")
HEADERS_BYTES = 3 * 4_096
"""DuckDB's file begins with three headers; only behind them is there anything."""
MAGIC = slice(8, 12)
"""Behind a checksum. Source: DuckDB, "Storage Versions and Format"."""
DIGITS = 20
COMMITS_MAX = 1 << 53
"""At a thousand a second 285,000 years: more is no count, and no column of a store holds it."""


class Count:
    """How many transactions a store has had, in `<store>.commits`: written after each of them.

    It is not synced: after a power cut it may be behind the store, which says nothing; ahead of it
    only a store can be that has lost some.
    """

    def __init__(self, path: Path) -> None:
        self._path = beside = path.with_name(path.name + ".commits")
        try:
            self._file = os.open(beside, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreUnreachableError(
                f"{beside}, which counts the transactions of the store, cannot be opened:"
                f" {error.strerror}; give the collector the right to write beside its store"
            ) from None

    @classmethod
    def of(cls, path: Path) -> int:
        """Return the number of a store's transactions."""
        count = cls(path)
        try:
            return count.read()
        finally:
            count.close()

    def read(self) -> int:
        """Return the number; 0 where it was never written, or, which is logged, is none."""
        text = os.pread(self._file, DIGITS, 0).strip()
        if text.isdigit() and int(text) <= COMMITS_MAX:
            return int(text)
        if text:
            log.error(
                "%s should hold the number of the store's transactions, got %r: whether some are"
                " missing cannot be said; it is counted anew from here",
                self._path,
                text,
            )
        return 0

    def write(self, commits: int) -> None:
        """Note the number, if there is room: the transaction itself is safe already."""
        try:
            os.pwrite(self._file, f"{commits:{DIGITS}}\n".encode(), 0)
        except OSError as error:
            log.warning("the count of transactions cannot be written: %s", error.strerror)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def log_of(path: Path) -> Path:
    """Return where DuckDB has the log of a store."""
    return path.with_name(path.name + ".wal")


def mend(path: Path, reason: str, now: float) -> bool:
    """Make a store openable whose log is the reason that it is not; False if that is another.

    Call it again while opening fails: each time the log becomes shorter. Copies of store and log as
    they were stay beside them. Raises StoreUnreachableError if they cannot be made.
    """
    wal = log_of(path)
    if not LOG_FAILURE.search(reason) or not wal.exists():
        return False
    found = BAD_ENTRY.search(reason)
    size = wal.stat().st_size
    good = min(int(found[1]), size) if found else 0
    kept = f"its first {good:,} of {size:,} bytes are" if 0 < good < size else "nothing of it is"
    log.error("the log of the store %s is damaged (%s); %s kept", path, reason, kept)
    set_aside(path, now)
    if 0 < good < size:
        os.truncate(wal, good)
    else:
        wal.unlink()  # its copy is there
    return True


def clear_unmade(path: Path) -> bool:
    """Remove a file whose making broke off before a store could hold anything, as on a full disk.

    False, and nothing is touched, if it is anything else, or somebody is about to make it.
    """
    try:
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # DuckDB's own, so that it keeps out
            head = file.read(HEADERS_BYTES)
            ours = not head or head[MAGIC] == b"DUCK"
            if len(head) == HEADERS_BYTES or not ours or log_of(path).exists():
                return False
            path.unlink()
    except OSError:
        return False
    log.warning(
        "the store %s was not made to its end, as on a full disk, and held nothing yet: it is made"
        " anew",
        path,
    )
    return True


def set_aside(path: Path, now: float) -> None:
    """Copy store and log as they are to names beside them, and say where.

    Raises StoreUnreachableError if that cannot be.
    """
    try:
        copy = _copied(path, now)
    except OSError as error:
        raise StoreUnreachableError(
            f"store {path} has a damaged log, and no copy of it can be made: {error}; make room for"
            " store and log once more, or move both away"
        ) from None
    log.error("store and log as they were: %s and %s", copy, log_of(copy))


def _copied(path: Path, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while copy.exists():
        number += 1
        copy = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for source, target in ((path, copy), (log_of(path), log_of(copy))):
        shutil.copy2(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    return copy
