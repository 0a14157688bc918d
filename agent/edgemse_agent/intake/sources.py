"""Where lines come from: a Unix stream socket, and standard input."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgemse.errors import PortInUseError, SettingsError
from edgemse.logs import Ration
from edgemse_agent.intake.clients import Clients, LineClient

__all__ = ["SocketServer", "read_stdin"]

log = logging.getLogger(__name__)
log.addFilter(Ration())

READ_BYTES = 65_536
CLIENTS_MAX = 256
OPEN_FILES_SHARE = 4
"""Clients take at most one in so many of the files that the process may open."""
BACKLOG = 16
"""Connections that asyncio takes in one go, before any of them can be refused."""
RATION = Ration()
"""For the log of asyncio's accept loop, too, which writes a traceback a connection."""
UNREAD_BYTES_MAX = 1_048_576
"""Replies that a client has not read; past that what it is told is dropped."""


@dataclass(slots=True)
class _Guest:
    """A connection, and whether it has ever sent a whole line."""

    writer: asyncio.StreamWriter
    spoke: bool = False


class SocketServer:
    """The Unix socket that clients and Monitors connect to, so many at once.

    In a full house the connection that has waited longest without sending a line gives way to a
    new one; where all have spoken, the new one hears so and is hung up on. `count` is told
    "clients_refused" in both cases.
    """

    def __init__(
        self, clients: Clients, count: Callable[[str], None], clients_max: int | None = None
    ) -> None:
        self._clients, self._count = clients, count
        self._clients_max = _clients_max() if clients_max is None else clients_max
        self._guests: dict[asyncio.Task[None], _Guest] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, path: Path) -> None:
        """Begin to listen at the path; a socket that a dead agent left there is replaced.

        Raises PortInUseError if a living process listens there, SettingsError if nobody can.
        """
        logging.getLogger("asyncio").addFilter(RATION)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if _answers(path):
                raise PortInUseError(
                    f"socket {path}: another process listens there; stop it or set another path"
                )
            ready = _listening(path)
            self._server = await asyncio.start_unix_server(self._serve, sock=ready, backlog=BACKLOG)
        except PortInUseError:  # an OSError, too
            raise
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
        if len(self._guests) >= self._clients_max and not self._make_room():
            self._refuse(writer)
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        guest = self._guests[task] = _Guest(writer)

        def write(data: bytes) -> None:
            if writer.transport.get_write_buffer_size() < UNREAD_BYTES_MAX:
                writer.write(data)

        client = self._clients.join(write, "socket client")
        try:
            while data := await reader.read(READ_BYTES):
                guest.spoke = guest.spoke or b"\n" in data
                client.feed(data)
                await asyncio.sleep(0)  # a client that never pauses must not starve the others
        except ConnectionError as error:
            log.info("a client broke off: %s", error)
        except asyncio.CancelledError:
            log.debug("hung up on a client: the agent stops")
        finally:
            self._guests.pop(task, None)
            self._clients.leave(client)
            writer.close()

    def _make_room(self) -> bool:
        """Hang up on the connection that has waited longest without a line; False if none has."""
        for task, guest in self._guests.items():
            if not guest.spoke:
                self._count("clients_refused")
                log.warning("hung up on a client that sent no line: %d is all", self._clients_max)
                del self._guests[task]
                guest.writer.transport.abort()
                return True
        return False

    def _refuse(self, writer: asyncio.StreamWriter) -> None:
        self._count("clients_refused")
        log.warning("refused a client: %d are connected, and that is all", self._clients_max)
        why = f"{self._clients_max} clients are connected, and that is all; try again later"
        writer.write(json.dumps({"error": why}).encode() + b"\n")
        writer.close()


def _listening(path: Path) -> socket.socket:
    """Return a socket that listens at the path, where it appears once it does, and not before."""
    if path.exists() and not path.is_socket():
        raise FileExistsError("a file is there that is no socket")
    fresh = path.with_name(f".{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(fresh))
        fresh.chmod(0o660)
        listening.listen(BACKLOG)
        fresh.replace(path)
    except BaseException:
        listening.close()
        fresh.unlink(missing_ok=True)
        raise
    return listening


def _clients_max() -> int:
    """Return how many clients this process can hold beside its other files."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, min(CLIENTS_MAX, soft // OPEN_FILES_SHARE))


def _answers(path: Path) -> bool:
    """Return whether a process listens at the path."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False  # nothing there, or what a dead process left
        except TimeoutError:
            return True  # it listens, and is too busy to take anybody
    return True


def read_stdin(
    loop: asyncio.AbstractEventLoop, clients: Clients, on_end: Callable[[], None] | None
) -> None:
    """Read standard input in a thread of its own (a file there cannot be polled) to its end."""

    def soon(call: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before its input
            loop.call_soon_threadsafe(call, *arguments)

    def feed(client: LineClient, data: bytes, done: threading.Event) -> None:
        try:
            client.feed(data)
        finally:
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
