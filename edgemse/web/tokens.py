"""Who may ask over HTTP: a file with the hash, the role and the name of every token.

    # name      role    SHA-256 of the token                  until (optional; a UTC date)
    grafana     read    5e884898da28047151d0e56f8dc62927...   2027-06-30

A token is 256 random bits, so its plain SHA-256 gives nothing away and needs neither salt nor
stretching. The file is read again when it changes: a line that is taken out counts at once.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from edgemse.errors import SettingsError
from edgemse.logs import Ration
from edgemse.settings import read_secret

__all__ = ["ROLES", "Token", "Tokens", "new_token", "token_hash"]

log = logging.getLogger(__name__)
log.addFilter(Ration())

ROLES = {"read": {"read"}, "ingest": {"ingest"}, "admin": {"read", "ingest", "admin"}}
"""What each role may do."""
PREFIX = "edgemse_"
"""Lets people, and scanners for leaked secrets, see what a string is."""
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Token:
    """One line of the file."""

    name: str
    role: str
    until: date | None = None
    """The last day, UTC, on which it is good; None: for ever."""


def new_token() -> str:
    """Return a token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """Return what the file holds of a token.

    >>> token_hash("password")[:8]
    '5e884898'
    """
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """The tokens of a file; raises SettingsError at the start if the file is no good.

    If it becomes so later, nobody is let in until it is mended, and the log says why.

    Args:
        path: The file.
        now: Unix seconds.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now
        self._stamp = self._stamped()
        self._known = _read(path)

    def find(self, token: str) -> Token | None:
        """Return whose token this is, or None if nobody's or no longer good."""
        stamp = self._stamped()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._known = _read(self._path)
            except SettingsError as error:
                log.warning("nobody is let in: %s", error)
                self._known = {}
        found = self._known.get(token_hash(token))
        if found is None or found.until is None:
            return found
        today = datetime.fromtimestamp(self._now(), UTC).date()
        return found if today <= found.until else None

    def _stamped(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_mtime_ns, status.st_size, status.st_ino)


def _read(path: Path) -> dict[str, Token]:
    found: dict[str, Token] = {}
    names: set[str] = set()
    for number, line in enumerate(read_secret(path, "tokens").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        hashed, token = _parsed(words, f"tokens {path}, line {number}")
        if token.name in names or hashed in found:
            raise SettingsError(f"tokens {path}, line {number}: {token.name}, or its hash, twice")
        names.add(token.name)
        found[hashed] = token
    return found


def _parsed(words: list[str], where: str) -> tuple[str, Token]:
    if not 3 <= len(words) <= 4:
        raise SettingsError(f"{where}: {len(words)} words, wanted name, role, hash and a last day")
    name, role, hashed = words[:3]
    if role not in ROLES:
        raise SettingsError(f"{where}: role {role!r}, wanted one of {', '.join(ROLES)}")
    if not SHA256.fullmatch(hashed):
        # What stands there may be the token itself: it is not repeated.
        raise SettingsError(f"{where}: the third word is no SHA-256, wanted 64 hex digits")
    try:
        until = date.fromisoformat(words[3]) if len(words) == 4 else None
    except ValueError:
        raise SettingsError(f"{where}: last day {words[3]!r}, wanted YYYY-MM-DD") from None
    return hashed, Token(name, role, until)
