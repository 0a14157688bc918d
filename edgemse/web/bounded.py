"""HTTP connections that cost little: so many at once, and so long for a head, a body, an answer.

Uvicorn has no time limit on what a client sends: its keep-alive timer starts after an answer, and
every byte stops it. Its limit_concurrency counts connections that it keeps all the same.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgemse.counters import Counters, counter
from edgemse.logs import Ration

__all__ = ["BACKLOG", "MEANINGS", "BoundedProtocol", "bounded", "connections_max"]

log = logging.getLogger(__name__)
log.addFilter(Ration())

BACKLOG = 64
"""Connections that the kernel holds for us, and that asyncio takes in one go before any of them
can be refused: connections_max and these together stay below the limit on open files."""
CONNECTIONS_MAX = 256
OPEN_FILES_SHARE = 4
"""HTTP takes at most one in so many of the files that the process may open."""
RECEIVE_SECONDS = 10.0
"""For a whole request, from the connection or its first byte on; nginx gives 60 s to a head."""
STALL_SECONDS = 30.0
"""For a client that does not read its answer while the socket is full."""
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n"
    b"content-type: application/json\r\ncontent-length: 33\r\n\r\n"
    b'{"error": "too many connections"}'
)


def connections_max() -> int:
    """Return how many HTTP connections may be open at once in this process."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, min(CONNECTIONS_MAX, soft // OPEN_FILES_SHARE))


MEANINGS = {
    "http_refused": counter("Connections refused with 503 because all others were at work"),
    "http_displaced": counter(
        "Connections closed for newer ones: the one that had waited longest without a request"
    ),
    "http_timed_out": counter(
        "Connections closed because the request, or the reading of its answer, took too long"
    ),
}
"""What the bounds have cost; written by the event loop's thread alone."""


class BoundedProtocol(H11Protocol):
    """Uvicorn's protocol under a deadline; of a full house the one that asked nothing goes."""

    limit = CONNECTIONS_MAX
    counters = Counters(MEANINGS)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self.since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection if there is room, or can be made."""
        if len(self.connections) >= self.limit and not self._make_room():
            self.counters.count("http_refused")
            log.warning("refused an HTTP connection: all %d are at work", self.limit)
            transport.write(REFUSAL)
            transport.close()
            return
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        if self.transport is None:
            return  # it was refused
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the clock runs until the request is whole."""
        if self.transport is None:
            return
        super().data_received(data)
        self._watch()

    def eof_received(self) -> None:
        """Close with the client, unless an answer is on its way."""
        if self.transport is not None:
            super().eof_received()

    def pause_writing(self) -> None:
        """The client does not read: give it a while."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALL_SECONDS, self._abort)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def on_response_complete(self) -> None:
        """Note since when nothing is asked; uvicorn's keep-alive timer closes what stays so."""
        self.since = self.loop.time()
        super().on_response_complete()

    @property
    def receiving(self) -> bool:
        """Whether the client has yet to send a request, or the rest of one."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def _watch(self) -> None:
        if self.receiving and self._deadline is None:
            self._deadline = self.loop.call_later(RECEIVE_SECONDS, self._abort)
        elif not self.receiving and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _abort(self) -> None:
        self.counters.count("http_timed_out")
        log.warning("closed an HTTP connection: the client was too slow")
        self.transport.abort()

    def _make_room(self) -> bool:
        """Close the connection that has owed us a request for longest; False if none does."""
        owing = [
            each
            for each in self.connections
            if isinstance(each, BoundedProtocol)
            and each.receiving
            and not each.transport.is_closing()
        ]
        if not owing:
            return False
        oldest = min(owing, key=lambda each: each.since)
        self.counters.count("http_displaced")
        log.warning("closed a half-open HTTP connection for a new one: there are %d", self.limit)
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True


def bounded(limit: int, counters: Counters) -> type[BoundedProtocol]:
    """Return the protocol class for one server; uvicorn makes one object a connection."""
    return type("Bounded", (BoundedProtocol,), {"limit": limit, "counters": counters})
