"""`GET /api/v1/backup`: a copy of the store of one moment, made while the collector works on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from edgemse.errors import StoreError
from edgemse.fleet.backup import BACKUP_PATH
from edgemse.stores import Store
from edgemse.web.admin import check_parameters, token_name

__all__ = ["ADMIN_PATHS", "router"]

ADMIN_PATHS = frozenset({BACKUP_PATH})
CHUNK_BYTES = 2**18


def router(store: Store, scratch: Path) -> APIRouter:
    """Return the route over a store; the Guard before it wants a token of the role admin.

    The copy is made in `scratch`, under one name, so that at most one is ever left behind there.
    """
    routes = APIRouter()
    making = Lock()

    @routes.get(BACKUP_PATH, summary="A copy of the store, with an id of its own.")
    def backup(request: Request) -> StreamingResponse:
        token_name(request)
        check_parameters(request)
        if not making.acquire(blocking=False):
            raise StoreError("another backup is being made; try again when it is done")
        path = scratch / f".edgemse-{store.id}.copy"
        try:
            path.unlink(missing_ok=True)
            store.copy_to(path)
            # Only this opening has it from here on, and nothing is left when that ends.
            file = path.open("rb")
        finally:
            path.unlink(missing_ok=True)
            making.release()
        size = os.fstat(file.fileno()).st_size
        return StreamingResponse(
            _chunks(file),
            media_type="application/octet-stream",
            headers={"Content-Length": str(size)},
        )

    return routes


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
