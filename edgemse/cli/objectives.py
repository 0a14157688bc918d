"""`edgemse objectives ...`: what is made of a file of objectives."""

from __future__ import annotations

import typer

from edgemse.cli.fleet import command_of
from edgemse.fleet.questions import find

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="A file of objectives: first targets.")
app.command("suggest")(command_of(find("targets")))
