"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["By", "Format", "FormatOption"]


class Format(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


FormatOption = Annotated[
    Format,
    typer.Option("--format", help="A table for people, JSON for programs, CSV for spreadsheets."),
]
By = Annotated[
    list[str] | None,
    typer.Option("--by", metavar="COLUMN", help="A column to group by; may be repeated."),
]
