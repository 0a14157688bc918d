"""Asking: a store's path, a collector's URL or an open Reading, all in the same way."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgemse.errors import UsageError
from edgemse.fleet.answers import Answer
from edgemse.fleet.asked import Asked, iso_time, text_of
from edgemse.fleet.http import call, is_url
from edgemse.fleet.ordering import Order
from edgemse.fleet.questions import Question, answer, find
from edgemse.stores import Store, open_store
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    from edgemse.fleet.registry import BaselineSetting, Done, VersionSetting

__all__ = ["answer_from", "apply", "ask"]

PATH_MAX = 14_000
"""Of a URL: the head of a request has 16 KiB (h11), a token and the host included."""


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
        named: model, version, output, segment, measure, device, or an option of the question (a
            list, if it may be repeated); sort and limit as of the command. A Path stands for the
            text of its file.

    Raises:
        SettingsError: what is asked cannot be read. ColumnError: the fleet has no such column.
        StoreError, or a child: the source cannot be read.
    """
    wanted = find(question)
    given = {name: _texts(value) for name, value in named.items() if value is not None}
    bounds = {"since": since, "until": until}
    given |= {name: [_time(value)] for name, value in bounds.items() if value is not None}
    given |= {"by": [by] if isinstance(by, str) else [*by]} if by else {}
    given |= {"where": [f"{name}={value}" for name, value in where.items()]} if where else {}
    order = Order.parse({name: given.pop(name) for name in ("sort", "limit") if name in given})
    asked = wanted.parse(given, now=time.time() if now is None else now)
    return order.of(answer_from(source, wanted, asked, token))


def answer_from(
    source: str | Path | Reading, question: Question, asked: Asked, token: str = ""
) -> Answer:
    """Answer from a path, a URL or a Reading what was already parsed; errors as of `ask`."""
    if source == "":
        raise UsageError(
            "from '': wanted the path of a store, or the http://HOST:PORT of a collector"
        )
    if not isinstance(source, str | Path):
        return answer(question, source, asked)
    if is_url(source):
        path = f"/api/v1/{question.name}?{urllib.parse.urlencode(asked.parameters())}"
        if len(path) > PATH_MAX:
            raise UsageError(
                f"{question.name}: a question of {len(path):,} characters, and a collector takes"
                f" {PATH_MAX:,}; ask with fewer objectives or names at once"
            )
        return question.answer.from_json(call(str(source), path, token))
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
        token: what the collector is shown; its role must be admin.

    Raises:
        SettingsError, InputError: the setting is none. StoreError, or a child: it cannot be
        written; then nothing is.
    """
    import msgspec  # asking goes without: edgemse evaluate has no msgspec

    from edgemse.fleet.registry import Done

    if isinstance(source, str | Path) and is_url(source):
        body = msgspec.to_builtins(setting)
        found = call(str(source), f"/api/v1/{setting.PATH}", token, body)
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


def _texts(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(each) for each in value]
    if isinstance(value, Path):
        return [text_of(value)]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _time(value: str | float | datetime) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str) else iso_time(value)
