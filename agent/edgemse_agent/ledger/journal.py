"""The journal (WAL) of a damaged ledger: kept, and made readable to its end.

SQLite ends a journal at the first frame whose checksum is wrong, and deletes it when it closes the
file. But each frame can be told by itself: its two salts are those of the journal it belongs to.
With checksums made anew all of them count, and a damaged one spoils the rows of one page.
"""

from __future__ import annotations

import logging
import os
import shutil
import struct
from collections import Counter
from pathlib import Path

from edgemse_agent.ledger.schema import PAGE_BYTES

__all__ = ["keep", "mended"]

log = logging.getLogger(__name__)

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES
MAGIC = 0x377F0682
"""Checksums of little-endian words. Source: SQLite, "WAL-mode File Format", as is all of this."""
VERSION = 3_007_000
SALTS = slice(8, 16)
"""In a frame's header, behind the page's number and, in the last frame of a commit, the size."""


def keep(path: Path) -> Path | None:
    """Give the journal of the file a second name, under which it outlives SQLite.

    None if there is none, or no room for it (then what is damaged behind a damage is lost).
    """
    journal, kept = Path(f"{path}-wal"), Path(f"{path}.journal")
    kept.unlink(missing_ok=True)
    if not journal.exists() or not journal.stat().st_size:
        return None
    try:
        os.link(journal, kept)
        return kept
    except OSError as error:  # a file system without links, perhaps
        log.info("%s cannot be linked (%s); copying it", journal, error)
    try:
        shutil.copyfile(journal, kept)
    except OSError as error:
        log.warning("%s cannot be kept: %s", journal, error)
        kept.unlink(missing_ok=True)
        return None
    return kept


def mended(journal: bytes) -> bytes:
    """Return the journal up to its last commit, all frames that belong to it made readable.

    Empty if there is none. What is left of an earlier journal, further behind, stays out.
    """
    frames = [
        journal[at : at + FRAME_BYTES]
        for at in range(HEADER_BYTES, len(journal) - FRAME_BYTES + 1, FRAME_BYTES)
    ]
    if not frames:
        return b""
    ((salts, _),) = Counter(frame[SALTS] for frame in frames[:3]).most_common(1)
    last = max((n for n, f in enumerate(frames) if f[SALTS] == salts), default=-1)
    frames = frames[: last + 1]
    while frames and not any(frames[-1][4:8]):
        frames.pop()  # of a transaction that was not committed
    head = struct.pack(">IIII", MAGIC, VERSION, PAGE_BYTES, 0) + salts
    sums = _summed(head, (0, 0))
    out = [head, struct.pack(">II", *sums)]
    for frame in frames:
        page = frame[FRAME_HEADER_BYTES:]
        sums = _summed(frame[:8] + page, sums)
        out += [frame[:8], salts, struct.pack(">II", *sums), page]
    return b"".join(out) if frames else b""


def _summed(data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"<{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
