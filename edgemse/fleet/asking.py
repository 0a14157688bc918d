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

import msgspec

from edgemse import errors
from edgemse.fleet.answers import Answer
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.questions import Question, answer, find
from edgemse.fleet.registry import BaselineSetting, Done, VersionSetting
from edgemse.stores import Store, open_store
from edgemse.stores.base import Reading

__all__ = ["answer_from", "apply", "ask"]

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
    token: str = "",
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
        token: what a collector that wants one is shown (docs/security.md).
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
    asked = wanted.parse(given, now=time.time() if now is None else now)
    return answer_from(source, wanted, asked, token)


def answer_from(
    source: str | Path | Reading, question: Question, asked: Asked, token: str = ""
) -> Answer:
    """Answer from a path, a URL or a Reading what was already parsed; errors as of `ask`."""
    if not isinstance(source, str | Path):
        return answer(question, source, asked)
    if _is_url(source):
        parameters = urllib.parse.urlencode(asked.parameters())
        path = f"/api/v1/{question.name}?{parameters}"
        return question.answer.from_json(_json(str(source), path, token))
    store = open_store(source, read_only=True)
    try:
        with store.reading() as reading:
            return answer(question, reading, asked)
    finally:
        store.close()


def apply(
    source: str | Path | Store,
    setting: BaselineSetting | VersionSetting,
    *,
    now: float | None = None,
    token: str = "",
) -> Done:
    """Set what people say of a version, in one transaction; see edgemse.fleet.registry.

    Args:
        source: the path of a store that no collector holds just now, the `http://host:port` of a
            collector, or an open Store. A store is never made.
        setting: what is set. The last of two that set the same wins.
        now: the UTC seconds to note; None: this machine's clock. A collector notes its own.
        token: what a collector that wants one is shown; its role is admin.

    Raises:
        SettingsError, InputError: the setting is none. StoreError, or a child: it cannot be
        written; then nothing is.
    """
    if isinstance(source, str | Path) and _is_url(source):
        found = _json(str(source), f"/api/v1/{setting.PATH}", token, msgspec.json.encode(setting))
        return Done(*(found[name] for name in Done._fields))
    now_ms = int(1000 * (time.time() if now is None else now))
    if not isinstance(source, str | Path):
        with source.writing() as writing:
            return setting.apply(writing, now_ms)
    store = open_store(source, must_exist=True)
    try:
        with store.writing() as writing:
            return setting.apply(writing, now_ms)
    finally:
        store.close()


def _is_url(source: str | Path) -> bool:
    return str(source).startswith(("http://", "https://"))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _time(value: str | float | datetime) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str) else iso_time(value)


def _json(source: str, path: str, token: str, body: bytes | None = None) -> Mapping[str, Any]:
    """Return the JSON that a collector answers; with a body it is put there."""
    url = f"{source.rstrip('/')}{path}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {} if body is None else {"Content-Type": "application/json"}
    method = "GET" if body is None else "PUT"
    # The scheme is http or https: the caller has looked.
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS) as response:  # noqa: S310
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
