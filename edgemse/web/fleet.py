"""A route for each question: `/api/v1/<question>`, the parameters those of the command."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from edgemse.fleet.ordering import Order
from edgemse.fleet.questions import Question, answer, questions
from edgemse.stores import Store

__all__ = ["router"]


def router(store: Store, now: Callable[[], float] = time.time) -> APIRouter:
    """Return the routes over a store; every answer is one consistent view of it."""
    routes = APIRouter(prefix="/api/v1")
    for question in questions():
        route = _route(question, store, now)
        routes.add_api_route(f"/{question.name}", route, summary=question.ask.__doc__)
    return routes


def _route(
    question: Question, store: Store, now: Callable[[], float]
) -> Callable[[Request], JSONResponse]:
    def route(request: Request) -> JSONResponse:
        parameters = request.query_params
        given = {name: parameters.getlist(name) for name in parameters}
        order = Order.parse({n: given.pop(n) for n in ("sort", "limit") if n in given})
        asked = question.parse(given, now=now())
        with store.reading() as reading:
            return JSONResponse(order.of(answer(question, reading, asked)).to_json())

    return route
