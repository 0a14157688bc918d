"""A ledger as a killed agent leaves it, and what a bad card or a careless hand does to it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from edgemse_agent.entries import Entry, Label, Prediction
from edgemse_agent.ledger import Ledger, Refused, Written
from edgemse_agent.pairs import Pairs

from edgemse import ErrorStats
from edgemse.cells import Identity, SealedCell, Series, Window

BOARD = "board 1"
OWN, MONITOR = b"\x01" * 16, b"\x02" * 16
WHERE = (None, None, None, None)
Files = dict[str, bytes]
"""By suffix: the database itself, its journal, its lock."""


def changed(entries: dict[str, Entry]) -> Pairs:
    """Return ids as they came new, for a ledger to write."""
    pairs = Pairs({}, 1_000_000, 1_000_000)
    for key, entry in entries.items():
        pairs.put(key, entry)
    return pairs


def cell(producer: bytes, sequence: int, revision: int, *, final: bool = True) -> SealedCell:
    """Return a cell whose count says which revision of which cell it is."""
    stats = ErrorStats()
    for i in range(1 + sequence % 7 + revision):
        stats.update(float(sequence), sequence + 1.1**i)
    window = Window(60 * sequence, 60)
    series = Series("model", "v1", "", f"hall {sequence % 3}")
    return SealedCell(
        Identity(producer, sequence), revision, final, series, window, stats.to_bytes(), None
    )


class Original:
    """What a ledger held, every revision of every cell, and its files as a SIGKILL leaves them."""

    def __init__(self, folder: Path, cells: int = 120) -> None:
        self.path = folder / "ledger.sqlite"
        self.cells: dict[Identity, SealedCell] = {}
        self.revisions: set[SealedCell] = set()
        self.entries = {
            f"id {i}": Entry(
                float(i),
                [(Series("m"), Prediction(float(i), 1.0, 1e9))],
                [Label(1.0, 1e9, WHERE)] if i % 2 else [],
            )
            for i in range(cells // 2)
        }
        rng = random.Random(1)
        with closing(Ledger(self.path, hardware=BOARD)) as ledger:
            self.id = ledger.id
            for sequence in range(cells):
                producer = MONITOR if sequence % 4 == 0 else OWN
                for revision in range(1, 1 + rng.randrange(1, 4)):
                    each = cell(producer, sequence, revision, final=sequence % 5 > 0)
                    ledger.commit([Written(each, producer == MONITOR)])
                    self.cells[each.identity] = each
                    self.revisions.add(each)
                if sequence % 6 == 0:
                    ledger.expose({each.identity: each.revision})
                if sequence % 18 == 0:
                    ledger.park({each.identity: Refused(each.revision, "future", "why")})
            ledger.commit([], changed(self.entries), {"session": 50}, elapsed_seconds=100.0)
            ledger.attributes({"site": "north"}, 1e9)
            files = {suffix: Path(f"{self.path}{suffix}") for suffix in ("", "-wal", ".lock")}
            self.killed: Files = {suffix: file.read_bytes() for suffix, file in files.items()}
        self.closed: Files = {"": self.path.read_bytes(), ".lock": files[".lock"].read_bytes()}
        """Its files after a proper end, which leaves no journal."""


def lay(folder: Path, files: Files) -> Path:
    """Write the files of a ledger into an empty folder, and return its path."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for suffix, data in files.items():
        (folder / f"ledger.sqlite{suffix}").write_bytes(data)
    return folder / "ledger.sqlite"


def flip(rng: random.Random, data: bytes) -> bytes:
    """Flip a bit or a few."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 4))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def early_flip(rng: random.Random, data: bytes) -> bytes:
    """Flip a bit where the file describes itself."""
    return flip(rng, data[:200]) + data[200:]


def blot(rng: random.Random, data: bytes) -> bytes:
    """Write zeros, ones or noise over a stretch."""
    length = rng.choice((16, 512, 4_096, 8_192))
    at = rng.randrange(len(data)) // 512 * 512
    ink = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return (data[:at] + ink + data[at + length :])[: len(data)]


def cut(rng: random.Random, data: bytes) -> bytes:
    """Cut the end off."""
    return data[: rng.randrange(len(data))]


def emptied(_rng: random.Random, _data: bytes) -> bytes:
    """Leave an empty file."""
    return b""


def junk(rng: random.Random, data: bytes) -> bytes:
    """Write noise over the whole file."""
    return rng.randbytes(len(data))


DAMAGES: list[Callable[[random.Random, bytes], bytes]] = [
    *(flip, flip, flip, flip, early_flip, early_flip, blot, blot, blot, cut, emptied, junk)
]
