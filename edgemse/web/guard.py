"""Stands before the application: whom a request asks for, and who asks.

A page on the web can make a browser on this machine send requests to a name that it has pointed at
127.0.0.1 (DNS rebinding). It cannot choose the Host header: that names the page's own host. So a
request is only heard if Host is an address, or a name that is known here.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgemse.errors import SettingsError
from edgemse.web.tokens import ROLES, Tokens

__all__ = ["HEADERS", "TOKEN_STATE", "Guard", "Guards", "guards_for"]

TOKEN_STATE = "token"  # noqa: S105 - a key
"""Where the application finds the name of the token that was shown, in the scope's state."""
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        b" img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
"""Of every answer: a browser runs and loads only what we serve, and shows it to no other page."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Guards:
    """What a Guard checks."""

    hosts: frozenset[str]
    """Names that may stand in Host, lower case, without a port."""
    tokens: Tokens | None = None
    """None: whoever reaches the address may ask."""


def guards_for(address: str, hosts: Sequence[str] = (), tokens: Path | None = None) -> Guards:
    """Return the guards of a server on HOST:PORT; SettingsError if it would stand open."""
    host = address.rpartition(":")[0].strip("[]").lower()
    if tokens is None and not _loopback(host):
        raise SettingsError(
            f"http {address}: everybody who reaches this machine could read and ask; give a file"
            " of tokens (tokens = ..., see docs/security.md), or listen on 127.0.0.1"
        )
    names = {"localhost", *(name.lower() for name in hosts)}
    if host and not _is_address(host):
        names.add(host)
    return Guards(frozenset(names), None if tokens is None else Tokens(tokens))


class Guard:
    """Answers 421 to a request for another host, 401 without a token and 403 beyond its role.

    GET, HEAD and OPTIONS want the role read, but admin on `admin_paths`; everything else wants
    ingest on `ingest_paths` and admin elsewhere. Who only gets what stands on `open_paths`, the
    files of the page that asks for a token, needs none.
    """

    def __init__(
        self,
        app: ASGIApp,
        guards: Guards,
        *,
        ingest_paths: frozenset[str] = frozenset(),
        admin_paths: frozenset[str] = frozenset(),
        open_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._app, self._guards = app, guards
        self._ingest_paths, self._admin_paths = ingest_paths, admin_paths
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        if scope["type"] == "http":
            send = _with_headers(send)
            status, why = self._refusal(scope)
            if status:
                await _answer(send, status, why)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str]:
        """Return the status and the reason to refuse a request with; 0 if there is none."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 421, "this host is not known here; add its name to http_hosts"
        is_open = scope["method"] in ("GET", "HEAD") and scope["path"] in self._open_paths
        if self._guards.tokens is None or is_open:
            return 0, ""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        token = self._guards.tokens.find(given.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            return 401, "a valid token is wanted: Authorization: Bearer ..."
        wanted = self._role(scope["method"], scope["path"])
        scope.setdefault("state", {})[TOKEN_STATE] = token.name
        if wanted not in ROLES[token.role]:
            return 403, f"the token {token.name} has the role {token.role}; {wanted} is wanted"
        return 0, ""

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        if not name.endswith("]"):
            head, colon, port = name.rpartition(":")
            name = head if colon and port.isdecimal() else name
        name = name.removeprefix("[").removesuffix("]").removesuffix(".")
        return name in self._guards.hosts or _is_address(name)

    def _role(self, method: str, path: str) -> str:
        if method in SAFE and path not in self._admin_paths:
            return "read"
        return "ingest" if path in self._ingest_paths else "admin"


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, why: str) -> None:
    body = json.dumps({"error": why}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="edgemse"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
