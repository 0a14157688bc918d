"""`edgemse fleet forget`, `retire`, `rename`, and `edgemse audit`."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Mapping
from typing import Annotated

import typer

from edgemse.cli.broker_options import BrokerOptions, connects
from edgemse.cli.options import Format, FormatOption, Limit, Sort
from edgemse.cli.output import show
from edgemse.cli.source import Source, TokenFile, token_of
from edgemse.errors import SettingsError
from edgemse.fleet.ordering import Order
from edgemse.fleet.upkeep import Upkeep, audit_from, carry_out
from edgemse.names import counted, shown, wrong_with
from edgemse.printing import say
from edgemse.topics import Topics, checked_device

__all__ = ["acting", "audit_command", "forget_command", "rename_command", "retire_command"]

Device = Annotated[str, typer.Option("--device", metavar="NAME", help="Which device.")]


def acting(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return who acts, for the audit: the user (behind sudo too) and the machine."""
    who = environment.get("SUDO_USER") or ""
    try:
        who = who or getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        who = str(os.getuid())
    host = socket.gethostname()
    return ("?" if wrong_with(who) else who, "?" if wrong_with(host) else host)


@connects(required=False, help="Also clear what this broker retains of the device.")
def forget_command(
    *,
    source: Source,
    device: Device,
    grown: Annotated[
        bool,
        typer.Option(
            "--open", help="Its open cells too, at once: for a device that will not come back."
        ),
    ] = False,
    broker: BrokerOptions,
    token_file: TokenFile = None,
) -> None:
    """Forget a device: its figures go, and late repetitions of them are not counted again.

    What it still holds, or measures from now on, comes and counts: stop the device first. Cells
    that still grow go when they are final.
    """
    place = broker.settings() if broker else None  # what is wrong there, before anything is gone
    upkeep = Upkeep("forget", device, *acting(), grown=grown)
    done = carry_out(source, upkeep, token=token_of(token_file))
    left = f"; {counted(done['open'], 'open one')} to go once final" if done["open"] else ""
    say(shown(f"{device}: {counted(done['cells'], 'cell')} forgotten{left}"))
    if place:
        from edgemse.cli.clearing import clear  # paho: who evaluates a file need not have it

        topics = clear(place.broker(), Topics(place.prefix), device)
        say(shown(f"cleared on the broker: {', '.join(topics)}"))


def retire_command(
    source: Source,
    device: Device,
    undo: Annotated[bool, typer.Option("--undo", help="Back into service.")] = False,
    token_file: TokenFile = None,
) -> None:
    """Retire a device: its figures stay, and its silence is not told any more."""
    upkeep = Upkeep("unretire" if undo else "retire", device, *acting())
    carry_out(source, upkeep, token=token_of(token_file))
    say(shown(f"{device}: {'in service again' if undo else 'retired; its figures stay'}"))


def rename_command(
    source: Source,
    device: Device,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="What it is called from now on.")],
    token_file: TokenFile = None,
) -> None:
    """Show a device's figures under another name, and what still comes under the old one too.

    If there is a device of that name, both are one from now on. --to the own name ends this for
    what comes from now on.
    """
    upkeep = Upkeep("rename", device, *acting(), to=checked_device(to))
    done = carry_out(source, upkeep, token=token_of(token_file))
    if to == device:
        say(shown(f"{device}: what comes from now on stands under its own name"))
    else:
        cells = counted(done["cells"], "cell")
        say(shown(f"{device}: {cells}, and what it sends, stand under {to}"))


def audit_command(
    source: Source,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="Only of this device.")
    ] = None,
    token_file: TokenFile = None,
    sort: Sort = None,
    limit: Limit = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Say who did what to devices and versions, and when."""
    if device is not None and not device:
        raise SettingsError("--device '': wanted a device's name")
    wanted = {"sort": sort, "limit": limit}
    order = Order.parse({name: [value] for name, value in wanted.items() if value is not None})
    answer = audit_from(source, device or "", token=token_of(token_file))
    show(answer, form, order, time.time())
