"""The page and the HTTP API: what the fleet commands answer, with health and metrics beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from edgemse.errors import EdgemseError, StoreError
from edgemse.fleet.quarantine import Replay
from edgemse.stores import Store
from edgemse.web import backup, fleet, page, quarantine, settings, upkeep

__all__ = ["create_app"]

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def create_app(
    store: Store,
    *,
    problems: Callable[[], Sequence[str]],
    metrics: Callable[[], str | bytes],
    scratch: Path | None = None,
    replay: Replay | None = None,
) -> FastAPI:
    """Return the application over a store.

    `problems` says what is wrong just now, `scratch` is the folder for copies of the store; None:
    the system's. `replay` gives the collector a report again; None: there is none.
    """
    app = FastAPI(title="edgemse", docs_url=None, redoc_url=None)
    _answer_errors_in_json(app)

    @app.get("/health")
    def health() -> JSONResponse:
        found = list(problems())
        status = "failing" if found else "ok"
        return JSONResponse({"status": status, "reasons": found}, 503 if found else 200)

    @app.get("/metrics")
    def metrics_text() -> Response:
        return Response(metrics(), media_type=PROMETHEUS_TEXT)

    app.include_router(page.router())
    app.include_router(fleet.router(store))
    app.include_router(upkeep.router(store))
    app.include_router(settings.router(store))
    app.include_router(quarantine.router(store, replay))
    app.include_router(backup.router(store, scratch or Path(tempfile.gettempdir())))
    return app


def _answer_errors_in_json(app: FastAPI) -> None:
    """Answer every error with one line under "error", and an error of ours with its "kind"."""

    @app.exception_handler(EdgemseError)
    def of_ours(_request: Request, error: EdgemseError) -> JSONResponse:
        status = 503 if isinstance(error, StoreError) else 400
        return JSONResponse({"error": str(error), "kind": type(error).__name__}, status)

    @app.exception_handler(RequestValidationError)
    def of_parameters(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 400)

    @app.exception_handler(HTTPException)
    def of_http(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse({"error": message}, error.status_code)
