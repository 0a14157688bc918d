"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgemse.broker import PASSWORD_VARIABLE

__all__ = [
    "By",
    "CaFile",
    "CertFile",
    "Decimal",
    "Delimiter",
    "Format",
    "FormatOption",
    "KeyFile",
    "Na",
    "PasswordFile",
    "PlaintextPassword",
    "TimeUnit",
    "Username",
]


class Format(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        help="A table for people, JSON for programs, CSV for spreadsheets, Markdown for tickets.",
    ),
]
Delimiter = Annotated[
    str, typer.Option(metavar="CHARACTER", help="Between the cells of a CSV file [its header's].")
]
Decimal = Annotated[
    str, typer.Option(metavar=". or ,", help="The decimal mark of numbers written as text.")
]
Na = Annotated[
    list[str] | None,
    typer.Option("--na", metavar="TEXT", help="A text that means missing; may be repeated."),
]
TimeUnit = Annotated[
    str | None,
    typer.Option(metavar="s|ms|us|ns", help="What bare numbers of a time count since 1970."),
]
By = Annotated[
    list[str] | None,
    typer.Option("--by", metavar="COLUMN", help="A column to group by; may be repeated."),
]
Username = Annotated[str, typer.Option("--username", help="User name at the broker.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help=f"Password at the broker (or ${PASSWORD_VARIABLE})."
    ),
]
CaFile = Annotated[
    str, typer.Option("--ca-file", metavar="FILE", help="Certificates to trust with --tls.")
]
CertFile = Annotated[
    str,
    typer.Option("--cert-file", metavar="FILE", help="Our certificate, for brokers that want one."),
]
KeyFile = Annotated[
    str, typer.Option("--key-file", metavar="FILE", help="Its key, if it stands elsewhere.")
]
PlaintextPassword = Annotated[
    bool,
    typer.Option(
        "--allow-plaintext-password", help="Send the password unencrypted to another host."
    ),
]
