"""Files as they lie about: compressed, on standard input, or a pipe that can be read once."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from edgemse.errors import FileUnreadableError

__all__ = ["spooled"]

MAGIC_BYTES = 6
STANDARD_INPUT = "-"
_OPENERS: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_ZSTD = b"\x28\xb5\x2f\xfd"


@contextmanager
def spooled(names: Sequence[Path]) -> Iterator[list[tuple[str, Path]]]:
    """Yield (name for people, path of a plain file) of each.

    A compressed file, standard input (`-`) and a pipe are copied into a temporary file, which is
    gone at the end: they may be read more than once then. Raises FileUnreadableError.
    """
    with ExitStack() as stack:
        found = []
        for name in names:
            with ExitStack() as opened:
                file, plain = _opened(name, opened)
                path = name if plain else _copied(file, str(name), stack)
            found.append(("standard input" if str(name) == STANDARD_INPUT else str(name), path))
        yield found


def _opened(name: Path, stack: ExitStack) -> tuple[IO[bytes], bool]:
    """Return the content's stream, and whether the file itself may be read instead."""
    standard = str(name) == STANDARD_INPUT
    try:
        file: Any = sys.stdin.buffer if standard else stack.enter_context(name.open("rb"))
        head = file.peek(MAGIC_BYTES)[:MAGIC_BYTES]
        regular = not standard and name.is_file()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileUnreadableError(f"{name}: cannot be read: {reason}") from None
    if head.startswith(_ZSTD):
        raise FileUnreadableError(f"{name}: is compressed with zstd; say zstd -d {name} first")
    for magic, opener in _OPENERS:
        if head.startswith(magic):
            return stack.enter_context(opener(file)), False
    return file, regular


def _copied(file: IO[bytes], name: str, stack: ExitStack) -> Path:
    spool = stack.enter_context(tempfile.NamedTemporaryFile(prefix="edgemse-"))  # noqa: SIM115
    try:
        shutil.copyfileobj(file, spool)
        spool.flush()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise FileUnreadableError(f"{name}: cannot be read to its end: {error}") from None
    return Path(spool.name)
