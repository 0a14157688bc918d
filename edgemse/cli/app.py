"""The commands and the modules that they live in."""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Annotated

import typer

from edgemse.cli import collector, config, demo, evaluate, fleet, replay
from edgemse.fleet.questions import find

__all__ = ["app", "common"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # its markup eats what stands in square brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("collector")(collector.command)
app.command("demo")(demo.command)
app.command("evaluate")(evaluate.command)
app.command("replay")(replay.command)
app.command("gate")(fleet.command_of(find("gate")))
app.add_typer(fleet.app, name="fleet")
app.add_typer(config.app, name="config")


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"edgemse {installed('edgemse')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say it.")
    ] = False,
) -> None:
    """How wrong a fleet's regression models are, per device, segment and version."""
