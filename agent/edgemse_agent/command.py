"""`edgemse-agent`: run the daemon, check its settings, ask how it does."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from edgemse.errors import EdgemseError, SettingsError
from edgemse_agent.hardware import default_device
from edgemse_agent.ledger import Ledger
from edgemse_agent.service import Service, hardware_serial
from edgemse_agent.settings import AgentSettings, read
from edgemse_agent.status import ask

__all__ = ["main"]

CONFIG = Path("/etc/edgemse/agent.toml")
EXIT_WRONG_USE = 64
"""EX_USAGE of sysexits.h."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one line on standard error."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )
    try:
        settings = _settings(options)
        if options.check:
            settings.broker.check()
            print(f"ok: device {settings.device}, broker {settings.broker.address}")
            return 0
        if options.command == "adopt":
            return _adopt(settings)
        if options.command is not None:
            return _ask(settings, options.command)
        software = f"edgemse {version('edgemse')}"
        print(
            f"edgemse-agent: {software}, device {settings.device},"
            f" broker {settings.broker.address}, ledger {settings.ledger}",
            file=sys.stderr,
        )
        service = Service(
            settings,
            software=software,
            stdin=options.stdin,
            reload=lambda: _settings(options),
        )
        left = asyncio.run(service.run())
    except EdgemseError as error:
        print(f"edgemse-agent: {error}", file=sys.stderr)
        return error.exit_code
    if left:
        print(
            f"edgemse-agent: {left} cells wait in {settings.ledger} for the collector;"
            " the next run sends them",
            file=sys.stderr,
        )
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_WRONG_USE, f"edgemse-agent: {message} (edgemse-agent -h says more)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="edgemse-agent",
        description="Measures a device's model errors and sends compact cells over MQTT.",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["status", "release", "adopt"],
        help="ask the running agent: status as JSON, or release of the cells that it parked;"
        " adopt, while none runs: deliver what can be read in the ledgers that were put away",
    )
    parser.add_argument("--config", type=Path, help=f"settings file (default: {CONFIG} if there)")
    parser.add_argument("--check", action="store_true", help="check the settings and exit")
    parser.add_argument("--broker", metavar="HOST:PORT", help="the MQTT broker")
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="what this device is called (default: its host's name and the end of its number)",
    )
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="the ledger file")
    parser.add_argument("--socket", type=Path, metavar="FILE", help="the Unix socket for clients")
    parser.add_argument("--stdin", action="store_true", help="read JSON lines from standard input")
    parser.add_argument("--verbose", action="store_true", help="log what happens, too")
    parser.add_argument("--version", action="version", version=f"edgemse {version('edgemse')}")
    return parser


def _settings(options: argparse.Namespace) -> AgentSettings:
    """Read the settings file, if there is one, and let the options have the last word."""
    path: Path | None = options.config or (CONFIG if CONFIG.exists() else None)
    if path is not None:
        settings = read(path)
    elif options.device or options.command or options.broker:
        device = options.device or default_device()
        home = _state_home() / device
        path = None if options.stdin else home / "agent.sock"
        settings = AgentSettings(device, ledger=home / "ledger.sqlite", socket=path)
    else:
        raise SettingsError(
            f"no settings: {CONFIG} is not there; say --config FILE, or --broker and --device"
        )
    changes = {
        name: value
        for name in ("device", "ledger", "socket")
        if (value := getattr(options, name)) is not None
    }
    if options.broker:
        changes["broker"] = dataclasses.replace(settings.broker, address=options.broker)
    return dataclasses.replace(settings, **changes)


def _state_home() -> Path:
    configured = os.environ.get("XDG_STATE_HOME")
    return (Path(configured) if configured else Path.home() / ".local" / "state") / "edgemse"


def _ask(settings: AgentSettings, request: str) -> int:
    """Put one question to the running agent and print its answer."""
    path = settings.socket
    if path is None:
        raise SettingsError("the agent has no socket to ask; set `socket` in its settings")
    try:
        answer = ask(path, request)
    except (OSError, ValueError) as error:
        raise SettingsError(f"no agent answers at {path}: {error}; is it running?") from None
    print(json.dumps(answer, indent=2))
    return 0


def _adopt(settings: AgentSettings) -> int:
    """Take over what can be read in the ledgers that were put away, and print what that was."""
    ledger = Ledger(settings.ledger, hardware=hardware_serial())
    try:
        found = [*ledger.taken, *ledger.adopt()]
        waiting = ledger.waiting
    finally:
        ledger.close()
    adopted = [{**taken._asdict(), "file": str(taken.file)} for taken in found]
    print(json.dumps({"adopted": adopted, "cells_waiting": waiting}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
