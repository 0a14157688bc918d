"""Running a command: every error that is ours becomes one line and an exit code."""

from __future__ import annotations

import sys
from typing import Any

from edgemse.cli.extras import lacking
from edgemse.errors import EdgemseError
from edgemse.interrupts import EndAtOnce
from edgemse.names import shown
from edgemse.printing import make_ready, tell

__all__ = ["run"]

EXIT_WRONG_USE = 64
"""EX_USAGE of sysexits.h; typer's own 2 means not enough data here."""
EXIT_UNAVAILABLE = 69


def run(importing: EndAtOnce) -> int:
    """Run the command and return its exit code.

    What all commands need is imported within `importing`.
    """
    make_ready()
    try:
        return _run(importing)
    except EdgemseError as error:
        return _complain(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        wanting = lacking(error, "".join(sys.argv[1:2]))
        if not wanting:
            raise
        return _complain(wanting, EXIT_UNAVAILABLE)


def _run(importing: EndAtOnce) -> int:
    with importing:
        from typer import BadParameter

        from edgemse.cli.app import app

    wrong_use: Any = BadParameter.__bases__[0]  # where it is kept differs between typer's releases
    try:
        return int(app(standalone_mode=False) or 0)
    except wrong_use as error:
        message: str = error.format_message()
        if "\n" in message:  # a command that says nothing gets its help
            print(message, file=sys.stderr)
            return EXIT_WRONG_USE
        command = error.ctx.command_path if error.ctx else "edgemse"
        return _complain(f"{message} ({command} -h says more)", EXIT_WRONG_USE)


def _complain(message: str, exit_code: int) -> int:
    tell(f"edgemse: {shown(' '.join(message.split()))}", last=True)
    return exit_code
