"""The live table: what each device does, and what is going on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

__all__ = ["Display", "Row", "View"]

PLAIN_SECONDS = 5.0
"""On what is not a terminal, a line this often."""


class Row(NamedTuple):
    """One device: its samples, RMSE by version, what it sent and what waits there."""

    device: str
    samples: int
    rmse: Mapping[str, float]
    reports: int
    report_bytes: int
    labels_waited_for: int
    cells_waiting: int


class View(NamedTuple):
    """All that is shown at one moment."""

    news: str
    elapsed_seconds: float
    rows: Sequence[Row]


class Display:
    """Shows views: a live table on a terminal, else a line now and then; a context manager."""

    def __init__(self, console: Console, versions: Sequence[str]) -> None:
        self._console, self._versions = console, versions
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._last = ("", -math.inf)

    def show(self, view: View) -> None:
        """Show what is the case now."""
        if self._live is not None:
            self._live.update(self._table(view), refresh=True)
            return
        news, elapsed = self._last
        if view.news != news or view.elapsed_seconds - elapsed >= PLAIN_SECONDS:
            self._last = view.news, view.elapsed_seconds
            self._console.print(_line(view), markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _table(self, view: View) -> RenderableType:
        table = Table(box=None, header_style="bold", padding=(0, 1))
        table.add_column("device")
        rmse = [f"RMSE\n{version}" for version in self._versions]
        for title in ("samples", *rmse, "reports", "sent", "labels\nto come", "cells\nwaiting"):
            table.add_column(title, justify="right")
        for row in view.rows:
            values = (row.rmse.get(version) for version in self._versions)
            table.add_row(
                row.device,
                f"{row.samples:,}",
                *("-" if value is None else f"{value:.3f}" for value in values),
                f"{row.reports:,}",
                f"{row.report_bytes / 1000:,.1f} kB",
                f"{row.labels_waited_for:,}",
                f"{row.cells_waiting:,}",
            )
        return Group(table, Text(f"{view.elapsed_seconds:4.0f} s  {view.news}", style="bold"))


def _line(view: View) -> str:
    samples = sum(row.samples for row in view.rows)
    reports = sum(row.reports for row in view.rows)
    cells = sum(row.cells_waiting for row in view.rows)
    return (
        f"{view.elapsed_seconds:4.0f} s  {view.news}; {len(view.rows)} devices,"
        f" {samples:,} samples, {reports:,} reports, {cells:,} cells waiting"
    )
