"""`edgemse labels`: labels that are known in the cloud, down to the devices that predicted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgemse.cli.broker_options import BrokerOptions, connects
from edgemse.cli.options import Decimal, Delimiter, Na, OutcomeFormat, OutcomeFormatOption, TimeUnit
from edgemse.cli.output import as_json
from edgemse.errors import UnacknowledgedError
from edgemse.files import Dialect, spooled
from edgemse.labels import LabelRoles, Labels, LabelSender, read_labels
from edgemse.names import counted, shown
from edgemse.printing import say
from edgemse.times import duration
from edgemse.topics import Topics

__all__ = ["app", "send"]

app = typer.Typer(
    no_args_is_help=True,
    help="Labels that are known in the cloud, down to the devices.",
    rich_markup_mode=None,
)
REFUSALS_SHOWN_MAX = 20


@app.command("send")
@connects()
def send(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV or Parquet.")],
    broker: BrokerOptions,
    device: Annotated[str, typer.Option(metavar="COLUMN", help="Which device predicted.")],
    id_: Annotated[str, typer.Option("--id", metavar="COLUMN", help="The prediction's id.")],
    y_true: Annotated[str, typer.Option(metavar="COLUMN", help="What came true.")],
    time: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="When it was known [when it arrives].")
    ] = None,
    model: Annotated[str, typer.Option(help="Meets only predictions of this model.")] = "",
    version: Annotated[str, typer.Option(help="Of this version.")] = "",
    output: Annotated[str, typer.Option(help="Of this output.")] = "",
    segment: Annotated[str, typer.Option(help="Of this segment.")] = "",
    delimiter: Delimiter = "",
    decimal: Decimal = ".",
    na: Na = None,
    time_unit: TimeUnit = None,
    patience: Annotated[
        str, typer.Option(metavar="TIME", help="Give up after this long without progress.")
    ] = "60s",
    form: OutcomeFormatOption = OutcomeFormat.TABLE,
) -> None:
    """Send the labels of a file to their devices, and wait until each is durable there.

    Exit 0 once all are confirmed; 75 if some are not, or were refused by their device. Run again,
    the same command sends only what is not confirmed.
    """
    place = broker.settings()
    named = {"model": model, "version": version, "output": output, "segment": segment}
    series = tuple((key, name) for key, name in named.items() if name)
    roles = LabelRoles(device, id_, y_true, time, series)
    with spooled(files) as plain:
        labels = read_labels(plain, roles, Dialect(delimiter, decimal, tuple(na or ()), time_unit))
    sender = LabelSender(place.broker(), Topics(place.prefix), labels.of)
    _deliver(sender, duration(patience))
    if _show(sender, labels, form):
        raise typer.Exit(UnacknowledgedError.exit_code)


def _deliver(sender: LabelSender, patience_seconds: float) -> None:
    sender.start()
    try:
        with Console(stderr=True).status("sending") as status:
            sender.finish(
                patience_seconds=patience_seconds,
                told=lambda left: status.update(f"sending: {counted(left, 'label')} left"),
            )
    except KeyboardInterrupt:
        print(
            f"edgemse: interrupted; not confirmed: {counted(sender.left, 'label')}. Run the same"
            " command again: what is confirmed is not sent again",
            file=sys.stderr,
        )
        raise
    finally:
        sender.stop()


def _show(sender: LabelSender, labels: Labels, form: OutcomeFormat) -> int:
    """Say what came of it; return how many labels were refused."""
    sent = sum(map(len, labels.of.values()))
    refused = [
        {"device": device, "where": labels.where[device][number], "why": why}
        for device, conversation in sender.conversations.items()
        for number, why in conversation.refused
    ]
    outcome = {
        "labels": sent,
        "devices": len(labels.of),
        "confirmed": sent - len(refused),
        "refused": refused,
        "rows_without_label": labels.rows_without_label,
    }
    if form is OutcomeFormat.JSON:
        say(as_json(outcome))
    else:
        settled = f"{len(refused):,} refused" if refused else "all confirmed"
        say(f"{counted(sent, 'label')} for {counted(len(labels.of), 'device')}, {settled}")
    if labels.rows_without_label:
        without = counted(labels.rows_without_label, "row")
        print(f"left out: {without} without a label", file=sys.stderr)
    for each in refused[:REFUSALS_SHOWN_MAX]:
        print(shown(f"{each['where']}: {each['device']}: {each['why']}"), file=sys.stderr)
    if len(refused) > REFUSALS_SHOWN_MAX:
        print(f"and {len(refused) - REFUSALS_SHOWN_MAX:,} more refused", file=sys.stderr)
    return len(refused)
