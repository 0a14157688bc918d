"""`edgemse rollup` and `edgemse retention`: the collector's jobs by hand."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from edgemse.errors import SettingsError
from edgemse.printing import say
from edgemse.stores import Store, open_store
from edgemse.stores.keep import Keep

__all__ = ["retention_command", "rollup_command"]

StoreOption = Annotated[
    str, typer.Option("--store", metavar="PATH|URL", help="The store; not one that is held.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is to be done, and do nothing.")]
RawDays = Annotated[
    int, typer.Option(metavar="N", help="Days that cells are kept; then one of an hour is.")
]
HourlyDays = Annotated[
    int, typer.Option(metavar="N", help="Days that hours are kept; then one of a day is.")
]
DailyDays = Annotated[
    int, typer.Option(metavar="N", help="Days that anything is kept; then it is gone.")
]


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
            _progress(f"{done.periods:,} hours and days, {done.rows:,} rows")

        done = roll_up(opened, now, told=tell)
        with opened.reading() as reading:
            after = backlog(reading, now)
    _progress("\n")
    say(
        f"{done.periods:,} hours and days begun with, {done.rows:,} rows made;"
        f" {after.rows:,} rows are there, {after.hours:,} hours are left"
    )


def retention_command(
    store: StoreOption,
    raw_days: RawDays = 0,
    hourly_days: HourlyDays = 0,
    daily_days: DailyDays = 0,
    dry_run: DryRun = False,
) -> None:
    """Put old cells into one of an hour, old hours into one of a day, and drop what is older.

    The collector does so by itself where its settings have a table [retention].
    """
    from edgemse.rollups.retention import Retained, pending, retain
    from edgemse.rollups.rolling import roll_up

    keep = Keep(raw_days, hourly_days, daily_days)
    if not keep:
        raise SettingsError(
            "nothing is ever let go; give --raw-days, --hourly-days or --daily-days, in days"
        )
    now = time.time()
    with _opened(store, read_only=dry_run) as opened:
        if dry_run:
            found = pending(opened, keep, now)
            say(
                f"{found.absorbed:,} cells are to go into hours or days, {found.dropped:,} for good"
            )
            return

        def tell(done: Retained) -> None:
            _progress(f"{done.absorbed:,} cells into {done.rows:,}, {done.dropped:,} for good")

        done = retain(opened, keep, now, told=tell)
        roll_up(opened, now)
    _progress("\n")
    say(
        f"{done.absorbed:,} cells are in {done.rows:,} of hours or days now, {done.dropped:,} are"
        " gone for good" + (f"; {done.overtaken:,} steps are left" if done.overtaken else "")
    )


def _progress(text: str) -> None:
    """Show how far it has come, where somebody looks on."""
    if sys.stderr.isatty():
        print(text if text == "\n" else f"\r{text}", end="", file=sys.stderr, flush=True)


@contextmanager
def _opened(address: str, *, read_only: bool) -> Iterator[Store]:
    store = open_store(address, read_only=read_only, must_exist=True)
    try:
        yield store
    finally:
        store.close()
