"""One connection to the agent's Unix socket: JSON lines out, JSON lines in, never for long."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

__all__ = ["Link"]

SEND_SECONDS = 5.0
"""A send that takes longer means that the agent is stuck; start over."""


class Link:
    """A connection that is open or not; every OSError closes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._buffer = b""

    @property
    def open(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def fileno(self) -> int:
        """Return the file descriptor, for poll; -1 while there is no connection."""
        return -1 if self._socket is None else self._socket.fileno()

    def connect(self) -> bool:
        """Connect; False if no agent listens."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(SEND_SECONDS)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            return False
        self._socket, self._buffer = connection, b""
        return True

    def send(self, lines: list[bytes]) -> bool:
        """Send lines, newlines included; False, and the connection is gone, if that failed."""
        if self._socket is None:
            return False
        try:
            self._socket.settimeout(SEND_SECONDS)
            self._socket.sendall(b"".join(lines))
        except OSError:
            self.close()
            return False
        return True

    def receive(self) -> list[dict[str, Any]]:
        """Return the replies that are there, without waiting.

        Raises ValueError for one that is no JSON, TypeError for one that is no object.
        """
        data = b""
        if self._socket is not None:
            self._socket.setblocking(False)  # MSG_DONTWAIT would not do: the time limit comes first
        while self._socket is not None:
            try:
                chunk = self._socket.recv(65_536)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                self.close()
            data += chunk
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        replies = [json.loads(line) for line in lines]
        for reply in replies:
            if not isinstance(reply, dict):
                raise TypeError(f"got {reply!r:.80}, wanted an object")
        return replies

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
