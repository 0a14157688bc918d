"""Producers of a replay: drawn from what is replayed, so that a second replay adds nothing.

An agent draws its producer at random because its memory can never be made again. A replay's can:
the same files with the same options make the same cells in the same order. Named after a digest
of both, a replay that was broken off is simply run again, and one that is run twice counts once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from edgemse.cells import PRODUCER_BYTES
from edgemse.errors import FileUnreadableError

__all__ = ["digest_of", "producer_of"]

RULES_VERSION = b"edgemse replay 1\0"
"""Raised when the same files and options come to make other cells."""


def digest_of(files: Iterable[Path], options: Iterable[str]) -> bytes:
    """Return a digest of the files' contents and the options."""
    digest = hashlib.sha256(RULES_VERSION)
    for option in options:
        digest.update(hashlib.sha256(option.encode()).digest())
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise FileUnreadableError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.digest()


def producer_of(digest: bytes, device: str) -> bytes:
    """Return the producer of one device's cells in the replay of that digest."""
    return hashlib.sha256(digest + device.encode()).digest()[:PRODUCER_BYTES]
