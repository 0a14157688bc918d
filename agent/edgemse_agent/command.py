"""`edgemse-agent`: run the daemon, check its settings, ask how it does."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from edgemse.errors import EdgemseError, LineError, NoAgentError, SettingsError
from edgemse.mqtt import connection
from edgemse.names import counted, shown
from edgemse.printing import make_ready, say, tell
from edgemse.version import installed_version
from edgemse_agent.effective import effective, printed
from edgemse_agent.finding import find, places
from edgemse_agent.ledger import Ledger, check_place
from edgemse_agent.memory import keep_little
from edgemse_agent.options import parse, parser
from edgemse_agent.service import Service, hardware_serial
from edgemse_agent.settings import AgentSettings
from edgemse_agent.status import ask

__all__ = ["main"]

# What only another command than running needs is imported there: a daemon keeps what it loads.


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one line on standard error."""
    make_ready()
    options = parse(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )
    try:
        if options.print_completion:
            from edgemse_agent.completion import script

            say(script(parser()))
        elif options.print_config:
            say("\n".join(printed(options)))
        elif options.check:
            _check(effective(options), connect=options.connect)
        elif options.command == "adopt":
            _adopt(effective(options))
        elif options.command == "send":
            return _send(options)
        elif options.command == "map":
            return _map(effective(options), *options.lines)
        elif options.command is not None:
            _ask(_socket(options), options.command)
        else:
            _run(options)
    except EdgemseError as error:
        _complain(str(error))
        return error.exit_code
    return 0


def _run(options: argparse.Namespace) -> None:
    keep_little()
    settings, software = effective(options), f"edgemse {installed_version()}"
    tell(
        f"edgemse-agent: {software}, device {settings.device},"
        f" broker {settings.broker.address}, ledger {settings.ledger}"
    )
    # Whoever starts it sees that it is connected: the one thing that this logger says at INFO.
    logging.getLogger(connection.__name__).setLevel(logging.INFO)
    service = Service(
        settings, software=software, stdin=options.stdin, reload=lambda: effective(options)
    )
    left = asyncio.run(service.run())
    if left:
        tell(
            f"edgemse-agent: waiting in {settings.ledger} for the collector:"
            f" {counted(left, 'cell')}; the next run sends what waits",
            last=True,
        )


def _check(settings: AgentSettings, *, connect: bool) -> None:
    settings.broker.check()
    check_place(settings.ledger)
    say(f"ok: device {settings.device}, broker {settings.broker.address}")
    if settings.mqtt:
        from edgemse_agent.intake.filters import cover
        from edgemse_agent.intake.mapping import Mapping

        local = settings.read_local_broker()
        if local.tls:
            local.tls_context()
        asked = ", ".join(cover(Mapping(settings.mqtt).filters))
        say(f"ok: {len(settings.mqtt)} mqtt rules, subscribing to {asked} at {local}")
    if connect:
        from edgemse_agent import trying

        say(shown(trying.connect(settings)))


def _socket(options: argparse.Namespace) -> Path:
    """Return the socket of the agent that is meant: the one named, or the one that runs."""
    if options.socket is not None:
        return Path(options.socket)
    if options.config is None:
        return find(places(options.device))
    path = effective(options).socket
    if path is None:
        raise SettingsError("the agent has no socket to ask; set `socket` in its settings")
    return path


def _ask(path: Path, request: str) -> None:
    """Put one question to the running agent and print its answer."""
    try:
        answer = ask(path, request)
    except (OSError, ValueError) as error:
        raise NoAgentError(f"no agent answers at {path}: {error}; is it running?") from None
    _print(answer)


def _send(options: argparse.Namespace) -> int:
    """Send lines to the running agent, and print how many are durable and what it refuses."""
    from edgemse_agent import sending

    piped = options.lines == ["-"] and sys.stdin is not None
    lines = sending.lines_of(sys.stdin.buffer if piped else options.lines)
    sent = sending.send(_socket(options), lines)
    _print(sent._asdict())
    for text in sent.refused:
        _complain(text)
    return LineError.exit_code if sent.refused else 0


def _map(settings: AgentSettings, topic: str, payload: str) -> int:
    """Print what each rule makes of a message; EX_DATAERR unless one makes a line."""
    from edgemse_agent.intake.mapping import Mapping

    if set("+#") & set(topic):
        raise SettingsError(f"map: {topic!r} is a filter; wanted a topic, as a message has it")
    found = Mapping(settings.mqtt).apply(topic, payload.encode(errors="surrogateescape"))
    for each in found:
        _print(each.to_json())
    if not found:
        rules = len(settings.mqtt)
        raise LineError(f"no [[mqtt]] rule ({rules} in all) has a topic that matches {topic!r}")
    return 0 if any(each.line for each in found) else LineError.exit_code


def _adopt(settings: AgentSettings) -> None:
    """Take over what can be read in the ledgers that were put away, and print what that was."""
    ledger = Ledger(settings.ledger, hardware=hardware_serial())
    try:
        found = [*ledger.taken, *ledger.adopt()]
        waiting = ledger.waiting
    finally:
        ledger.close()
    adopted = [{**taken._asdict(), "file": str(taken.file)} for taken in found]
    _print({"adopted": adopted, "cells_waiting": waiting})


def _complain(message: str) -> None:
    tell(f"edgemse-agent: {shown(' '.join(message.split()))}", last=True)


def _print(answer: dict[str, Any]) -> None:
    say(json.dumps(answer, indent=2))


if __name__ == "__main__":
    sys.exit(main())
