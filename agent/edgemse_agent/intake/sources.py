"""Where lines come from: a Unix stream socket, and standard input."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from edgemse.errors import SettingsError
from edgemse_agent.intake.clients import Clients, LineClient

__all__ = ["SocketServer", "read_stdin"]

log = logging.getLogger(__name__)

READ_BYTES = 65_536
UNREAD_BYTES_MAX = 1_048_576
"""Replies that a client has not read; past that what it is told is dropped."""


class SocketServer:
    """The Unix socket that clients and Monitors connect to."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, path: Path) -> None:
        """Begin to listen at the path; a socket that a dead agent left there is replaced."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, path)
            path.chmod(0o660)
        except OSError as error:
            raise SettingsError(
                f"socket {path}: cannot listen there: {error}; set another path"
            ) from None

    async def close(self) -> None:
        """Stop listening and hang up."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def write(data: bytes) -> None:
            if writer.transport.get_write_buffer_size() < UNREAD_BYTES_MAX:
                writer.write(data)

        client = self._clients.join(write, "socket client")
        try:
            while data := await reader.read(READ_BYTES):
                client.feed(data)
                await asyncio.sleep(0)  # a client that never pauses must not starve the others
        except ConnectionError as error:
            log.info("a client broke off: %s", error)
        except asyncio.CancelledError:
            log.debug("hung up on a client: the agent stops")
        finally:
            self._clients.leave(client)
            writer.close()


def read_stdin(
    loop: asyncio.AbstractEventLoop, clients: Clients, on_end: Callable[[], None] | None
) -> None:
    """Read standard input in a thread of its own (a file there cannot be polled) to its end."""

    def soon(call: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before its input
            loop.call_soon_threadsafe(call, *arguments)

    def feed(client: LineClient, data: bytes, done: threading.Event) -> None:
        client.feed(data)
        done.set()

    def read() -> None:
        client = clients.join(lambda _reply: None, "standard input")  # the log has complaints
        while data := os.read(sys.stdin.fileno(), READ_BYTES):
            done = threading.Event()
            soon(feed, client, data, done)
            done.wait()
        soon(clients.leave, client)
        if on_end is not None:
            soon(on_end)

    threading.Thread(target=read, name="stdin", daemon=True).start()
