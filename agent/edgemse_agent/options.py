"""The commands and options of `edgemse-agent`, in the look of `edgemse`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from edgemse.version import installed_version
from edgemse_agent.completion import SHELLS
from edgemse_agent.finding import CONFIG

__all__ = ["parse", "parser"]

EXIT_WRONG_USE = 64
"""EX_USAGE of sysexits.h."""
COMMANDS = {
    "status": "Say as JSON how the running agent does.",
    "send": "Send LINES (JSON; - for standard input), and wait until they are durable.",
    "map": "Say what the [[mqtt]] rules make of a message: TOPIC PAYLOAD.",
    "release": "Send the parked cells again.",
    "adopt": "While none runs: deliver what can be read in ledgers that were put away.",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_WRONG_USE, f"edgemse-agent: {message} (edgemse-agent -h says more)\n")


class _Format(argparse.RawDescriptionHelpFormatter):
    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        super().add_usage(usage, actions, groups, prefix or "Usage: ")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line says; wrong use is one line and exit 64."""
    understood = parser()
    options = understood.parse_intermixed_args(arguments)
    if options.command == "send" and not options.lines:
        understood.error("send: wanted a line, or - for standard input")
    if options.command == "map" and len(options.lines) != 2:
        understood.error(f"map: got {len(options.lines)} arguments, wanted TOPIC PAYLOAD")
    if options.command not in ("send", "map") and options.lines:
        understood.error(f"{options.command}: wanted nothing behind it, got {options.lines[0]!r}")
    if options.connect and not options.check:
        understood.error("--connect goes with --check")
    return options


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    listed = "".join(f"  {name:8} {what}\n" for name, what in COMMANDS.items())
    made = _Parser(
        prog="edgemse-agent",
        usage="edgemse-agent [OPTIONS] [COMMAND]",
        description="  Measures a device's model errors and sends compact cells over MQTT.",
        epilog=f"Commands (without one it runs):\n{listed}",
        formatter_class=_Format,
        add_help=False,
    )
    made.add_argument("command", nargs="?", choices=list(COMMANDS), help=argparse.SUPPRESS)
    made.add_argument("lines", nargs="*", help=argparse.SUPPRESS)
    add = made.add_argument_group("Options").add_argument
    settings = f"Settings [{CONFIG}, if there]."
    add("--config", type=Path, metavar="FILE", help=settings)
    add("--check", action="store_true", help="Check the settings and exit.")
    add("--connect", action="store_true", help="With --check: ask the broker, too.")
    add("--print-config", action="store_true", help="Print the settings and whence they come.")
    add("--broker", metavar="HOST:PORT", help="The MQTT broker.")
    add("--device", metavar="NAME", help="What this device is called [host and board].")
    add("--ledger", type=Path, metavar="FILE", help="The ledger.")
    add("--socket", type=Path, metavar="FILE", help="The Unix socket for clients.")
    add("--stdin", action="store_true", help="Read JSON lines from standard input.")
    add("--verbose", action="store_true", help="Log what happens, too.")
    add("--print-completion", choices=SHELLS, help="Print a script of completion for the shell.")
    said = f"edgemse {installed_version()}"
    add("--version", action="version", version=said, help="Say it.")
    add("-h", "--help", action="help", help="Show this message and exit.")
    return made
