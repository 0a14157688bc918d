"""What a program prints, wherever that goes: a full disk, a closed pipe, an odd encoding."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgemse.errors import OutputError

__all__ = ["make_ready", "say", "tell"]


def make_ready() -> None:
    """Make standard output and error take any text, also where a shell has closed them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the shell's >&-
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for good
        getattr(sys, name).reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Write to standard output, at once.

    A reader that has gone is no error, and what the exit code says stays so.

    Raises:
        OutputError: it takes no more.
    """
    try:
        print(text, flush=True)  # noqa: T201 - that is what it is for
    except BrokenPipeError:  # nor may the interpreter flush into the pipe at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"standard output: {error.strerror}") from None


def tell(text: str, *, last: bool = False) -> None:
    """Write a line to standard error, if that takes it: a full disk is no reason to end otherwise.

    A line that found no room comes with the next one that does. `last`: none comes, the program
    ends, and what waits is given up, or Python would make another exit code of it.
    """
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - that is what it is for
    except OSError:
        if last:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
