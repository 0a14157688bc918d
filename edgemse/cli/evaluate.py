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
from edgemse.errors import InputError, UsageError
from edgemse.files import Chunk, Columns, Dialect, read_samples, spooled
from edgemse.fleet.asked import Asked
from edgemse.fleet.ordering import Order
from edgemse.fleet.saving import save_states
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
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the statistics there too: edgemse fleet baseline set."
        ),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Measure the error of predictions in CSV or Parquet files.

    Files may be compressed (gzip, bzip2, xz, zstd); - is standard input.
    """
    wanted = {"sort": sort, "limit": limit}
    order = Order.parse({name: [value] for name, value in wanted.items() if value is not None})
    dialect = Dialect(delimiter, decimal, tuple(na or ()))
    if y_true == y_pred:
        raise UsageError(
            f"--y-true and --y-pred: both are {y_true!r}, so that every error would be 0; wanted"
            " two columns"
        )
    by = by or []
    numbers = [y_true, y_pred, *([weight] if weight else [])]
    columns = Columns(numbers=list(dict.fromkeys(numbers)), texts=list(dict.fromkeys(by)))
    groups: dict[Key, ErrorStats] = {} if by else {(): ErrorStats()}
    with spooled(files) as plain, progress_over([path for _, path in plain]) as progress:
        for number, (name, path) in enumerate(plain):
            for chunk in read_samples(path, columns, dialect, name=name):
                if weight:
                    _check_weights(name, weight, chunk)
                for key, rows in _grouped([chunk.texts[each] for each in by], chunk.rows):
                    stats = groups.setdefault(key, ErrorStats())
                    stats.update_many(*(_taken(chunk.numbers[each], rows) for each in numbers))
                progress(number, chunk.done)
    groups = dict(sorted(groups.items()))
    if save is not None:
        save_states(save, tuple(by), groups)
    show(of_states(Asked(by=tuple(by), where={}), groups), form, order)


def _check_weights(name: str, column: str, chunk: Chunk) -> None:
    """Raise InputError for the first negative weight: no statistics take one."""
    weights = chunk.numbers[column]
    place = next((row for row, value in enumerate(weights) if value < 0), None)
    if place is not None:
        raise InputError(
            f"{name}: {chunk.where[place]}: column {column!r}: got {weights[place]!r}, wanted a"
            " weight of 0 or more"
        )


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
