"""A route for each question: `/api/v1/<question>`, the parameters those of the command."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from edgemse.errors import SettingsError
from edgemse.fleet.asked import COMMON, SHORTHANDS, Asked
from edgemse.fleet.ordering import Order
from edgemse.fleet.questions import Question, answer, questions
from edgemse.stores import Store
from edgemse.web.forms import FORMS, Answered, form_of, reply
from edgemse.web.sharing import Sharing, age_allowed
from edgemse.web.stopping import Stop, Stoppable

__all__ = ["router"]

SEVERAL = ("by", "where")
"""Parameters that may be given more than once."""
OF_ROWS = {
    "sort": "The rows' order: a column, or -COLUMN.",
    "limit": "The first so many rows.",
    "format": "json; page: with the command's table and sentences; the others: a file of rows.",
}
HELP = {
    "by": "A column or an attribute of devices to group by.",
    "where": "NAME=VALUE: only cells whose column, or whose device's attribute, is that.",
    "since": "Windows that start then or later: ISO 8601, seconds since 1970, or 7d ago.",
    "until": "Windows that start before then.",
}
KINDS = (
    "application/json",
    "text/csv",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.file",
)
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The answer.", "content": {kind: {} for kind in KINDS}},
    304: {"description": "What If-None-Match names is what there is."},
    400: {"description": "It cannot be asked so; `error` says why."},
    503: {"description": "The store cannot be read, or too many questions wait."},
}


def router(store: Store, now: Callable[[], float] = time.time) -> APIRouter:
    """Return the routes over a store; every answer is one consistent view of it."""
    routes = APIRouter(prefix="/api/v1")
    sharing: Sharing[Answered] = Sharing()
    for question in questions():
        routes.add_api_route(
            f"/{question.name}",
            _route(question, store, sharing, now),
            summary=question.ask.__doc__,
            responses=RESPONSES,
            response_class=Response,
            openapi_extra={"parameters": _parameters(question)},
        )
    return routes


def _route(
    question: Question, store: Store, sharing: Sharing[Answered], now: Callable[[], float]
) -> Callable[[Request], Awaitable[Response]]:
    def work(asked: Asked, stop: Stop) -> Answered:
        with store.reading() as reading, Stoppable(reading, stop) as stoppable:
            return Answered(answer(question, stoppable, asked))

    async def route(request: Request) -> Response:
        _check(request.url.query)
        parameters = request.query_params
        given = {name: parameters.getlist(name) for name in parameters}
        order = Order.parse({n: given.pop(n) for n in ("sort", "limit") if n in given})
        form = form_of(given.pop("format", ["json"]))
        asked = question.parse(given, now=now())
        # By what was said, not by what `7d` is this second: the same page says the same.
        key = (question.name, *((name, *values) for name, values in sorted(given.items())))
        age = age_allowed(request.headers.get("cache-control", ""))
        answered = await sharing.get(
            key, partial(work, asked), age_seconds=age, gone=lambda: _gone(request)
        )
        return await run_in_threadpool(reply, request, answered, order, form, question.name)

    return route


async def _gone(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _parameters(question: Question) -> list[dict[str, Any]]:
    """Return what OpenAPI is told of a question's parameters: all that are taken, no other."""
    names = [n for n in (*COMMON, *SHORTHANDS) if n != "by" or question.by is not None]
    help_of = HELP | {n: f"The same as where={n}=VALUE." for n in SHORTHANDS}
    help_of |= {option.name: option.help for option in question.options} | OF_ROWS
    names += [option.name for option in question.options] + list(OF_ROWS)
    found = []
    for name in names:
        schema: dict[str, Any] = {"type": "string"}
        if name in SEVERAL:
            schema = {"type": "array", "items": schema}
        elif name == "format":
            schema = {"type": "string", "enum": [*FORMS], "default": "json"}
        elif name == "limit":
            schema = {"type": "integer", "minimum": 1}
        found.append({"name": name, "in": "query", "schema": schema, "description": help_of[name]})
    return found


def _check(query: str) -> None:
    """Refuse bytes that are no text: they would become another text without a word."""
    try:
        unquote_to_bytes(query).decode()
    except UnicodeDecodeError as error:
        part = error.object[error.start : error.end].hex()
        raise SettingsError(
            f"the query has the bytes {part}, which are no UTF-8; wanted texts in UTF-8,"
            " percent-encoded"
        ) from None
