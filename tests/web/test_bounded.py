"""Half-open, slow and greedy HTTP clients, with real sockets: nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send
from support.broker import Mosquitto
from support.cells import cell
from support.device import FakeDevice
from support.processes import EDGEMSE, CollectorProcess
from support.waiting import eventually

from edgemse.web import Server
from edgemse.web import bounded as bounded_module
from edgemse.web import server as server_module

LIMIT = 8
MEGABYTE = bytes(2**20)


class App:
    """Answers /slow when `go` is set, /large with 64 MB, everything else at once."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = 0

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            self.asked += 1
            await asyncio.to_thread(self.go.wait, 30)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/large":
            for _ in range(64):
                await send({"type": "http.response.body", "body": MEGABYTE, "more_body": True})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def server(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(server_module, "connections_max", lambda: LIMIT)
    server = Server("127.0.0.1:0")
    server.start(app)
    yield server
    app.go.set()
    server.stop()
    server.close()


def opened(server: Server, data: bytes = b"") -> socket.socket:
    host, _, port = server.address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(data)
    return connection


def get(server: Server, path: str = "/") -> int:
    with contextlib.closing(http.client.HTTPConnection(server.address, timeout=20)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


HALVES = {
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-",
    "half a body": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
}


@pytest.mark.parametrize("half", HALVES)
def test_half_open_requests_give_way_to_whole_ones(server: Server, half: str) -> None:
    with ExitStack() as stack:
        for _ in range(5 * LIMIT):
            stack.enter_context(opened(server, HALVES[half]))
            assert server.counters["http_refused"] == 0
        assert get(server) == 200
        assert server.counters["http_displaced"] >= 4 * LIMIT
        assert server.counters["http_refused"] == 0


def test_a_house_full_of_work_refuses_in_words(server: Server, app: App) -> None:
    whole = b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        working = [stack.enter_context(opened(server, whole)) for _ in range(LIMIT)]
        eventually(lambda: app.asked == LIMIT)
        assert get(server) == 503
        with opened(server) as late:
            answer = b"".join(iter(lambda: late.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b'{"error": "too many connections"}')
        assert server.counters["http_refused"] == 2
        app.go.set()
        for connection in working:
            assert b"200 OK" in b"".join(iter(lambda: connection.recv(4096), b""))  # noqa: B023
    eventually(lambda: get(server) == 200)


@pytest.mark.parametrize("half", HALVES)
def test_a_request_that_does_not_come_to_its_end_is_hung_up_on(
    server: Server, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_module, "RECEIVE_SECONDS", 0.3)
    with opened(server, HALVES[half]) as connection, contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            continue
    eventually(lambda: server.counters["http_timed_out"] == 1)


def test_bytes_that_trickle_do_not_stop_the_clock(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_module, "RECEIVE_SECONDS", 0.5)
    with opened(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ") as connection:
        connection.settimeout(0.02)
        sent = 0

        def cut() -> bool:
            nonlocal sent
            try:
                connection.sendall(b"x")
                sent += 1
                return connection.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        eventually(cut)
    assert sent > 2
    assert server.counters["http_timed_out"] == 1


def test_a_client_that_does_not_read_is_hung_up_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_module, "STALL_SECONDS", 0.3)
    with opened(server, b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        eventually(lambda: server.counters["http_timed_out"] == 1)
    assert get(server) == 200


def test_a_connection_that_is_kept_serves_again(server: Server) -> None:
    with contextlib.closing(http.client.HTTPConnection(server.address, timeout=20)) as connection:
        for _ in range(3):
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"ok")
    assert server.counters.snapshot() == dict.fromkeys(bounded_module.MEANINGS, 0)


def test_half_open_requests_stop_neither_http_nor_ingestion(
    broker: Mosquitto, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With 128 files to open, 600 half-open requests, and a broker that goes and comes back."""
    collector = CollectorProcess(tmp_path / "fleet.duckdb", broker.address)
    request.addfinalizer(collector.close)
    collector.start(("sh", "-c", 'ulimit -n 128; exec "$0" "$@"', EDGEMSE))
    address = collector.url.removeprefix("http://").split(":")
    with ExitStack() as stack:
        for _ in range(600):
            half = socket.create_connection((address[0], int(address[1])), timeout=20)
            half.sendall(b"GET /health HTTP/1.1\r\nX-")
            stack.enter_context(half)
        assert collector.get("/health")[0] == 200
        broker.restart()
        eventually(lambda: collector.get("/health")[0] == 503)
        eventually(lambda: collector.get("/health")[0] == 200)
        device = FakeDevice(broker.address)
        stack.callback(device.close)
        device.send([cell()])
        device.wait_for([cell()])
    assert collector.stop() == 0
    assert (tmp_path / "fleet.log").stat().st_size < 20_000
