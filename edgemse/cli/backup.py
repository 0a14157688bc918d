"""`edgemse backup`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgemse.cli.source import Source, TokenFile, token_of
from edgemse.fleet.backup import backup
from edgemse.printing import say

__all__ = ["command"]


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; must not be there.")],
    source: Source,
    token_file: TokenFile = None,
) -> None:
    """Copy a store, of a running collector too (role admin). The copy has an id of its own."""
    made = backup(source, file, token=token_of(token_file))
    say(f"{file}: {made.size_bytes:,} bytes, store {made.id}, a copy of {made.source}")
