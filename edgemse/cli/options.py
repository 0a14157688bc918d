"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["By", "Format", "FormatOption", "Model", "Since", "Source", "Until", "Version"]


class Format(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[
    Format, typer.Option("--format", help="A table for people or JSON for programs.")
]
Source = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="PATH|URL",
        help="The store's file, or http://HOST:PORT of a running collector.",
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="Only this model.")]
Version = Annotated[str | None, typer.Option("--version", help="Only this version.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Windows that start then or later (ISO 8601)."),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Windows that start before then (ISO 8601)."),
]
By = Annotated[
    list[str] | None,
    typer.Option("--by", metavar="COLUMN", help="A column to group by; may be repeated."),
]
