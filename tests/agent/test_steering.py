"""Settings that change while the agent runs, by its file and from the centre."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from edgemse_agent.agent import Agent
from edgemse_agent.central import digest, read_document
from edgemse_agent.ledger import Ledger
from edgemse_agent.lines import PredictionLine
from edgemse_agent.notify import Supervisor
from edgemse_agent.settings import (
    AgentSettings,
    CentralSettings,
    DeliverySettings,
    PairingSettings,
    WindowSettings,
)
from edgemse_agent.steering import Steering
from support.agent import AgentProcess
from support.broker import Mosquitto
from support.clock import FakeClock
from support.processes import CollectorProcess, edgemse
from support.waiting import eventually

from edgemse.errors import SettingsError
from edgemse.topics import Topics

OWN, GROUP = "edgemse/v1/pi/config", "edgemse/v1/group/north/config"
NONE = (None, None, None, None)


class Desk:
    """An agent whose file allows settings from the centre."""

    def __init__(self, *, allow: bool = True) -> None:
        central = CentralSettings(allow, ["north"])
        self.settings = AgentSettings("pi", central=central, attributes={"site": "a"})
        self.agent = Agent(self.settings, Ledger(None), FakeClock())
        self.announced = 0
        self.steering = Steering(self.agent, Topics(), lambda: self.settings, self.announce)

    def announce(self) -> None:
        self.announced += 1

    def say(self, topic: str, **tables: dict[str, object]) -> None:
        self.steering.hear(topic, json.dumps(tables).encode() if tables else b"")

    @property
    def state(self) -> str:
        return self.agent.settings.attributes["settings"]

    def counted(self) -> tuple[int, int]:
        counters = self.agent.counters
        return counters["settings_applied"], counters["settings_refused"]

    def close(self) -> None:
        self.agent.ledger.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    with closing(Desk()) as desk:
        yield desk


def test_a_device_s_own_document_has_the_last_word(desk: Desk) -> None:
    assert desk.state == "own"
    desk.say(OWN, windows={"width_seconds": 300})
    desk.say(GROUP, windows={"width_seconds": 3_600}, delivery={"durable_seconds": 20})
    windows, delivery = desk.agent.settings.windows, desk.agent.settings.delivery
    assert (windows.width_seconds, delivery.durable_seconds) == (300, 20.0)
    desk.agent.tick()
    assert desk.agent.growing.width_seconds == 300
    assert desk.agent.uplink.pace.durable_seconds == desk.agent.relay.pace.durable_seconds == 20.0
    assert len(desk.state) == 12
    assert (desk.counted(), desk.announced) == ((2, 0), 2)
    desk.say(OWN)
    assert desk.agent.settings.windows.width_seconds == 3_600
    desk.say(GROUP)
    assert desk.agent.settings.windows == WindowSettings()
    assert desk.agent.settings.attributes == {"site": "a", "settings": "own"}


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"{", "not JSON"),
        (b"[1]", "wanted an object of tables"),
        (
            b'{"windows": {"width_seconds": 60, "width_seconds": 300}}',
            "the key 'width_seconds' stands twice",
        ),
        (b'{"broker": {"address": "evil:1883"}}', "'broker': wanted tables of windows"),
        (b'{"ledger": "/tmp/x"}', "'ledger': wanted tables of"),
        (b'{"central": {"allow": true}}', "'central': wanted"),
        (b'{"delivery": {"farewell_seconds": 1}}', "delivery.farewell_seconds: wanted one of"),
        (b'{"windows": {"width_seconds": 61}}', "width_seconds: got 61"),
        (
            b'{"windows": {"width_seconds": 300}, "pairing": {"pending_max": 0}}',
            "pending_max: got 0",
        ),
        (b"x" * 20_000, "20000 bytes, wanted at most"),
    ],
)
def test_a_document_is_taken_whole_or_refused_with_the_reason(
    payload: bytes, why: str, desk: Desk
) -> None:
    desk.say(OWN, windows={"width_seconds": 10})
    desk.steering.hear(OWN, payload)
    assert desk.agent.settings.windows.width_seconds == 10
    assert desk.counted() == (1, 1)
    assert why in desk.state
    assert ", refused: " in desk.state
    desk.say(OWN, windows={"width_seconds": 60})
    assert "refused" not in desk.state


def test_without_the_file_s_word_nothing_is_listened_to() -> None:
    with closing(Desk(allow=False)) as desk:
        assert desk.steering.topics == ()
        assert desk.agent.settings.attributes == {"site": "a"}


def test_what_is_retained_no_more_is_taken_back_after_a_connection(desk: Desk) -> None:
    desk.steering.tick(0.0, 1)
    desk.say(OWN, windows={"width_seconds": 300})
    desk.steering.tick(11.0, 1)
    assert desk.agent.settings.windows.width_seconds == 300
    desk.steering.tick(100.0, 2)
    desk.say(OWN, windows={"width_seconds": 300})
    desk.steering.tick(111.0, 2)
    assert desk.agent.settings.windows.width_seconds == 300
    desk.steering.tick(200.0, 3)
    desk.steering.tick(209.0, 3)
    assert desk.agent.settings.windows.width_seconds == 300
    desk.steering.tick(211.0, 3)
    assert (desk.agent.settings.windows.width_seconds, desk.state) == (60, "own")


def test_a_file_that_is_read_again_keeps_what_takes_a_restart(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.say(OWN, windows={"width_seconds": 300})
    for number in range(30):
        desk.agent.take(PredictionLine(str(number), NONE, 1.0, 1.0, None))
    desk.settings = replace(
        desk.settings,
        device="other",
        pairing=PairingSettings(pending_max=10),
        delivery=DeliverySettings(bytes_per_day_max=60_000),
    )
    desk.steering.reload()
    settings = desk.agent.settings
    assert (settings.device, settings.windows.width_seconds) == ("pi", 300)
    assert "needs a restart: device" in caplog.text
    assert (len(desk.agent.pairing), desk.agent.counters["pending_evicted"]) == (10, 20)
    assert desk.agent.uplink.budget.limited

    def wrong() -> AgentSettings:
        raise SettingsError("agent.toml: not TOML")

    desk.steering._reload = wrong
    desk.steering.reload()
    assert desk.counted() == (2, 1)
    assert desk.agent.settings == settings


def test_the_digest_names_what_is_in_force() -> None:
    one = read_document(b'{"windows": {"width_seconds": 60, "series_max": 5}}', "x")
    same = read_document(b'{"windows": {"series_max": 5, "width_seconds": 60}}', "x")
    assert digest({"a": one}) == digest({"a": same}) != digest({"b": one})
    assert digest({"a": {}}) == ""


def test_systemd_is_told_that_it_runs_lives_and_reads_its_settings(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(1.0)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        supervisor = Supervisor(told)
        assert supervisor.tell("READY=1")
        assert systemd.recv(99) == b"READY=1"
        for now in (0.0, 0.5, 1.0):
            supervisor.beat(now)
        assert systemd.recv(99) == systemd.recv(99) == b"WATCHDOG=1"
        supervisor.reloading(12.5)
        assert systemd.recv(99) == b"RELOADING=1\nMONOTONIC_USEC=12500000"
        assert Supervisor(told | {"WATCHDOG_PID": "1"}).beat_seconds == 0.0
    assert not supervisor.tell("READY=1")  # it reads no more
    assert not Supervisor({}).tell("READY=1")


def test_a_device_takes_settings_from_the_broker_and_its_file(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = CollectorProcess(tmp_path / "fleet.duckdb", broker.address)
    agent = AgentProcess(tmp_path, broker.address, "5", farewell_seconds=1.0)
    with agent.config.open("a") as file:
        file.write('[central]\nallow = true\ngroups = ["north"]\n')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "900000")
        agent.start()
        monkeypatch.delenv("NOTIFY_SOCKET")
        try:
            collector.start()
            assert systemd.recv(99) == b"READY=1"
            assert systemd.recv(99) == b"WATCHDOG=1"
            where = ("--broker", broker.address, "--group", "north")
            done = edgemse("config", "set", *where, "windows.width_seconds=300")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == {"windows": {"width_seconds": 300}}
            eventually(lambda: agent.status()["health"]["settings_applied"] == 1)
            shown = edgemse("config", "show", *where)
            assert json.loads(shown.stdout) == {"windows": {"width_seconds": 300}}

            def told() -> str:
                devices = edgemse("fleet", "devices", "--from", collector.url, "--format", "json")
                (device,) = json.loads(devices.stdout)["devices"]
                return str(device["settings"])

            eventually(lambda: len(told()) == 12)
            assert edgemse("config", "set", *where, "broker.address=1").returncode == 78
            assert edgemse("config", "set", *where, "windows.width_seconds=61").returncode == 78
            assert edgemse("config", "show", "--broker", broker.address).returncode == 78
            assert edgemse("config", "clear", *where).returncode == 0
            eventually(lambda: agent.status()["health"]["settings_applied"] == 2)
            assert agent.process is not None
            agent.process.send_signal(signal.SIGHUP)
            eventually(lambda: agent.status()["health"]["settings_applied"] == 3)
            said: list[bytes] = []  # what a socket holds is bounded: read it before the end
            systemd.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    said.append(systemd.recv(99))
            assert agent.stop() == 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    said.append(systemd.recv(99))
            assert b"STOPPING=1" in said
        finally:
            agent.kill()
            collector.close()
