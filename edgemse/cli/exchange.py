"""`edgemse export` and `edgemse import`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from edgemse.cli.source import named
from edgemse.names import counted
from edgemse.printing import say
from edgemse.stores import open_store
from edgemse.times import instant

__all__ = ["export_command", "import_command"]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the export.")]


def export_command(
    folder: Folder,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PATH|URL",
            callback=named,
            help="The store, a file that nobody holds.",
        ),
    ],
    since: Annotated[
        str | None,
        typer.Option(metavar="T", help="Only days from this one on: ISO 8601, or 7d ago."),
    ] = None,
) -> None:
    """Write a store as Parquet files, a folder for each day and model."""
    from edgemse.stores.parquet import export_store

    first = None if since is None else int(instant(since, now=time.time()))
    store = open_store(source, read_only=True)
    try:
        done = export_store(store, folder, since=first)
    finally:
        store.close()
    say(f"{folder}: {counted(done.partitions, 'day')} of models written, {done.removed:,} removed")


def import_command(
    folder: Folder,
    store: Annotated[
        str, typer.Option(metavar="PATH|URL", help="Where to; made if it is not there.")
    ],
) -> None:
    """Put an export into a store; what is there already is not counted again."""
    from edgemse.stores.importing import import_store

    opened = open_store(store)
    try:
        done = import_store(folder, opened)
    finally:
        opened.close()
    say(f"{counted(done.cells, 'cell')}: {done.taken:,} taken, {done.gone:,} gone for good")
