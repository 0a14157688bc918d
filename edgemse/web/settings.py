"""Routes that set what people say of a version: `PUT /api/v1/baseline` and `/api/v1/versions`."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from edgemse.fleet.registry import BaselineSetting, VersionSetting, decode_setting
from edgemse.stores import Store
from edgemse.web.admin import body_of, token_name

__all__ = ["BODY_BYTES_MAX", "router"]

BODY_BYTES_MAX = 8 * 1024 * 1024
"""A thousand states, base64, of some kilobytes each."""


def router(store: Store, now: Callable[[], float] = time.time) -> APIRouter:
    """Return the routes over a store; each request is one transaction."""
    routes = APIRouter(prefix="/api/v1")
    for kind in (BaselineSetting, VersionSetting):
        routes.add_api_route(
            f"/{kind.PATH}", _route(kind, store, now), methods=["PUT"], summary=kind.__doc__
        )
    return routes


def _route(
    kind: type[BaselineSetting | VersionSetting], store: Store, now: Callable[[], float]
) -> Callable[[Request], object]:
    def put(body: bytes, token: str) -> JSONResponse:
        setting = decode_setting(kind, body)
        with store.writing() as writing:
            done = setting.apply(writing, int(1000 * now()), token)
        return JSONResponse(done._asdict())

    async def route(request: Request) -> JSONResponse:
        token = token_name(request)
        body = await body_of(request, kind.PATH, BODY_BYTES_MAX)
        return await run_in_threadpool(put, body, token)

    return route
