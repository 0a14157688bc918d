"""A progress bar over files, on standard error, where somebody looks on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

__all__ = ["progress_over"]

LARGE_BYTES = 10 * 2**20


@contextmanager
def progress_over(files: Sequence[Path]) -> Iterator[Callable[[int, float], None]]:
    """Show a bar for large files on a terminal; call what this gives with (file number, done)."""
    size = sum(path.stat().st_size for path in files if path.exists())
    if size < LARGE_BYTES or not sys.stderr.isatty():
        yield lambda _number, _done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("reading", total=len(files))

        def update(number: int, done: float) -> None:
            progress.update(task, completed=number + done, description=files[number].name)

        yield update
