"""`edgemse replay`: recorded samples, through the agent's own code, to the collector."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgemse.broker import BrokerSettings
from edgemse.cells import LEVELS_SECONDS
from edgemse.cli.options import (
    CaFile,
    CertFile,
    Format,
    FormatOption,
    KeyFile,
    PasswordFile,
    PlaintextPassword,
    Username,
)
from edgemse.cli.output import console
from edgemse.cli.progress import progress_over
from edgemse.cli.samples import Chunk, Columns, read_samples
from edgemse.errors import SettingsError, UnacknowledgedError
from edgemse.replay import Outcome, VirtualFleet, digest_of
from edgemse.topics import DEFAULT_PREFIX, Topics

__all__ = ["command"]

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}

LabelDelay = Annotated[
    str, typer.Option(metavar="TIME", help="Labels come this long after predictions.")
]
Patience = Annotated[
    str, typer.Option(metavar="TIME", help="Give up after this long without progress.")
]


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV or Parquet.")],
    broker: Annotated[str, typer.Option(metavar="HOST:PORT", help="The MQTT broker.")],
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
    label_delay: LabelDelay = "0s",
    patience: Patience = "60s",
    prefix: Annotated[str, typer.Option(help="Topic prefix.")] = DEFAULT_PREFIX,
    username: Username = "",
    password_file: PasswordFile = None,
    tls: Annotated[bool, typer.Option("--tls/--no-tls", help="Encrypt.")] = False,
    ca_file: CaFile = "",
    cert_file: CertFile = "",
    key_file: KeyFile = "",
    allow_plaintext_password: PlaintextPassword = False,
    protocol: Annotated[str, typer.Option(help="MQTT 5 or 3.1.1.")] = "5",
    form: FormatOption = Format.TABLE,
) -> None:
    """Send recorded samples as the devices would have, and wait for the acknowledgement.

    Every value of the device column becomes one agent. The same files with the same options make
    the same cells, so a replay that was broken off is simply run again: nothing counts twice.
    """
    if version and version_column:
        raise SettingsError("--version and --version-column: wanted one of the two")
    certificates = (ca_file, cert_file, key_file)
    exposed = allow_plaintext_password
    place = BrokerSettings(
        broker, username, password_file, tls, *certificates, exposed, protocol, prefix=prefix
    )
    width, delay = _seconds(window, "--window"), _seconds(label_delay, "--label-delay")
    if width not in LEVELS_SECONDS:
        raise SettingsError(f"--window {window}: wanted one of 10s, 1m, 5m, 1h, 1d")
    rows = _Rows(files, device, time, y_true, y_pred, version_column, segment)
    fleet = VirtualFleet(
        place.broker(),
        Topics(prefix),
        digest_of(files, [*rows.names(), model, version, str(width), str(delay)]),
        model=model,
        version=version,
        width_seconds=width,
        label_delay_seconds=delay,
    )
    _deliver(fleet, rows, _seconds(patience, "--patience"))
    _show(fleet.outcome, form)
    if fleet.outcome.cells_refused:
        raise typer.Exit(UnacknowledgedError.exit_code)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The files, and which column is what."""

    files: list[Path]
    device: str
    time: str
    y_true: str
    y_pred: str
    version: str | None
    segment: str | None

    def names(self) -> list[str]:
        names = (self.device, self.time, self.y_true, self.y_pred, self.version, self.segment)
        return ["\0" if name is None else name for name in names]

    def feed(self, fleet: VirtualFleet) -> None:
        """Hand over every row, in the order of the files."""
        texts = [name for name in (self.device, self.version, self.segment) if name]
        columns = Columns([self.y_true, self.y_pred], list(dict.fromkeys(texts)), [self.time])
        with progress_over(self.files) as progress:
            for number, path in enumerate(self.files):
                for chunk in read_samples(path, columns):
                    self._feed_chunk(fleet, chunk)
                    progress(number, chunk.done)

    def _feed_chunk(self, fleet: VirtualFleet, chunk: Chunk) -> None:
        none = [None] * chunk.rows
        rows = zip(
            chunk.texts[self.device],
            chunk.texts[self.version] if self.version else none,
            chunk.texts[self.segment] if self.segment else none,
            chunk.times[self.time],
            chunk.numbers[self.y_true],
            chunk.numbers[self.y_pred],
            strict=True,
        )
        for name, version, part, at, y_true, y_pred in rows:
            fleet.feed(name, (None, version, None, part), at, y_true, y_pred)


def _deliver(fleet: VirtualFleet, rows: _Rows, patience_seconds: float) -> None:
    fleet.start()
    try:
        rows.feed(fleet)
        with Console(stderr=True).status("delivering") as status:
            fleet.finish(
                patience_seconds=patience_seconds,
                told=lambda left: status.update(f"delivering: {left} cells wait"),
            )
    finally:
        fleet.stop()


def _seconds(text: str, option: str) -> int:
    """Return the seconds of 10s, 5m (or 5min), 1h, 1d; the bare number means seconds."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :] or "s"
    if not number.isdecimal() or unit not in UNITS:
        raise SettingsError(f"{option} {text!r}: wanted a number and s, m, h or d, such as 90s")
    return int(number) * UNITS[unit]


def _show(outcome: Outcome, form: Format) -> None:
    if form is Format.JSON:
        print(json.dumps(dataclasses.asdict(outcome) | {"acknowledged": True}))
        return
    console().print(
        f"{outcome.rows:,} rows of {outcome.devices:,} devices: {outcome.cells:,} cells in"
        f" {outcome.reports:,} reports ({outcome.report_bytes:,} bytes), all acknowledged",
        highlight=False,
    )
    if outcome.rows_without_time:
        print(f"{outcome.rows_without_time:,} rows without a time were left out", file=sys.stderr)
    if outcome.cells_refused:
        print(f"{outcome.cells_refused:,} cells were refused by the collector", file=sys.stderr)
