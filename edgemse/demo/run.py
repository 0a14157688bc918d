"""The demo from start to end: processes up, broker stopped half-way, all drained, the proof."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgemse_agent.status import Status
from rich.console import Console

from edgemse.demo import broker
from edgemse.demo.agents import DemoAgent
from edgemse.demo.collector import DemoCollector
from edgemse.demo.interrupt import Interrupted, Interrupts
from edgemse.demo.models import versions
from edgemse.demo.plan import Device, Plan, devices
from edgemse.demo.processes import Processes
from edgemse.demo.report import Outcome, gather, print_report
from edgemse.demo.signals import signals
from edgemse.demo.table import Display, Row, View
from edgemse.errors import DemoError, SettingsError

__all__ = ["run"]

VERSIONS = tuple(versions(ahead=1))
BEGIN_SECONDS = 60.0
"""So long everything may take to come up, on a slow and busy board."""
DRAIN_SECONDS = 60.0
"""So long each step of the end may take: last labels, last acks, the store's close."""
LOOK_SECONDS = 1.0
POLL_SECONDS = 0.1
SOCKET_BYTES_MAX = 100
"""Unix sockets have paths of at most 103 bytes (macOS) or 107 (Linux)."""


def run(plan: Plan, console: Console) -> bool:
    """Run the demo and print its report; return whether the proof holds.

    Raises DemoError if it cannot go on, Interrupted on Ctrl-C and its kin, but for those that end
    its stay. Either way nothing is left behind, neither a process nor a file.
    """
    with Interrupts() as interrupts, _folder() as folder:
        with Processes(folder) as processes:
            with Display(console, VERSIONS) as display:
                demo = _Demo(plan, folder, interrupts, processes, display)
                outcome = demo.run()
            print_report(console, outcome, VERSIONS)
            if plan.stay:
                demo.stay(console)
        return outcome.proof.holds


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="edgemse-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "{}:{}".format(*probe.getsockname())


class _Demo:
    """One run; every step looks at the processes, shows the state and hears interrupts."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        interrupts: Interrupts,
        processes: Processes,
        display: Display,
    ) -> None:
        self._plan, self._folder = plan, folder
        self._interrupts, self._processes, self._display = interrupts, processes, display
        self._devices = devices(plan.devices, signals())
        self._agents = [_agent(folder, device) for device in self._devices]
        self._collector = DemoCollector(folder, plan.http or _free_address())
        self._broker = _free_address()
        self._protocol = broker.PROTOCOLS[plan.broker]
        self._samples = folder / "samples"
        self._samples.mkdir()
        self._statuses: dict[str, Status] = {}
        self._news, self._showing = "starting", True
        self._began = self._looked = time.monotonic()

    def run(self) -> Outcome:
        """Go through the plan."""
        self._start()
        self._measure()
        self._drain()
        names = [device.name for device in self._devices]
        return gather(self._collector.store, self._samples, names, VERSIONS)

    def stay(self, console: Console) -> None:
        """Serve the store until Ctrl-C."""
        self._showing = False
        self._start_broker()
        self._start_collector()
        self._must(self._collector.healthy, BEGIN_SECONDS, "the collector to answer")
        address = f"http://{self._collector.address}"
        console.print(
            f"\nServing at {address} until Ctrl-C; ask it, for example:"
            f" edgemse fleet segments --by segment --from {address}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        with suppress(Interrupted):
            while True:
                self._interrupts.wait(POLL_SECONDS)
                self._processes.check()

    def _start(self) -> None:
        self._start_broker()
        self._start_collector()
        for agent in self._agents:
            command = agent.command(self._broker, self._protocol)
            self._processes.start(_of_agent(agent.device), command)
        for device, agent in zip(self._devices, self._agents, strict=True):
            self._processes.start(device.name, device.command(agent.socket, self._samples))
        self._must(self._all_up, BEGIN_SECONDS, "the collector and the agents to answer")
        self._began = time.monotonic()

    def _start_collector(self) -> None:
        self._processes.start("collector", self._collector.command(self._broker, self._protocol))

    def _start_broker(self) -> None:
        port = int(self._broker.rpartition(":")[2])
        self._processes.start("broker", broker.command(self._plan.broker, port, self._folder))
        self._must(self._broker_up, BEGIN_SECONDS, f"the broker to listen on {self._broker}")

    def _measure(self) -> None:
        down, up = self._plan.outage
        self._tell(f"measuring; fleet at http://{self._collector.address}")
        self._rest_until(self._plan.silence)
        self._silence()
        self._rest_until(down)
        self._processes.kill("broker")
        self._tell("broker killed, its memory lost; devices hold what they have")
        self._rest_until(up)
        self._start_broker()
        self._tell("broker back; devices send what they held")
        self._rest_until(self._plan.last_forecast)

    def _silence(self) -> None:
        for name in (device.name for device in self._devices if device.silent):
            self._tell(f"{name} falls silent")
            self._processes.close_input(name)
            self._must(self._ends([name]), DRAIN_SECONDS, f"the models of {name} to end")
            self._processes.terminate(_of_agent(name))
            self._tell(f"measuring; {name} is silent")

    def _drain(self) -> None:
        self._tell("models stop; the last forecasts get their labels")
        names = [device.name for device in self._devices if not device.silent]
        for name in names:
            self._processes.close_input(name)
        self._must(self._ends(names), DRAIN_SECONDS, "the models to end")
        self._tell("the collector acknowledges what is left")
        names = [_of_agent(agent.device) for agent in self._agents]
        self._stop(names, "the agents to end")
        self._stop(["collector"], "the collector to end")
        self._processes.kill("broker")

    def _stop(self, names: list[str], what: str) -> None:
        for name in names:
            self._processes.terminate(name)
        self._must(self._ends(names), DRAIN_SECONDS, what)

    def _rest_until(self, second: float) -> None:
        self._until(lambda: time.monotonic() - self._began >= second, float("inf"))

    def _must(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        if not self._until(condition, seconds):
            raise DemoError(f"waited {seconds:g} s in vain for {what}; is the machine too busy?")

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for the condition, with an eye on everything; False if it took too long."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= end:
                return False
            self._interrupts.wait(POLL_SECONDS)
            self._processes.check()
            if self._showing and time.monotonic() - self._looked >= LOOK_SECONDS:
                self._look()
        return True

    def _ends(self, names: list[str]) -> Callable[[], bool]:
        left = set(names)

        def ended() -> bool:
            left.difference_update([name for name in left if self._processes.ended(name)])
            return not left

        return ended

    def _broker_up(self) -> bool:
        host, _, port = self._broker.rpartition(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
        return False

    def _all_up(self) -> bool:
        answers = [agent.status() for agent in self._agents]
        online = all(status is not None and status.collector_online for status in answers)
        return online and self._collector.healthy()

    def _tell(self, news: str) -> None:
        self._news = news
        self._look()

    def _look(self) -> None:
        """Ask agents and collector how they do, and show it."""
        for agent in self._agents:
            status = agent.status()
            if status is not None:
                self._statuses[agent.device] = status
        rmse = self._collector.rmse()
        rows = [self._row(agent, rmse) for agent in self._agents]
        self._looked = time.monotonic()
        self._display.show(View(self._news, self._looked - self._began, rows))

    def _row(self, agent: DemoAgent, rmse: dict[tuple[str, str], float]) -> Row:
        status = self._statuses.get(agent.device)
        own = {
            version: value for (device, version), value in rmse.items() if device == agent.device
        }
        health = status.health if status else {}
        return Row(
            agent.device,
            health.get("samples", 0),
            own,
            health.get("reports", 0),
            health.get("report_bytes", 0),
            status.ids_waiting if status else 0,
            status.cells_waiting if status else 0,
        )


def _agent(folder: Path, device: Device) -> DemoAgent:
    agent = DemoAgent(folder, device.name, device.signal.meaning)
    if len(bytes(agent.socket)) > SOCKET_BYTES_MAX:
        raise SettingsError(
            f"the temporary folder {folder} has too long a path for a socket; set TMPDIR to another"
        )
    return agent


def _of_agent(device: str) -> str:
    return f"agent {device}"
