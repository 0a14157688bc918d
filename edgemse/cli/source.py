"""Where the fleet commands ask: the option, and the token that a collector is shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from edgemse.errors import UsageError
from edgemse.settings import read_secret

__all__ = ["TOKEN_VARIABLE", "Source", "TokenFile", "named", "token_of"]


def named(source: str | None) -> str | None:
    """Return where to ask, as it was given; UsageError for an empty text: a variable not set."""
    if source == "":
        raise UsageError("--from '': wanted a store's file, postgresql://... or http://HOST:PORT")
    return source


TOKEN_VARIABLE = "EDGEMSE_TOKEN"  # noqa: S105 - the name of a variable
Source = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="PATH|URL",
        callback=named,
        help="The store's file, postgresql://..., or http://HOST:PORT of a running collector.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", metavar="FILE", help=f"Token for the collector (or ${TOKEN_VARIABLE})."
    ),
]


def token_of(file: Path | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the token of the file, or of the environment; "" if there is none.

    Raises SettingsError if the file cannot be read, or if everybody may.
    """
    if file is not None:
        return read_secret(file, "token_file").strip()
    return environment.get(TOKEN_VARIABLE, "").strip()
