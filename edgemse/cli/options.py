"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = [
    "By",
    "Decimal",
    "Delimiter",
    "Format",
    "FormatOption",
    "Limit",
    "Na",
    "OutcomeFormat",
    "OutcomeFormatOption",
    "Sort",
    "TimeUnit",
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
        "--format", help="For people, programs, spreadsheets, or tickets and a CI's summary."
    ),
]


class OutcomeFormat(StrEnum):
    """How it is told what came of a command that has no rows to show."""

    TABLE = "table"
    JSON = "json"


OutcomeFormatOption = Annotated[
    OutcomeFormat, typer.Option("--format", help="A line for people, or one for programs.")
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
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="COLUMN",
        help="Sort by a column: figures from the largest; -COLUMN turns it round.",
    ),
]
Limit = Annotated[
    str | None, typer.Option("--limit", metavar="N", help="Only the first N rows [all].")
]
