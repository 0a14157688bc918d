"""The agent's counters over HTTP, for a Prometheus on the device or beside it; off by default."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable

from edgemse.errors import PortInUseError, SettingsError
from edgemse_agent.settings import host_and_port

__all__ = ["Metrics"]

REQUEST_BYTES_MAX = 8_192
REQUEST_SECONDS = 5.0
CONNECTIONS_MAX = 8
"""A scraper needs one; more are hung up on."""
ANSWER = (
    "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
    "Content-Length: {length}\r\nConnection: close\r\n\r\n"
)


class Metrics:
    """Answers GET /metrics with what `exposition` returns, and everything else with 404."""

    def __init__(self, exposition: Callable[[], str]) -> None:
        self._exposition = exposition
        self._connections = 0
        self._server: asyncio.Server | None = None

    async def listen(self, address: str) -> None:
        """Begin at HOST:PORT; raises PortInUseError or SettingsError if that cannot be."""
        host, port = host_and_port(address)
        try:
            self._server = await asyncio.start_server(
                self._serve, host, port, limit=REQUEST_BYTES_MAX
            )
        except OSError as error:
            kind = PortInUseError if error.errno == errno.EADDRINUSE else SettingsError
            raise kind(
                f"metrics {address}: cannot listen there: {error.strerror}; set another address"
            ) from None

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS_MAX:
                await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # it asked for nothing that can be answered
        finally:
            self._connections -= 1
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_SECONDS):
            request = await reader.readuntil(b"\r\n\r\n")
            found = request.startswith((b"GET /metrics ", b"GET /metrics?"))
            body = (self._exposition() if found else "not found\n").encode()
            status = "200 OK" if found else "404 Not Found"
            writer.write(ANSWER.format(status=status, length=len(body)).encode() + body)
            await writer.drain()
