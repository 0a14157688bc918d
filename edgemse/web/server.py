"""Uvicorn in a thread of its own, on an address that was taken before anything else started."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

from edgemse.counters import Counters
from edgemse.errors import PortInUseError, SettingsError
from edgemse.logs import Ration
from edgemse.web import backup, page, quarantine, upkeep
from edgemse.web.bounded import BACKLOG, MEANINGS, bounded, connections_max
from edgemse.web.guard import Guard, guards_for

__all__ = ["Server"]

ADMIN_PATHS = upkeep.ADMIN_PATHS | backup.ADMIN_PATHS | quarantine.ADMIN_PATHS
STOP_SECONDS = 10
RATION = Ration()
"""For the logs of asyncio's accept loop and of uvicorn: both write a line a connection."""


class Server:
    """Takes the address at once, serves from `start` to `stop`, lets go of it at `close`.

    Every request passes a Guard: `hosts` are further names that a request may ask for, `tokens`
    is the file of those who may ask. Connections are bounded in number and time.

    Raises PortInUseError if somebody else listens there, SettingsError if nobody can, or if the
    address is open to other machines and there are no tokens.
    """

    def __init__(
        self, address: str, *, hosts: Sequence[str] = (), tokens: Path | None = None
    ) -> None:
        self._guards = guards_for(address, hosts, tokens)
        self._socket = _bound(address)
        self.address = "{}:{}".format(*self._socket.getsockname()[:2])
        self.counters = Counters(MEANINGS)
        """What the bounds on connections have cost."""
        self._server: uvicorn.Server | None = None
        self._thread: Thread | None = None

    def start(self, app: ASGIApp) -> None:
        """Serve the application."""
        for name in ("asyncio", "uvicorn.error"):
            logging.getLogger(name).addFilter(RATION)
        config = uvicorn.Config(
            Guard(app, self._guards, admin_paths=ADMIN_PATHS, open_paths=page.PATHS),
            http=bounded(connections_max(), self.counters),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            backlog=BACKLOG,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=STOP_SECONDS // 2,
            # An address that a proxy's header names would be believed from anybody on this machine.
            proxy_headers=False,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(
            target=self._server.run, args=([self._socket],), name="http", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Finish what is being answered."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=STOP_SECONDS)

    def close(self) -> None:
        """Let go of the address."""
        self._socket.close()


def _bound(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise SettingsError(f"http {address!r}: wanted HOST:PORT, for example 127.0.0.1:8080")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(f"http {address}: {error.strerror}; check the address") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(place)
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"http {address}: another process listens there; stop it or choose another port"
            ) from None
        raise SettingsError(f"http {address}: {error.strerror}; check the address") from None
    return listener
