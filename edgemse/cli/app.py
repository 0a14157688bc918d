"""The commands and the modules that they live in."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as installed
from typing import Annotated

import typer

from edgemse.cli import exchange, fleet, objectives, rollups, upkeep
from edgemse.cli.extras import lacking
from edgemse.fleet.questions import find

__all__ = ["app", "common"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its markup eats what stands in square brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)


ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}


def _add(name: str) -> None:
    """Add the command of the module, or its commands, or one that says which package it lacks."""
    try:
        module = import_module(f"edgemse.cli.{name}")
    except ModuleNotFoundError as error:
        wanting, missing = lacking(error, name), error
        if not wanting:
            raise

        def command(_context: typer.Context) -> None:
            raise missing

        # Whatever stands behind it: that it is not here is what there is to say.
        app.command(name, help=f"Not here: {wanting}.", context_settings=ANYTHING)(command)
    else:
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.command)


for _name in ("backup", "collector", "config", "demo", "evaluate", "labels"):
    _add(_name)
for _name in ("quarantine", "replay"):
    _add(_name)
app.command("gate")(fleet.command_of(find("gate")))
app.command("audit")(upkeep.audit_command)
app.command("diagnose")(fleet.command_of(find("diagnose"), argument="model"))
app.command("export")(exchange.export_command)
app.command("import")(exchange.import_command)
app.command("rollup")(rollups.rollup_command)
app.command("retention")(rollups.retention_command)
app.add_typer(fleet.app, name="fleet")
app.add_typer(objectives.app, name="objectives")


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
