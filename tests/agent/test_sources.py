"""The agent's Unix socket, with real connections: bounded, and of one agent at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from edgemse_agent.intake.sources import SocketServer
from support.waiting import eventually

from edgemse.errors import PortInUseError, SettingsError

LIMIT = 4
AGENT = str(Path(sys.executable).with_name("edgemse-agent"))


class Client:
    """Answers each line with a line of its own."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def feed(self, data: bytes) -> None:
        self._write(b"heard\n" * data.count(b"\n"))


class Intake:
    """What a SocketServer needs of an intake."""

    def __init__(self) -> None:
        self.clients = 0

    def join(self, write: Callable[[bytes], None], _name: str) -> Client:
        self.clients += 1
        return Client(write)

    def leave(self, _client: Client) -> None:
        self.clients -= 1


def run(tmp_path: Path, scene: Callable[[Path, Counter[str], Intake], Awaitable[None]]) -> None:
    """Play a scene on a server of LIMIT clients."""

    async def play() -> None:
        counts: Counter[str] = Counter()
        intake, path = Intake(), tmp_path / "agent.sock"
        server = SocketServer(intake, lambda name: counts.update([name]), LIMIT)
        await server.listen(path)
        try:
            await asyncio.wait_for(scene(path, counts, intake), 30)
        finally:
            await server.close()
            assert intake.clients == 0
            for writer in opened:
                writer.close()
            closed = (writer.wait_closed() for writer in opened)
            await asyncio.gather(*closed, return_exceptions=True)
            opened.clear()

    asyncio.run(play())


opened: list[asyncio.StreamWriter] = []
"""Kept until the scene ends: one that is let go hangs up."""


async def speak(path: Path, line: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    opened.append(writer)
    writer.write(line)
    return reader, writer


def test_the_silent_give_way(tmp_path: Path) -> None:
    async def scene(path: Path, counts: Counter[str], intake: Intake) -> None:
        kept_reader, kept = await speak(path, b"{}\n")
        assert await kept_reader.readline() == b"heard\n"
        for _ in range(10 * LIMIT):
            await speak(path, b"half a line")
        reader, _writer = await speak(path, b"{}\n")
        assert await reader.readline() == b"heard\n"
        kept.write(b"{}\n")
        assert await kept_reader.readline() == b"heard\n"
        assert intake.clients <= LIMIT + 1  # the one that was hung up on may still be leaving
        assert counts["clients_refused"] == 10 * LIMIT + 2 - LIMIT

    run(tmp_path, scene)


def test_a_house_full_of_talkers_refuses_in_words(tmp_path: Path) -> None:
    async def scene(path: Path, counts: Counter[str], intake: Intake) -> None:
        guests = [await speak(path, b"{}\n") for _ in range(LIMIT)]
        for reader, _ in guests:
            assert await reader.readline() == b"heard\n"
        late, _writer = await speak(path, b"")
        assert json.loads(await late.readline()) == {
            "error": "4 clients are connected, and that is all; try again later"
        }
        assert await late.read() == b""
        assert (counts["clients_refused"], intake.clients) == (1, LIMIT)
        guests[0][1].close()
        while intake.clients == LIMIT:
            await asyncio.sleep(0)
        reader, _writer = await speak(path, b"{}\n")
        assert await reader.readline() == b"heard\n"

    run(tmp_path, scene)


def test_a_socket_on_which_somebody_answers_is_not_taken(tmp_path: Path) -> None:
    async def scene(path: Path, _counts: Counter[str], _intake: Intake) -> None:
        second = SocketServer(Intake(), lambda _name: None)
        with pytest.raises(PortInUseError, match="another process listens there"):
            await second.listen(path)
        reader, _writer = await speak(path, b"{}\n")
        assert await reader.readline() == b"heard\n"

    run(tmp_path, scene)


def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "agent.sock"))

    async def scene(path: Path, _counts: Counter[str], _intake: Intake) -> None:
        reader, _writer = await speak(path, b"{}\n")
        assert await reader.readline() == b"heard\n"

    run(tmp_path, scene)


def test_the_socket_appears_where_it_listens_and_nothing_beside_it(tmp_path: Path) -> None:
    async def scene(path: Path, _counts: Counter[str], _intake: Intake) -> None:
        assert [each.name for each in path.parent.iterdir()] == [path.name]
        assert path.stat().st_mode & 0o777 == 0o660

    run(tmp_path, scene)


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "agent.sock").write_text("precious")
    with pytest.raises(SettingsError, match="cannot listen there"):
        run(tmp_path, lambda *_: asyncio.sleep(0))
    assert (tmp_path / "agent.sock").read_text() == "precious"


def test_a_crowd_stops_neither_the_agent_nor_fills_its_log(tmp_path: Path) -> None:
    """With 64 files to open and 500 connections that say nothing."""
    path, log = tmp_path / "agent.sock", tmp_path / "log"
    options = ["--device", "d", "--broker", "127.0.0.1:1", "--socket", str(path)]
    command = [AGENT, *options, "--ledger", str(tmp_path / "ledger")]
    limited = ["sh", "-c", 'ulimit -n 64; exec "$0" "$@"', *command]
    with log.open("w") as out, subprocess.Popen(limited, stderr=out) as agent, ExitStack() as crowd:
        eventually(path.is_socket)
        for _ in range(500):
            silent = crowd.enter_context(socket.socket(socket.AF_UNIX))
            silent.settimeout(20)
            eventually(lambda: connected(silent, path))  # noqa: B023
        with socket.socket(socket.AF_UNIX) as talker:
            talker.settimeout(20)
            eventually(lambda: connected(talker, path))
            talker.sendall(b'{"request": "status"}\n')
            status = json.loads(talker.makefile().readline())["status"]
        assert status["health"]["clients_refused"] >= 400
        agent.terminate()
        assert agent.wait(30) == 0
    assert log.stat().st_size < 20_000


def connected(client: socket.socket, path: Path) -> bool:
    with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
        client.connect(str(path))
        return True
    return False
