"""`edgemse rollup`: the collector's job by hand, on a store that no collector holds just now."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Annotated

import typer

from edgemse.printing import say
from edgemse.stores import Store, open_store

__all__ = ["rollup_command"]

StoreOption = Annotated[
    str, typer.Option("--store", metavar="PATH|URL", help="The store; not one that is held.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is to be done, and do nothing.")]


def rollup_command(store: StoreOption, dry_run: DryRun = False) -> None:
    """Put hours and days of cells into one row each, which long questions read instead.

    The collector does so by itself; stopped anywhere, it goes on from there.
    """
    from edgemse.rollups.rolling import Rolled, backlog, roll_up

    now = time.time()
    with _opened(store, read_only=dry_run) as opened:
        with opened.reading() as reading:
            before = backlog(reading, now)
        if dry_run:
            say(
                f"{before.hours:,} hours are to be rolled up, {before.touched:,} series of hours"
                f" or days anew; {before.rows:,} rows are there"
            )
            return

        def tell(done: Rolled) -> None:
            if sys.stderr.isatty():
                print(
                    f"\r{done.periods:,} hours and days, {done.rows:,} rows",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )

        done = roll_up(opened, now, Event(), tell)
        with opened.reading() as reading:
            after = backlog(reading, now)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    say(
        f"{done.periods:,} hours and days begun with, {done.rows:,} rows made;"
        f" {after.rows:,} rows are there, {after.hours:,} hours are left"
    )


@contextmanager
def _opened(address: str, *, read_only: bool) -> Iterator[Store]:
    store = open_store(address, read_only=read_only, must_exist=True)
    try:
        yield store
    finally:
        store.close()
