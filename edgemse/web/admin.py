"""What routes that change something have in common: who may, and how much they take.

They are PUT, because a page on the web cannot make a browser send one here: the browser asks first,
and is not let.
"""

from __future__ import annotations

import json

from fastapi import HTTPException, Request

from edgemse.errors import SettingsError
from edgemse.web.guard import TOKEN_STATE

__all__ = ["body_of", "check_parameters", "json_of", "token_name"]

NO_TOKENS = (
    "this collector has no tokens, so it does not know who asks; start it with --tokens FILE and"
    " show it one of the role admin (docs/security.md), or stop it and give the path of its store"
)


def token_name(request: Request) -> str:
    """Return the name of the token that was shown, whose role the Guard has looked at."""
    name: str | None = request.scope.get("state", {}).get(TOKEN_STATE)
    if name is None:
        raise HTTPException(403, NO_TOKENS)
    return name


def check_parameters(request: Request, *names: str) -> None:
    """Raise SettingsError for a parameter that the route does not know, or that comes twice."""
    for name in request.query_params:
        times = len(request.query_params.getlist(name))
        if name not in names:
            wanted = f"wanted one of {', '.join(names)}" if names else "there are none"
            raise SettingsError(f"no parameter {name!r:.80}; {wanted}")
        if times > 1:
            raise SettingsError(f"{name}: given {times} times, wanted once")


async def body_of(request: Request, what: str, bytes_max: int) -> bytes:
    """Return the request's body; raises SettingsError, which names `what`, if it is larger."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > bytes_max:
            raise SettingsError(f"{what}: over {bytes_max:,} bytes; wanted less")
    return bytes(body)


async def json_of(request: Request, what: str, bytes_max: int) -> object:
    """Return the JSON of a request's body; SettingsError if it is none, or larger."""
    body = await body_of(request, what, bytes_max)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise SettingsError(f"{what}: the body is not JSON") from None
