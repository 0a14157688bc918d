"""A TCP relay that cuts connections (in mid-packet too), stalls, and swallows replies."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress

CHUNK_BYTES = 4_096


class Proxy:
    """Relays connections to 127.0.0.1:`port` from a port of its own, in a thread each."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._deaf = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections at once; what is on its way is lost."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                shut(end)

    def stall(self, seconds: float) -> None:
        """Let nothing through for so long, connections stay."""
        self._open.clear()
        threading.Timer(seconds, self._open.set).start()

    def deafen(self, seconds: float) -> None:
        """Swallow what comes from the broker for so long (acks among it), then cut."""
        self._deaf.set()
        threading.Timer(seconds, self._hear_again).start()

    def _hear_again(self) -> None:
        self.cut()
        self._deaf.clear()

    def close(self) -> None:
        """Take no more connections."""
        shut(self._listener)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            try:
                outer = socket.create_connection(("127.0.0.1", self._to), 5)
            except OSError:
                shut(inner)
                continue
            with self._lock:
                self._pairs.append((inner, outer))
            threading.Thread(target=self._relay, args=(inner, outer), daemon=True).start()

    def _relay(self, inner: socket.socket, outer: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, suppress(OSError, ValueError):  # cut
            selector.register(inner, selectors.EVENT_READ, outer)
            selector.register(outer, selectors.EVENT_READ, inner)
            while self._step(selector, outer):
                continue
        shut(inner)
        shut(outer)

    def _step(self, selector: selectors.BaseSelector, outer: socket.socket) -> bool:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(CHUNK_BYTES)
            if not data:
                return False
            self._open.wait()
            if key.fileobj is outer and self._deaf.is_set():
                continue
            key.data.sendall(data)
        return True


def shut(end: socket.socket) -> None:
    """Close it although another thread waits on it."""
    with suppress(OSError):  # it is not connected any more
        end.shutdown(socket.SHUT_RDWR)
    end.close()
