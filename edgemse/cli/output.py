"""Answers as JSON, as CSV, as Markdown, and as tables for people."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from edgemse.cli.options import Format
from edgemse.fleet.answers import Answer, Table
from edgemse.fleet.ordering import Order
from edgemse.names import shown
from edgemse.printing import say

__all__ = ["as_json", "show"]

BETWEEN_COLUMNS = 2
"""Blanks between two columns of a table."""
AS_IT_IS = Order()
UNBROKEN_COLUMNS = 100_000
"""Where no terminal breaks lines, a sentence is one line."""


def _console(file: TextIO, columns: int) -> Console:
    """Return a console as standard output is, so wide, that writes to `file`."""
    return Console(file=file, force_terminal=sys.stdout.isatty() or None, width=columns)


def _width() -> int | None:
    """Return how many columns the terminal has; None if a file or a pipe takes any number."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return None
    return shutil.get_terminal_size().columns


def as_json(document: object) -> str:
    """Return one line of JSON, in letters that standard output has."""
    plain = not sys.stdout.encoding.lower().startswith("utf")
    return shown(json.dumps(document, ensure_ascii=plain, allow_nan=False))


def show(answer: Answer, form: Format, order: Order = AS_IT_IS, now: float | None = None) -> None:
    """Print an answer, its rows in that order; what it says in words is about all of them.

    That no cell was found stands on standard error too, in any form. `now` is in UTC seconds.
    """
    sentences = [*answer.sentences()]
    answer = order.of(answer)
    texts: dict[Format, Callable[[], str]] = {
        Format.TABLE: lambda: _page(answer, sentences, now),
        Format.JSON: lambda: _json(answer),
        Format.CSV: lambda: answer.to_csv().rstrip("\n"),
        Format.MARKDOWN: lambda: _markdown(answer, sentences),
    }
    say(texts[form]())
    aside = answer.notes if form is Format.CSV else answer.notes[: not answer.cells_found]
    for note in aside:
        print(f"edgemse: {shown(note)}", file=sys.stderr)


def _json(answer: Answer) -> str:
    return as_json(answer.to_json())


def _markdown(answer: Answer, sentences: Sequence[str]) -> str:
    """Return what stands in the summary of a CI: sentences, the table, notes as a list."""
    drawn = answer.table()
    marks = ["---" if n in drawn.words else "--:" for n in range(len(drawn.headings))]
    rows = [_marked(drawn.headings), marks, *map(_marked, drawn.rows)]
    rows += [[f"**{each}**" if each else "" for each in _marked(row)] for row in drawn.below]
    table = [f"| {' | '.join(row)} |" for row in rows]
    above = [f"{each}\n" for each in _marked(sentences)]
    notes = answer.notes if answer.cells_found else answer.notes[1:]
    below = ["", *(f"- {each}" for each in _marked(notes))] if notes else []
    return "\n".join([*above, *table, *below])


MARKUP = re.compile(r"([\\`*_\[\]<>|~#!])|(?<=http)(:)|(?<=https)(:)|(?<=www)(\.)", re.IGNORECASE)
"""What would be markup in GitHub's Markdown, links without brackets included."""


def _marked(texts: Sequence[str]) -> list[str]:
    """Return texts that stand in Markdown as they are: a device may be called @all or <img>."""
    plain = (MARKUP.sub(lambda found: f"\\{found[0]}", shown(each)) for each in texts)
    return [each.replace("&", "&amp;").replace("@", "&#64;").strip() for each in plain]


def _page(answer: Answer, sentences: Sequence[str], now: float | None) -> str:
    """Return the table, cut to whole columns where a terminal is too narrow, and what is said."""
    drawn = answer.table(now)
    cells = [[shown(each) for each in row] for row in (drawn.headings, *drawn.rows, *drawn.below)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    columns = _width()
    fitting = _fitting(widths, drawn.kept, columns)
    page = _Page()
    page.encoding = sys.stdout.encoding
    page.writelines(_lines(cells, widths[:fitting], drawn))
    page.write("\n")
    lines = [shown(each) for each in sentences]
    lines += [shown(f"Note: {n}") for n in answer.notes[0 if answer.cells_found else 1 :]]
    if fitting < len(widths):
        left = ", ".join(cells[0][fitting:])
        lines.append(
            f"Note: left out for want of width: {left}; a wider terminal, a pipe or --format csv"
            " shows all"
        )
    out = _console(page, columns or UNBROKEN_COLUMNS)
    for line in lines:
        out.print(Text(line), highlight=False)
    return page.getvalue().rstrip("\n")


def _lines(cells: list[list[str]], widths: Sequence[int], drawn: Table) -> Iterator[str]:
    """Yield the lines of a table: a library that also wraps and colours takes 5 ms a line."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    whole = sum(widths) + BETWEEN_COLUMNS * (len(widths) - 1)
    for number, row in enumerate(cells):
        texts = []
        for place, (each, width) in enumerate(zip(row, widths, strict=False)):
            blanks = " " * (width - cell_len(each))
            texts.append(each + blanks if place in drawn.words else blanks + each)
        line = (" " * BETWEEN_COLUMNS).join(texts).rstrip()
        below = number > len(drawn.rows)
        if number == len(drawn.rows) + 1:
            yield "\n"
        yield f"{bold}{line}{plain}\n" if below or not number else f"{line}\n"
        if not number:
            yield _rule(whole)


def _rule(width: int) -> str:
    """Return a line across, of what standard output has."""
    try:
        "\u2500".encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return "-" * width + "\n"
    return "\u2500" * width + "\n"


def _fitting(widths: Sequence[int], kept: int, columns: int | None) -> int:
    """Return how many of the first columns a terminal shows whole, but never under `kept`."""
    if columns is None:
        return len(widths)
    taken = 0
    for number, each in enumerate(widths):
        taken += each + (BETWEEN_COLUMNS if number else 0)
        if number >= kept and taken > columns:
            return number
    return len(widths)


class _Page(io.StringIO):
    """A table before it is written: drawn for the encoding that it will be written in."""

    encoding: str = "utf-8"
