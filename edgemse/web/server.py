"""Uvicorn in a thread of its own, on an address that was taken before anything else started."""

from __future__ import annotations

import errno
import socket
from threading import Thread

import uvicorn
from fastapi import FastAPI

from edgemse.errors import PortInUseError, SettingsError

__all__ = ["Server"]

STOP_SECONDS = 10


class Server:
    """Takes the address at once, serves from `start` to `stop`, lets go of it at `close`.

    Raises PortInUseError if somebody else listens there, SettingsError if nobody can.
    """

    def __init__(self, address: str) -> None:
        self._socket = _bound(address)
        self.address = "{}:{}".format(*self._socket.getsockname()[:2])
        self._server: uvicorn.Server | None = None
        self._thread: Thread | None = None

    def start(self, app: FastAPI) -> None:
        """Serve the application."""
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_keep_alive=5
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
