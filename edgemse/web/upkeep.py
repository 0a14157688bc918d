"""`PUT /api/v1/upkeep` and `GET /api/v1/audit`: what is done to devices, and who has done it.

PUT, because a page on the web cannot make a browser send one here: the browser asks first, and is
not let.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from edgemse.errors import SettingsError
from edgemse.fleet.upkeep import AUDIT_PATH, PATH, Upkeep, audit
from edgemse.stores import Store
from edgemse.web.guard import TOKEN_STATE

__all__ = ["ADMIN_PATHS", "json_of", "router", "shown_token"]

ADMIN_PATHS = frozenset({PATH, AUDIT_PATH})
BODY_BYTES_MAX = 16_384
"""Five names of 256 characters and their keys, with room."""
NO_TOKENS = (
    "this collector has no tokens, so it does not know who asks; start it with --tokens FILE and"
    " show it one of the role admin (docs/security.md), or stop it and give the path of its store"
)


def router(store: Store, now: Callable[[], float] = time.time) -> APIRouter:
    """Return the routes over a store; the Guard before them wants a token of the role admin."""
    routes = APIRouter()

    @routes.put(PATH, summary="Forget, retire or rename a device.")
    async def upkeep(request: Request) -> JSONResponse:
        token = shown_token(request)
        wanted = Upkeep.of_json(await json_of(request, "upkeep"))
        done = await run_in_threadpool(wanted.apply, store, int(now() * 1000), token)
        return JSONResponse(done)

    @routes.get(AUDIT_PATH, summary="Say who did what to devices, and when.")
    def audited(request: Request, device: str = "") -> JSONResponse:
        shown_token(request)
        with store.reading() as reading:
            return JSONResponse(audit(reading, device).to_json())

    return routes


def shown_token(request: Request) -> str:
    """Return the name of the token that was shown; 403 if the collector has none."""
    name: str | None = request.scope.get("state", {}).get(TOKEN_STATE)
    if name is None:
        raise HTTPException(403, NO_TOKENS)
    return name


async def json_of(request: Request, what: str) -> object:
    """Return the JSON of a request's body; SettingsError if it is none, or too long."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise SettingsError(f"{what}: over {BODY_BYTES_MAX:,} bytes; wanted less")
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise SettingsError(f"{what}: the body is not JSON") from None
