"""`GET /`: the page, and the files that it is made of. They hold no figure and no secret.

Everything is read once, when the server starts: what can be had is a table of names, no folder.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

__all__ = ["PATHS", "router"]

STATIC = Path(__file__).with_name("static")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    "": "text/plain; charset=utf-8",
}
GZIP_LEVEL = 9
"""Once, at the start: 10 ms."""


class _File(NamedTuple):
    data: bytes
    zipped: bytes
    tag: str
    media_type: str


def _path(file: Path) -> str:
    name = file.relative_to(STATIC).as_posix()
    return "/" if name == "index.html" else f"/static/{name}"


FILES = {_path(file): file for file in sorted(STATIC.rglob("*")) if file.is_file()}
PATHS = frozenset(FILES)
"""What is served to everybody."""


def router() -> APIRouter:
    """Return a route for each file of the page."""
    routes = APIRouter(include_in_schema=False)
    for path, file in FILES.items():
        routes.add_api_route(path, _route(file), methods=["GET", "HEAD"])
    return routes


def _route(file: Path) -> Callable[[Request], Response]:
    data = file.read_bytes()
    tag = f'W/"{hashlib.sha256(data).hexdigest()[:32]}"'
    held = _File(data, gzip.compress(data, GZIP_LEVEL, mtime=0), tag, TYPES[file.suffix])

    def route(request: Request) -> Response:
        # Asked for anew each time, as what there is may be of a newer version; mostly it is a 304.
        headers = {"ETag": held.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if held.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        zipped = "gzip" in request.headers.get("accept-encoding", "")
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(held.zipped if zipped else held.data, 200, headers, held.media_type)

    return route
