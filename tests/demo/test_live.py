"""The demo as people run it: it proves itself, and leaves nothing behind whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.processes import EDGEMSE
from support.waiting import eventually

from edgemse.fleet import ask
from edgemse.fleet.compare import CompareAnswer

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="finds processes by /proc"
)


class Run:
    """One `edgemse demo`, whose processes are known by the temporary folder that they inherit."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder / "tmp"
        self.folder.mkdir(parents=True)
        self._output = folder / "output"
        environment = os.environ | {"TMPDIR": str(self.folder)}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [EDGEMSE, "demo", *options], stdout=output, stderr=output, env=environment
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def says(self, text: str) -> bool:
        assert self.process.poll() is None, self.output
        return text in self.output

    def processes(self) -> list[int]:
        """Return everything that still runs of this demo."""
        mark = f"TMPDIR={self.folder}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # another user's, or gone
        return found

    def left_nothing(self) -> bool:
        return not self.processes() and not list(self.folder.iterdir())


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    runs: list[Run] = []

    def started(*options: str) -> Run:
        runs.append(Run(tmp_path_factory.mktemp("d"), *options))
        return runs[-1]

    yield started
    for run in runs:
        run.process.kill()
        run.process.wait()
        for pid in run.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("broker", ["amqtt", "mosquitto"])
def test_a_demo_loses_nothing_counts_nothing_twice_and_leaves_nothing(
    broker: str, start: Start, request: pytest.FixtureRequest
) -> None:
    if broker == "mosquitto":
        request.getfixturevalue("needs_mosquitto")
    run = start("--seconds", "8", "--devices", "3", "--broker", broker)
    assert run.process.wait(90) == 0, run.output
    assert "broker killed" in run.output
    assert "broker back" in run.output
    assert "falls silent" in run.output
    assert "Is rls better than persistence?" in run.output
    assert "EXACT: lost 0, counted twice 0" in run.output.splitlines()[-1]
    assert run.left_nothing()


def test_a_demo_that_stays_answers_until_it_is_stopped(start: Start) -> None:
    run = start("--seconds", "6", "--devices", "2", "--stay")
    eventually(lambda: run.says("Serving at"), 90)
    address = run.output.partition("Serving at ")[2].partition(" ")[0]
    found = ask(address, "compare", a="persistence", b="rls", by=["segment"])
    assert isinstance(found, CompareAnswer)
    assert {segment.by["segment"] for segment in found.segments} == {"hall", "yard"}
    assert "EXACT: lost 0, counted twice 0" in run.output
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(30) == 0, run.output
    assert run.left_nothing()


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, ""),
        (signal.SIGINT, "measuring"),
        (signal.SIGTERM, "broker killed"),
        (signal.SIGHUP, "models stop"),
    ],
)
def test_a_demo_that_is_broken_off_leaves_nothing(
    number: signal.Signals, moment: str, start: Start
) -> None:
    run = start("--seconds", "6", "--devices", "2")
    eventually(lambda: run.says(moment) and len(run.processes()) > 2, 60)
    run.process.send_signal(number)
    assert run.process.wait(30) == 128 + number, run.output
    assert f"stopped by {number.name}" in run.output
    assert "Traceback" not in run.output
    assert run.left_nothing()


@pytest.mark.parametrize("victim", ["edgemse.demo.broker", "collector", "edgemse_agent.command"])
def test_a_process_that_dies_ends_the_demo_with_its_name(victim: str, start: Start) -> None:
    run = start("--seconds", "60", "--devices", "2")
    eventually(lambda: run.says("measuring"), 60)
    named = [
        pid
        for pid in run.processes()
        if victim.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    ]
    os.kill(named[0], signal.SIGKILL)
    assert run.process.wait(30) == 81, run.output
    assert "was ended by SIGKILL" in run.output
    assert run.left_nothing()


def test_an_address_that_is_taken_is_named(start: Start) -> None:
    first = start("--seconds", "60", "--devices", "1")
    eventually(lambda: first.says("measuring"), 60)
    address = first.output.partition("fleet at http://")[2].partition(";")[0]
    second = start("--seconds", "5", "--devices", "1", "--http", address)
    assert second.process.wait(60) == 71
    assert address in second.output
    assert "Traceback" not in second.output
    assert second.left_nothing()


def test_wrong_options_are_refused_before_anything_starts(start: Start) -> None:
    run = start("--broker", "hivemq")
    assert run.process.wait(30) == 78
    assert "wanted one of amqtt, mosquitto" in run.output
