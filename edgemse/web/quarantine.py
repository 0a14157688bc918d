"""`GET` and `PUT /api/v1/quarantine`: what was refused, given in again or thrown away."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from edgemse.fleet.quarantine import QUARANTINE_PATH, Clearing, Replay, quarantine
from edgemse.stores import Store
from edgemse.web.admin import check_parameters, json_of, token_name

__all__ = ["ADMIN_PATHS", "router"]

ADMIN_PATHS = frozenset({QUARANTINE_PATH})
BODY_BYTES_MAX = 16_384
"""Four names of 256 characters and their keys, with room."""


def router(store: Store, replay: Replay | None, now: Callable[[], float] = time.time) -> APIRouter:
    """Return the routes over a store; the Guard before them wants a token of the role admin."""
    routes = APIRouter()

    @routes.get(QUARANTINE_PATH, summary="Say what was refused, and why.")
    def refused(request: Request, device: str = "") -> JSONResponse:
        token_name(request)
        check_parameters(request, "device")
        with store.reading() as reading:
            return JSONResponse(quarantine(reading, device).to_json())

    @routes.put(QUARANTINE_PATH, summary="Replay or empty the quarantine.")
    async def clear(request: Request) -> JSONResponse:
        token = token_name(request)
        wanted = Clearing.of_json(await json_of(request, "quarantine", BODY_BYTES_MAX))
        done = await run_in_threadpool(wanted.apply, store, int(now() * 1000), token, replay)
        return JSONResponse(done)

    return routes
