"""`edgemse replay`: recorded samples, through the agent's own code, to the collector."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgemse.cells import LEVELS_SECONDS
from edgemse.cli.broker_options import BrokerOptions, connects
from edgemse.cli.options import Decimal, Delimiter, Na, OutcomeFormat, OutcomeFormatOption, TimeUnit
from edgemse.cli.output import as_json
from edgemse.cli.progress import progress_over
from edgemse.errors import InputError, SettingsError, UnacknowledgedError
from edgemse.files import Dialect, spooled
from edgemse.names import counted
from edgemse.printing import say
from edgemse.replay import Outcome, Roles, Rows, VirtualFleet, digest_of
from edgemse.times import duration
from edgemse.topics import Topics

__all__ = ["command"]

LabelDelay = Annotated[
    str, typer.Option(metavar="TIME", help="Labels come this long after predictions.")
]
Patience = Annotated[
    str, typer.Option(metavar="TIME", help="Give up after this long without progress.")
]


@connects()
def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV or Parquet.")],
    broker: BrokerOptions,
    device: Annotated[str, typer.Option(metavar="COLUMN", help="Whose row it is.")],
    time: Annotated[
        str, typer.Option(metavar="COLUMN", help="When it was predicted (ISO 8601 or seconds).")
    ],
    y_true: Annotated[str, typer.Option(metavar="COLUMN", help="What was measured.")],
    y_pred: Annotated[str, typer.Option(metavar="COLUMN", help="What was predicted.")],
    model: Annotated[str, typer.Option(help="The model's name.")] = "model",
    version: Annotated[str, typer.Option(help="The model's version.")] = "",
    version_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A column that says the version.")
    ] = None,
    segment: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A column that says the segment.")
    ] = None,
    window: Annotated[str, typer.Option(help="Width of a window: 10s, 1m, 5m, 1h, 1d.")] = "1h",
    delimiter: Delimiter = "",
    decimal: Decimal = ".",
    na: Na = None,
    time_unit: TimeUnit = None,
    label_delay: LabelDelay = "0s",
    patience: Patience = "60s",
    form: OutcomeFormatOption = OutcomeFormat.TABLE,
) -> None:
    """Send recorded samples as the devices would have, and wait for the acknowledgement.

    Every value of the device column becomes one agent. The same files with the same options make
    the same cells, so a replay that was broken off is simply run again: nothing counts twice.
    """
    if version and version_column:
        raise SettingsError("--version and --version-column: wanted one of the two")
    place = broker.settings()
    roles = Roles(device, time, y_true, y_pred, version_column, segment)
    dialect = Dialect(delimiter, decimal, tuple(na or ()), time_unit)
    width, delay = _whole_seconds(window, "--window"), _whole_seconds(label_delay, "--label-delay")
    if width not in LEVELS_SECONDS:
        raise SettingsError(f"--window {window}: wanted one of 10s, 1m, 5m, 1h, 1d")
    options = [*roles.names(), model, version, str(width), str(delay), repr(dialect)]
    with spooled(files) as plain:
        fleet = VirtualFleet(
            place.broker(),
            Topics(place.prefix),
            digest_of([path for _, path in plain], options),
            model=model,
            version=version,
            width_seconds=width,
            label_delay_seconds=delay,
        )
        _read(Rows(plain, roles, dialect), fleet, options)
    _deliver(fleet, duration(patience))
    _show(fleet.outcome, form)
    if fleet.outcome.cells_refused:
        raise typer.Exit(UnacknowledgedError.exit_code)


def _read(rows: Rows, fleet: VirtualFleet, options: list[str]) -> None:
    """Read everything to its end; nothing has been sent then."""
    paths = [path for _, path in rows.files]
    with progress_over(paths) as progress:
        rows.feed(fleet, progress)
    if digest_of(paths, options) != fleet.digest:
        raise InputError(
            "a file grew or changed while it was read; replay it when nobody writes to it"
            " (nothing has been sent)"
        )


def _deliver(fleet: VirtualFleet, patience_seconds: float) -> None:
    fleet.start()
    try:
        with Console(stderr=True).status("delivering") as status:
            fleet.finish(
                patience_seconds=patience_seconds,
                told=lambda left: status.update(f"delivering: {counted(left, 'cell')} left"),
            )
    except KeyboardInterrupt:
        print(
            f"edgemse: interrupted; {fleet.progress}. Run the same command again: what has"
            " arrived is not counted twice",
            file=sys.stderr,
        )
        raise
    finally:
        fleet.stop()


def _whole_seconds(text: str, option: str) -> int:
    try:
        seconds = duration(text)
    except SettingsError as error:
        raise SettingsError(f"{option}: {error}") from None
    if seconds != int(seconds):
        raise SettingsError(f"{option} {text!r}: wanted whole seconds")
    return int(seconds)


def _show(outcome: Outcome, form: OutcomeFormat) -> None:
    acknowledged = not outcome.cells_refused
    if form is OutcomeFormat.JSON:
        say(as_json(dataclasses.asdict(outcome) | {"acknowledged": acknowledged}))
    else:
        settled = "all acknowledged" if acknowledged else f"{outcome.cells_refused:,} refused"
        say(
            f"{counted(outcome.rows, 'row')} of {counted(outcome.devices, 'device')}:"
            f" {counted(outcome.cells, 'cell')} in {counted(outcome.reports, 'report')}"
            f" ({outcome.report_bytes:,} bytes), {settled}"
        )
    if outcome.rows_without_time:
        without = counted(outcome.rows_without_time, "row")
        print(f"left out: {without} without a time", file=sys.stderr)
    for reason, cells in outcome.refusals.items():
        print(f"the collector refused {counted(cells, 'cell')}: {reason}", file=sys.stderr)
