"""MQTT through WebSockets, where a proxy or a firewall lets nothing else through."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.broker import free_port, listens
from support.waiting import eventually

from edgemse.broker import BrokerSettings
from edgemse.errors import SettingsError
from edgemse.mqtt import Connection, Publication
from edgemse.settings import load

BROKER = """
import asyncio, sys
from amqtt.broker import Broker

async def main(port):
    plugin = "amqtt.plugins.authentication.AnonymousAuthPlugin"
    listener = {"type": "ws", "bind": f"127.0.0.1:{port}"}
    settings = {"listeners": {"default": listener}, "plugins": {plugin: {"allow_anonymous": True}}}
    await Broker(settings).start()
    await asyncio.Event().wait()

asyncio.run(main(int(sys.argv[1])))
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-P", "-c", BROKER, str(port)]
        broker = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        eventually(lambda: broker.poll() is not None or listens(port))
        yield f"127.0.0.1:{port}"
    finally:
        broker.kill()
        broker.wait()


def test_reports_of_any_size_go_through_and_come_back(address: str) -> None:
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    settings = BrokerSettings(address, protocol="3.1.1", websocket_path="/mqtt")
    connection = Connection(
        settings.broker({}), "pi", handlers={"a/b": lambda _, payload: heard.put(payload)}
    )
    connection.start(must_connect=True)
    try:
        for size in (1, 100, 65_536, 200_000):
            assert connection.publish(Publication("a/b", b"x" * size))
            assert len(heard.get(timeout=10)) == size
    finally:
        connection.stop()
    assert connection.connects == 1


def test_a_path_is_one() -> None:
    with pytest.raises(SettingsError, match="websocket_path: got 'mqtt', wanted empty, or /path"):
        load(BrokerSettings, {"websocket_path": "mqtt"}, "x")
