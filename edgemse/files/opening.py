"""Files as they lie about: compressed, on standard input, or a pipe that can be read once."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any

from edgemse.errors import FileUnreadableError, UsageError

__all__ = ["spooled"]

MAGIC_BYTES = 6
PART_BYTES = 2**16
STANDARD_INPUT = "-"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def _zstd(file: IO[bytes], to: IO[bytes]) -> None:
    from zstandard import ZstdDecompressor, ZstdError

    frame = None
    part = file.read(PART_BYTES)
    try:
        while part:
            frame = ZstdDecompressor().decompressobj()
            while part and not frame.eof:
                to.write(frame.decompress(part))
                part = frame.unused_data or file.read(PART_BYTES)
    except ZstdError as error:
        raise EOFError(error) from None
    if frame is not None and not frame.eof:  # the library itself takes a cut frame for its end
        raise EOFError("the compressed file is cut")


def _by(opener: Callable[[Any], Any]) -> Callable[[IO[bytes], IO[bytes]], None]:
    def copy(file: IO[bytes], to: IO[bytes]) -> None:
        with opener(file) as plain:
            shutil.copyfileobj(plain, to)

    return copy


_COPIERS: tuple[tuple[bytes, Callable[[IO[bytes], IO[bytes]], None]], ...] = (
    (b"\x1f\x8b", _by(gzip.open)),
    (b"BZh", _by(bz2.open)),
    (b"\xfd7zXZ\x00", _by(lzma.open)),
    (b"\x28\xb5\x2f\xfd", _zstd),
)


@contextmanager
def spooled(names: Sequence[Path]) -> Iterator[list[tuple[str, Path]]]:
    """Yield (name for people, path of a plain file) of each.

    A compressed file, standard input (`-`) and a pipe are copied into a temporary file, which is
    gone at the end: they may be read more than once then. Raises FileUnreadableError, and
    UsageError if a file is named twice.
    """
    if [str(name) for name in names].count(STANDARD_INPUT) > 1:
        raise FileUnreadableError("standard input (-) is named twice; it can be read once")
    _check_once(names)
    with ExitStack() as stack:
        yield [_plain(name, stack) for name in names]


def _check_once(names: Sequence[Path]) -> None:
    seen: dict[tuple[int, int], Path] = {}
    for name in names:
        if name.is_file():
            found = name.stat()
            first = seen.setdefault((found.st_dev, found.st_ino), name)
            if first is not name:
                again = "" if first == name else f", the second time as {name}"
                raise UsageError(f"{first} is given twice{again}: each of its rows would count so")


def _plain(name: Path, stack: ExitStack) -> tuple[str, Path]:
    standard = str(name) == STANDARD_INPUT
    shown = "standard input" if standard else str(name)
    try:
        if standard and sys.stdin is None:  # the shell's <&-
            raise OSError(errno.EBADF, "it is closed")
        with ExitStack() as opened:
            raw: Any = sys.stdin.buffer if standard else opened.enter_context(name.open("rb"))
            head = raw.read(MAGIC_BYTES)
            copy = next((copy for magic, copy in _COPIERS if head.startswith(magic)), None)
            if copy is None and not standard and name.is_file():
                return shown, name
            return shown, _copied(_Joined(head, raw), copy or shutil.copyfileobj, shown, stack)
    except OSError as error:
        raise FileUnreadableError(f"{shown}: cannot be read: {error.strerror or error}") from None


def _copied(file: RawIOBase, copy: Callable[[Any, Any], None], name: str, stack: ExitStack) -> Path:
    try:
        spool = stack.enter_context(tempfile.NamedTemporaryFile(prefix="edgemse-"))  # noqa: SIM115
        copy(BufferedReader(file), spool)
        spool.flush()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise FileUnreadableError(
                f"{name}: no room for a copy in {tempfile.gettempdir()}; TMPDIR names another place"
            ) from None
        raise FileUnreadableError(f"{name}: cannot be read to its end: {error}") from None
    return Path(spool.name)


class _Joined(RawIOBase):
    """What has been read of a stream already, and the rest of it."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        """Say so."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, or less; 0 at the end."""
        part = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(part) :]
        buffer[: len(part)] = part
        return len(part)
