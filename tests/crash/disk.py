"""What a disk holds after a power cut, by the system calls that a process made until then.

`traced` runs a command under strace; `Disk` plays its calls. A file's content is what was synced,
and of what was written since then *any* part, whole writes or single sectors, in any order: that
is what cards and their controllers do. Names (files made, renamed, linked, removed) come to the
disk in their order, and with the next sync of any file or folder, as ext4, XFS, Btrfs and F2FS do.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Call", "Disk", "traced"]

TRACED = (
    "openat,open,creat,write,writev,pwrite64,pwritev,fsync,fdatasync,ftruncate,truncate,fallocate,"
    "rename,renameat,renameat2,unlink,unlinkat,link,linkat"
)
TEXT_BYTES_MAX = 300_000
"""strace cuts longer texts off: reports are at most 64 KiB, in base64."""
SECTOR_BYTES = 512
CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)(?:<.*>)?(?: .*)?$")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
DESCRIPTOR = re.compile(r"^(?:\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?")


class Call(NamedTuple):
    """One call that changes something, or a fact that the process told between two of them.

    `path` is relative to the folder; `data` the bytes written; `at` an offset, or a length.
    """

    name: str
    path: str = ""
    data: bytes = b""
    at: int = 0
    other: str = ""
    fact: Any = None


def traced(
    command: Sequence[str], folder: Path, log: Path, *options: str, seconds: float = 100.0
) -> tuple[list[Call], str]:
    """Run it under strace; return what it did in the folder and what it said, and its errors."""
    words = ["strace", "-f", "-y", "-xx", "-s", str(TEXT_BYTES_MAX), "-e", f"trace={TRACED}"]
    done = subprocess.run(
        [*words, *options, "-o", str(log), *command],
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    with log.open() as lines:
        calls = [call for line in lines for call in _calls(line.rstrip(), folder)]
    return calls, done.stderr


def _calls(line: str, folder: Path) -> list[Call]:
    found = CALL.match(line)
    if found is None:
        return []  # a signal, an exit
    name, given, result = found[1], found[2], int(found[3])
    if result < 0:
        return []
    held = DESCRIPTOR.match(given)
    at = _text(held[1]).decode() if held else ""
    said = [_text(text) for text, _ in TEXT.findall(given)]
    assert not any(cut for _, cut in TEXT.findall(given)), line[:200]
    if name == "write" and given.startswith("1<"):
        return [Call("tell", fact=json.loads(each)) for each in said[0].splitlines()]
    if name in ("openat", "open", "creat"):
        path = _within(said[0].decode(), folder)
        made = path is not None and ("O_CREAT" in given or name == "creat")
        assert path is None or "O_TRUNC" not in given or made, line[:200]
        return [Call("open", path or "", at=int("O_TRUNC" in given))] if made else []
    if name in ("fsync", "fdatasync"):
        path = "." if at == str(folder) else _within(at, folder)
        return [] if path is None or held is None or held[2] else [Call("sync", path)]
    if name in ("pwrite64", "write", "ftruncate"):
        path = _within(at, folder)
        if path is None or held is None or held[2]:
            return []
        number = int(given.rsplit(", ", 1)[1])
        assert name != "write", f"written without a place: {line[:200]}"
        if name == "ftruncate":
            return [Call("truncate", path, at=number)]
        return [Call("write", path, said[0][:result], number)]
    names = [_within(each.decode(), folder) for each in said]
    assert names or _within(at, folder) is None, f"not played: {line[:200]}"
    if not names or names[0] is None:
        return []
    kind = next(kind for kind in ("rename", "unlink", "link") if name.startswith(kind))
    return [Call(kind, names[0], other=(names[1] or "") if len(names) > 1 else "")]


def _text(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _within(path: str, folder: Path) -> str | None:
    place = Path(path)
    return str(place.relative_to(folder)) if folder in place.parents else None


@dataclass
class _File:
    synced: bytes = b""
    since: list[Call] = field(default_factory=list)

    def sync(self) -> None:
        self.synced, self.since = _played(self.synced, self.since), []

    def kept(self, rng: random.Random) -> bytes:
        """Return what is there after a power cut: of what was written since the sync, a part."""
        share = rng.choice((0.0, 0.3, 0.7, 1.0))
        kept = []
        for call in self.since:
            if rng.random() >= share:
                continue
            if call.name == "write" and rng.random() < 0.2:
                kept += _torn(call, rng)
            else:
                kept.append(call)
        return _played(self.synced, kept)


def _torn(call: Call, rng: random.Random) -> list[Call]:
    """Return some of the sectors of a write."""
    first = -call.at % SECTOR_BYTES
    places = [0, *range(first or SECTOR_BYTES, len(call.data), SECTOR_BYTES), len(call.data)]
    return [
        call._replace(data=call.data[begin:end], at=call.at + begin)
        for begin, end in pairwise(places)
        if rng.random() < 0.5
    ]


def _played(content: bytes, calls: Sequence[Call]) -> bytes:
    out = bytearray(content)
    for call in calls:
        if call.name == "truncate":
            del out[call.at :]
            out += bytes(call.at - len(out))
        else:
            out += bytes(max(0, call.at - len(out)))
            out[call.at : call.at + len(call.data)] = call.data
    return bytes(out)


class Disk:
    """A folder on a disk: what is in it now, and what a power cut would leave."""

    def __init__(self) -> None:
        self._now: dict[str, _File] = {}
        self._synced: dict[str, _File] = {}
        self._since: list[dict[str, _File]] = []
        """The folder after each change of a name since the last sync."""

    def play(self, call: Call) -> None:
        """Do a call."""
        if call.name in ("write", "truncate"):
            self._now[call.path].since.append(call)
            return
        if call.name == "sync":
            if call.path != ".":
                self._now[call.path].sync()
            self._synced, self._since = dict(self._now), []
            return
        if call.name == "open" and call.path in self._now:
            assert not call.at, f"{call.path} cut when it was opened: not played"
            return
        if call.name == "open":
            self._now[call.path] = _File()
        elif call.name == "link":
            self._now[call.other] = self._now[call.path]
        elif call.name == "unlink":
            del self._now[call.path]
        else:
            self._now[call.other] = self._now.pop(call.path)
        self._since.append(dict(self._now))

    def power_cut(self, rng: random.Random, folder: Path) -> None:
        """Write into an empty folder what the disk holds after a power cut at this moment."""
        names = rng.choice([self._synced, *self._since])
        kept = {id(file): file.kept(rng) for file in names.values()}
        for name, file in names.items():
            (folder / name).write_bytes(kept[id(file)])
