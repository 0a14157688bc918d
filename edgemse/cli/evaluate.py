"""`edgemse evaluate`: the error of predictions in files, group by group."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from edgemse.cli.options import By, Decimal, Delimiter, Format, FormatOption, Limit, Na, Sort
from edgemse.cli.output import show
from edgemse.cli.progress import progress_over
from edgemse.files import Columns, Dialect, read_samples, spooled
from edgemse.fleet.asked import Asked
from edgemse.fleet.ordering import Order
from edgemse.fleet.variance import of_states
from edgemse.stats.error_stats import ErrorStats

__all__ = ["command"]

Key = tuple[str, ...]


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV or Parquet.")],
    y_true: Annotated[str, typer.Option(metavar="COLUMN", help="What was measured.")],
    y_pred: Annotated[str, typer.Option(metavar="COLUMN", help="What was predicted.")],
    weight: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Weights of the samples [all 1].")
    ] = None,
    by: By = None,
    delimiter: Delimiter = "",
    decimal: Decimal = ".",
    na: Na = None,
    sort: Sort = None,
    limit: Limit = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Measure the error of predictions in CSV or Parquet files.

    Files may be compressed (gzip, bzip2, xz, zstd); - is standard input.
    """
    wanted = {"sort": sort, "limit": limit}
    order = Order.parse({name: [value] for name, value in wanted.items() if value is not None})
    dialect = Dialect(delimiter, decimal, tuple(na or ()))
    by = by or []
    numbers = [y_true, y_pred, *([weight] if weight else [])]
    columns = Columns(numbers=list(dict.fromkeys(numbers)), texts=list(dict.fromkeys(by)))
    groups: dict[Key, ErrorStats] = {} if by else {(): ErrorStats()}
    with spooled(files) as plain, progress_over([path for _, path in plain]) as progress:
        for number, (name, path) in enumerate(plain):
            for chunk in read_samples(path, columns, dialect, name=name):
                for key, rows in _grouped([chunk.texts[each] for each in by], chunk.rows):
                    stats = groups.setdefault(key, ErrorStats())
                    stats.update_many(*(_taken(chunk.numbers[each], rows) for each in numbers))
                progress(number, chunk.done)
    show(of_states(Asked(by=tuple(by), where={}), dict(sorted(groups.items()))), form, order)


def _grouped(texts: Sequence[list[str]], rows: int) -> Iterator[tuple[Key, list[int] | None]]:
    """Yield each group's key and the places of its rows; None for all of them."""
    if not texts:
        yield (), None
        return
    places: dict[Key, list[int]] = {}
    for place, key in enumerate(zip(*texts, strict=True)):
        places.setdefault(key, []).append(place)
    for key, found in places.items():
        yield key, None if len(found) == rows else found


def _taken(column: array[float], rows: list[int] | None) -> array[float]:
    return column if rows is None else array("d", [column[row] for row in rows])
