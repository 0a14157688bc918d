"""Answers as JSON, as CSV, and as tables for people."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgemse.cli.options import Format
from edgemse.errors import OutputError
from edgemse.fleet.answers import Answer
from edgemse.names import shown

__all__ = ["as_json", "console", "say", "show"]

PIPE_COLUMNS = 200
"""Width of a table that goes into a file or a pipe."""


def console(file: TextIO | None = None) -> Console:
    """Return a console as standard output is, wide where nobody looks on; it writes to `file`."""
    looked_at = sys.stdout.isatty()
    wide = not looked_at and "COLUMNS" not in os.environ
    columns = PIPE_COLUMNS if wide else shutil.get_terminal_size().columns
    return Console(file=file, force_terminal=looked_at or None, width=columns)


def say(text: str) -> None:
    """Write to standard output, at once.

    A reader that has gone is no error, and what the exit code says stays so.

    Raises:
        OutputError: it takes no more.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:  # nor may the interpreter flush into the pipe at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"standard output: {error.strerror}") from None


def as_json(document: object) -> str:
    """Return one line of JSON, in letters that standard output has."""
    plain = not sys.stdout.encoding.lower().startswith("utf")
    return shown(json.dumps(document, ensure_ascii=plain, allow_nan=False))


def show(answer: Answer, form: Format) -> None:
    """Print an answer. That no cell was found stands on standard error too, in any form."""
    texts = {Format.JSON: _json, Format.CSV: _csv, Format.TABLE: _table, Format.MARKDOWN: _markdown}
    say(texts[form](answer))
    aside = answer.notes if form is Format.CSV else answer.notes[: not answer.cells_found]
    for note in aside:
        print(f"edgemse: {shown(note)}", file=sys.stderr)


def _json(answer: Answer) -> str:
    return as_json(answer.to_json())


def _csv(answer: Answer) -> str:
    """Return the rows with their names; what is not known is an empty cell."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(answer.columns())
    for record in answer.records():
        writer.writerow([_plain(record[name]) for name in answer.columns()])
    return lines.getvalue().rstrip("\n")


def _markdown(answer: Answer) -> str:
    """Return the table, what it says in words, and the notes, each line escaped by itself."""
    return "\n".join(shown(line) for line in answer.to_markdown().splitlines())


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return shown(value)
    return str(value).lower() if isinstance(value, bool) else value


def _table(answer: Answer) -> str:
    drawn = answer.table()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(drawn.headings):
        table.add_column(
            Text(shown(heading)), justify="left" if place < drawn.words else "right", no_wrap=True
        )
    for row in drawn.rows:
        table.add_row(*_texts(row))
    if drawn.rows and drawn.below:
        table.add_section()
    for row in drawn.below:
        table.add_row(*_texts(row), style="bold")
    page = _Page()
    page.encoding = sys.stdout.encoding
    out = console(page)
    out.print(table)
    for sentence in answer.sentences():
        out.print(Text(shown(sentence)), highlight=False)
    for note in answer.notes if answer.cells_found else answer.notes[1:]:
        out.print(Text(shown(f"Note: {note}")), highlight=False)
    return page.getvalue().rstrip("\n")


class _Page(io.StringIO):
    """A table before it is written: drawn for the encoding that it will be written in."""

    encoding: str = "utf-8"


def _texts(row: Sequence[str]) -> list[Text]:
    """Return texts that are printed as they are: a device may be called [red]."""
    return [Text(shown(each)) for each in row]
