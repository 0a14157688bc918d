"""`PUT /api/v1/upkeep` and `GET /api/v1/audit`: what is done to devices, and who did what."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from edgemse.fleet.upkeep import AUDIT_PATH, PATH, Upkeep, audit
from edgemse.stores import Store
from edgemse.web.admin import check_parameters, json_of, token_name

__all__ = ["ADMIN_PATHS", "router"]

ADMIN_PATHS = frozenset({PATH, AUDIT_PATH})
BODY_BYTES_MAX = 16_384
"""Five names of 256 characters and their keys, with room."""


def router(store: Store, now: Callable[[], float] = time.time) -> APIRouter:
    """Return the routes over a store; the Guard before them wants a token of the role admin."""
    routes = APIRouter()

    @routes.put(PATH, summary="Forget, retire or rename a device.")
    async def upkeep(request: Request) -> JSONResponse:
        token = token_name(request)
        wanted = Upkeep.of_json(await json_of(request, "upkeep", BODY_BYTES_MAX))
        done = await run_in_threadpool(wanted.apply, store, int(now() * 1000), token)
        return JSONResponse(done)

    @routes.get(AUDIT_PATH, summary="Say who did what to devices and versions, and when.")
    def audited(request: Request, device: str = "") -> JSONResponse:
        token_name(request)
        check_parameters(request, "device")
        with store.reading() as reading:
            return JSONResponse(audit(reading, device).to_json())

    return routes
