"""Answers as JSON, as CSV, and as tables for people."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgemse.cli.options import Format
from edgemse.fleet.answers import Answer

__all__ = ["console", "show"]

PIPE_COLUMNS = 200
"""Width of a table that goes into a file or a pipe."""


def console() -> Console:
    """Return a console on standard output, wide where nobody looks on."""
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=PIPE_COLUMNS if wide else shutil.get_terminal_size().columns)


def show(answer: Answer, form: Format) -> None:
    """Print an answer. That no cell was found stands on standard error too, in any form."""
    if form is Format.JSON:
        print(json.dumps(answer.to_json(), ensure_ascii=False, allow_nan=False))
    elif form is Format.CSV:
        _print_csv(answer)
    else:
        _print_table(answer)
    aside = answer.notes if form is Format.CSV else answer.notes[: not answer.cells_found]
    for note in aside:
        print(f"edgemse: {note}", file=sys.stderr)


def _print_csv(answer: Answer) -> None:
    """Print the rows with their names; what is not known is an empty cell."""
    records = answer.records()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns())
    for record in records:
        writer.writerow([_plain(record[name]) for name in answer.columns()])


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def _print_table(answer: Answer) -> None:
    shown = answer.table()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(shown.headings):
        table.add_column(heading, justify="left" if place < shown.words else "right", no_wrap=True)
    for row in shown.rows:
        table.add_row(*_texts(row))
    if shown.rows and shown.below:
        table.add_section()
    for row in shown.below:
        table.add_row(*_texts(row), style="bold")
    out = console()
    out.print(table)
    for sentence in answer.sentences():
        out.print(Text(sentence), highlight=False)
    for note in answer.notes if answer.cells_found else answer.notes[1:]:
        out.print(Text(f"Note: {note}"), highlight=False)


def _texts(row: Sequence[str]) -> list[Text]:
    """Return texts that are printed as they are: a device may be called [red]."""
    return [Text(each) for each in row]
