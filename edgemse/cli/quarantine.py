"""`edgemse quarantine show`, `replay`, `empty`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from edgemse.cli.options import Format, FormatOption, Limit, Sort
from edgemse.cli.output import show
from edgemse.cli.source import Source, TokenFile, token_of
from edgemse.cli.upkeep import acting
from edgemse.fleet.ordering import Order
from edgemse.fleet.quarantine import Clearing, clear_out, quarantine_from
from edgemse.printing import say

__all__ = ["app", "empty", "replay", "show_refused"]

app = typer.Typer(
    no_args_is_help=True,
    help="What the collector has refused.",
    rich_markup_mode=None,
)
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="Only of this device.")]


@app.command("show")
def show_refused(
    source: Source,
    device: Device = "",
    token_file: TokenFile = None,
    sort: Sort = None,
    limit: Limit = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Say what was refused, why, and what of it can be replayed."""
    wanted = {"sort": sort, "limit": limit}
    order = Order.parse({name: [value] for name, value in wanted.items() if value is not None})
    show(quarantine_from(source, device, token=token_of(token_file)), form, order, time.time())


@app.command("replay")
def replay(source: Source, device: Device = "", token_file: TokenFile = None) -> None:
    """Give the running collector again what it refused; what it takes now leaves the quarantine."""
    done = clear_out(source, Clearing("replay", *acting(), device), token=token_of(token_file))
    say(f"{done['given']:,} given to the collector again; edgemse quarantine show lists the rest")


@app.command("empty")
def empty(source: Source, device: Device = "", token_file: TokenFile = None) -> None:
    """Throw away what was refused; devices keep the cells that they parked."""
    done = clear_out(source, Clearing("empty", *acting(), device), token=token_of(token_file))
    say(f"{done['emptied']:,} thrown away")
