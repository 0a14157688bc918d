"""`edgemse fleet ...`: questions to a store, or to a running collector."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import typer

from edgemse import errors
from edgemse.cli.options import By, Format, FormatOption, Model, Since, Source, Until, Version
from edgemse.cli.output import show_devices, show_variance
from edgemse.fleet.devices import devices_report
from edgemse.fleet.figures import variance_report
from edgemse.fleet.merging import merged
from edgemse.fleet.selection import Filter, instant
from edgemse.stores import Query, open_store

__all__ = ["app", "devices", "variance"]

HTTP_SECONDS = 120

app = typer.Typer(help="Ask a store, or a running collector.", no_args_is_help=True)


@app.command()
def devices(
    source: Source,
    model: Model = None,
    version: Version = None,
    since: Since = None,
    until: Until = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the devices: last report, clock, windows, samples, error, coverage."""
    where = _filter(model, version, since, until)

    report = _answer(source, "devices", [], where, lambda query: devices_report(query, where))
    show_devices(report, form)


@app.command()
def variance(
    source: Source,
    model: Model = None,
    version: Version = None,
    by: By = None,
    since: Since = None,
    until: Until = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Compare the errors of groups (devices, unless --by says otherwise) and split their variance.

    Groups by device, model, version, output, segment, or an attribute that the devices report.
    """
    columns = by or ["device"]
    where = _filter(model, version, since, until)

    def local(query: Query) -> dict[str, Any]:
        return variance_report(columns, merged(query, columns, where))

    show_variance(_answer(source, "variance", columns, where, local), columns, form)


def _filter(model: str | None, version: str | None, since: str | None, until: str | None) -> Filter:
    return Filter(
        model,
        version,
        None if since is None else instant(since),
        None if until is None else instant(until),
    )


def _answer(
    source: str,
    question: str,
    by: list[str],
    where: Filter,
    local: Callable[[Query], dict[str, Any]],
) -> dict[str, Any]:
    """Ask the collector at a URL, or open the store and answer here."""
    if source.startswith(("http://", "https://")):
        return _fetch(source, question, by, where)
    store = open_store(source, read_only=True)
    try:
        with store.reading() as query:
            return local(query)
    finally:
        store.close()


def _fetch(source: str, question: str, by: list[str], where: Filter) -> dict[str, Any]:
    asked = [("by", column) for column in by]
    filters = {
        "model": where.model,
        "version": where.version,
        "since": where.since,
        "until": where.until,
    }
    asked += [(name, str(value)) for name, value in filters.items() if value is not None]
    url = f"{source.rstrip('/')}/api/v1/{question}?{urllib.parse.urlencode(asked)}"
    try:
        # The scheme is http or https: the caller has looked.
        with urllib.request.urlopen(url, timeout=HTTP_SECONDS) as response:  # noqa: S310
            found = json.load(response)
    except urllib.error.HTTPError as error:
        raise _refused(source, error) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise errors.StoreUnreachableError(
            f"no collector answers at {source}: {reason};"
            " check the address, and that it runs with --http"
        ) from None
    assert isinstance(found, dict), found
    return found


def _refused(source: str, error: urllib.error.HTTPError) -> errors.EdgemseError:
    """Return the collector's own error, so that it exits here as it would have there."""
    try:
        answer = json.load(error)
        kind = getattr(errors, answer.get("kind", ""), errors.StoreError)
        message = answer["error"]
    except (ValueError, KeyError, AttributeError):
        kind, message = errors.StoreError, f"{source} answers {error.code} {error.reason}"
    known = isinstance(kind, type) and issubclass(kind, errors.EdgemseError)
    return kind(message) if known else errors.StoreError(message)
