"""`edgemse demo`: a fleet on this machine, live, and the proof that nothing is lost."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from edgemse.errors import SettingsError

__all__ = ["command"]

WIDTH_COLUMNS = 110
"""Of the tables where there is no terminal to ask."""


def command(
    seconds: Annotated[float, typer.Option(min=5, max=86_400, help="How long to measure.")] = 60.0,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where the collector serves HTTP [a free port]."),
    ] = None,
    broker: Annotated[
        str, typer.Option(metavar="amqtt|mosquitto", help="The broker to start.")
    ] = "amqtt",
    devices: Annotated[int, typer.Option(min=1, max=64, help="How many devices.")] = 8,
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep serving the fleet's figures until Ctrl-C.")
    ] = False,
) -> None:
    """Let a fleet of devices forecast this machine's own signals, and stop its broker half-way.

    Exits with 0 only if the collector's figures agree with the raw samples: no sample lost, none
    counted twice.
    """
    from edgemse.demo.broker import BROKERS
    from edgemse.demo.interrupt import Interrupted
    from edgemse.demo.plan import Plan
    from edgemse.demo.run import run

    if broker not in BROKERS:
        raise SettingsError(f"--broker {broker}: wanted one of {', '.join(BROKERS)}")
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_COLUMNS)
    try:
        holds = run(Plan(seconds, devices, broker, http, stay), console)
    except Interrupted as interrupted:
        print(f"edgemse demo: stopped by {interrupted}; no process is left", file=sys.stderr)
        raise typer.Exit(interrupted.exit_code) from None
    if not holds:
        raise typer.Exit(1)
