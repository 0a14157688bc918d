"""Asking: a store's path, a collector's URL or an open Reading, all in the same way."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from edgemse import errors
from edgemse.fleet.answers import Answer
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.questions import Question, answer, find
from edgemse.stores import open_store
from edgemse.stores.base import Reading

__all__ = ["answer_from", "ask"]

HTTP_SECONDS = 120.0


def ask(
    source: str | Path | Reading,
    question: str,
    *,
    by: Sequence[str] = (),
    where: Mapping[str, str] | None = None,
    since: str | float | datetime | None = None,
    until: str | float | datetime | None = None,
    now: float | None = None,
    **named: Any,
) -> Answer:
    """Ask the fleet a question, and return its typed answer.

    Args:
        source: the path of a store that no collector holds just now, `postgresql://...`, the
            `http://host:port` of a collector, or a store's open Reading.
        question: its name, such as "variance" (edgemse.fleet.questions.NAMES).
        by: group columns; empty: those of the question itself.
        where: columns and attributes of devices with the value that they must have.
        since: windows that start then or later: ISO 8601, `7d` ago, UTC seconds or a datetime.
        until: windows that start before then.
        now: the UTC seconds that `7d` counts back from; None: this machine's clock.
        named: model, version, output, segment, measure, device, or an option of the question.

    Raises:
        SettingsError: what is asked cannot be read. ColumnError: the fleet has no such column.
        StoreError, or a child: the source cannot be read.
    """
    wanted = find(question)
    given = {name: [_text(value)] for name, value in named.items() if value is not None}
    bounds = {"since": since, "until": until}
    given |= {name: [_time(value)] for name, value in bounds.items() if value is not None}
    given |= {"by": [by] if isinstance(by, str) else [*by]} if by else {}
    given |= {"where": [f"{name}={value}" for name, value in where.items()]} if where else {}
    return answer_from(source, wanted, wanted.parse(given, now=time.time() if now is None else now))


def answer_from(source: str | Path | Reading, question: Question, asked: Asked) -> Answer:
    """Answer from a path, a URL or a Reading what was already parsed; errors as of `ask`."""
    if source == "":
        raise errors.UsageError(
            "from '': wanted the path of a store, or the http://HOST:PORT of a collector"
        )
    if not isinstance(source, str | Path):
        return answer(question, source, asked)
    if str(source).startswith(("http://", "https://")):
        return question.answer.from_json(_fetch(str(source), question.name, asked))
    store = open_store(source, read_only=True)
    try:
        with store.reading() as reading:
            return answer(question, reading, asked)
    finally:
        store.close()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _time(value: str | float | datetime) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str) else iso_time(value)


def _fetch(source: str, question: str, asked: Asked) -> Mapping[str, Any]:
    parameters = urllib.parse.urlencode(asked.parameters())
    url = f"{source.rstrip('/')}/api/v1/{question}?{parameters}"
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
    if not isinstance(found, dict):
        raise errors.StoreError(f"{source} answers something else than a collector does")
    return found


def _refused(source: str, error: urllib.error.HTTPError) -> errors.EdgemseError:
    """Return the collector's own error, so that it exits here as it would have there."""
    try:
        found = json.load(error)
        kind, message = getattr(errors, found.get("kind", ""), None), found["error"]
    except (ValueError, KeyError, AttributeError):
        kind, message = None, f"{source} answers {error.code} {error.reason}"
    known = isinstance(kind, type) and issubclass(kind, errors.EdgemseError)
    return kind(message) if known else errors.StoreError(message)  # type: ignore[misc]
