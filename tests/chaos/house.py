"""Agents, broker, collector, models and feeders as processes that can be killed and stopped."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from support.broker import free_port, listens, mosquitto_binary
from support.waiting import eventually

from chaos.feeders import SessionFeeder, ask_status
from chaos.proxy import Proxy

EDGEMSE = str(Path(sys.executable).with_name("edgemse"))
AGENT = str(Path(sys.executable).with_name("edgemse-agent"))
START_SECONDS = 60.0
NO_BROKER, NO_ROOM = 69, (72, 74)
"""Exit codes of a collector that finds no broker, or a full disk, when it starts."""
MODEL = Path(__file__).with_name("model.py")
FEEDERS_PER_AGENT = 2


class Process:
    """One command, its log, and what happens to it."""

    def __init__(self, kind: str, command: Sequence[str], log: Path) -> None:
        self.kind = kind
        self.ends: list[int] = []
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start it, unless it runs; note the exit code of one that ended by itself."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self.ends.append(self._process.returncode)
                self._process = None
            if self._process is None:
                with self._log.open("ab") as log:
                    self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL it, and wait for its end."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None

    def stop_for(self, seconds: float) -> None:
        """SIGSTOP it; a timer lets it go on."""
        with self._lock:
            process = self._process
            if process is None:
                return
            process.send_signal(signal.SIGSTOP)
        threading.Timer(seconds, self._go_on, (process,)).start()

    def fill_disk_for(self, seconds: float) -> None:
        """Let it write nothing more to any file; a timer makes room again.

        By its limit on the size of files, which needs no root and hits nobody else: each write
        fails, with EFBIG where a full disk has ENOSPC; Python ignores the signal that comes too.
        """
        with self._lock:
            process = self._process
            if process is None or process.poll() is not None:
                return
            _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, most))
        threading.Timer(seconds, self._make_room, (process, most)).start()

    def _make_room(self, process: subprocess.Popen[bytes], most: int) -> None:
        with self._lock:
            if process.poll() is None:
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))

    def _go_on(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)

    def end(self, seconds: float) -> int:
        """SIGTERM it, and return its exit code."""
        with self._lock:
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
            return self._process.wait(seconds)


class Run(NamedTuple):
    """What one process of a model says it fed, and saw confirmed."""

    segment: str
    fed: int
    confirmed: int
    closed: bool


class Model:
    """Processes with a Monitor, one after the other: each killed one is followed by the next."""

    def __init__(self, folder: Path, path: Path, name: str, seed: str) -> None:
        self._folder = folder
        self._path = path
        self._name = name
        self._seed = seed
        self._processes: list[Process] = []

    def start(self) -> None:
        """Start the next process."""
        segment = f"{self._name}-{len(self._processes)}"
        command = [sys.executable, str(MODEL), str(self._path), segment]
        command += [str(self._journal(segment)), f"{self._seed} {segment}"]
        self._processes.append(Process("model", command, self._folder / f"{self._name}.log"))
        self._processes[-1].start()

    def kill(self) -> None:
        """SIGKILL the present process and start another."""
        self._processes[-1].kill()
        self.start()

    def end(self) -> None:
        """Have the present process close its Monitor and end."""
        self._processes[-1].end(180)

    def close(self) -> None:
        """Leave nothing running."""
        self._processes[-1].kill()

    def runs(self) -> list[Run]:
        """Return what the journals say."""
        found = []
        for number in range(len(self._processes)):
            segment = f"{self._name}-{number}"
            said = {"fed": 0, "confirmed": 0, "closed": 0}
            path = self._journal(segment)
            if path.exists():  # else it was killed before its first line
                for line in path.read_text().splitlines():
                    word, count = line.split()
                    said[word] = int(count)
            confirmed = max(said["confirmed"], said["closed"])
            found.append(Run(segment, said["fed"], confirmed, said["closed"] > 0))
        return found

    def _journal(self, segment: str) -> Path:
        return self._folder / f"{segment}.journal"


class House:
    """Everything, in one folder."""

    def __init__(self, folder: Path, agents: int, seed: int) -> None:
        self._folder = folder
        self._port = free_port()
        self._http = free_port()
        config = folder / "mosquitto.conf"
        lines = [f"listener {self._port} 127.0.0.1", "persistence false", "allow_anonymous true"]
        lines += ["user root"] if os.geteuid() == 0 else []
        config.write_text("\n".join(lines) + "\n")
        binary = mosquitto_binary()
        assert binary is not None, "Mosquitto is not installed"
        self.proxies = [Proxy(self._port) for _ in range(agents + 1)]
        self._broker = Process("broker", [binary, "-c", str(config)], folder / "mosquitto.log")
        self._store = folder / "fleet.duckdb"
        collector = [EDGEMSE, "collector", "--store", str(self._store)]
        collector += ["--broker", f"127.0.0.1:{self.proxies[0].port}"]
        collector += ["--http", f"127.0.0.1:{self._http}"]
        self._collector = Process("collector", collector, folder / "collector.log")
        self.sockets = [folder / f"{number}.sock" for number in range(agents)]
        self._agents = [self._agent(number) for number in range(agents)]
        self.processes = [self._broker, self._collector, *self._agents]
        self.feeders = [
            SessionFeeder(path, f"lines-{number}-{each}", f"{seed} {number} {each}")
            for number, path in enumerate(self.sockets)
            for each in range(FEEDERS_PER_AGENT)
        ]
        self.models = [
            Model(folder, path, f"monitor-{number}", f"{seed} {number}")
            for number, path in enumerate(self.sockets)
        ]

    def _agent(self, number: int) -> Process:
        config = self._folder / f"{number}.toml"
        config.write_text(
            f'device = "pi-{number}"\nledger = "{self._folder / f"{number}.sqlite"}"\n'
            f'socket = "{self.sockets[number]}"\n'
            f'[broker]\naddress = "127.0.0.1:{self.proxies[number + 1].port}"\n'
            'keepalive_seconds = 5\n[defaults]\nmodel = "chaos"\n[windows]\nwidth_seconds = 10\n'
            "[delivery]\ndurable_seconds = 5\n"
        )
        command = [AGENT, "--config", str(config)]
        return Process("agent", command, self._folder / f"{number}.log")

    def start(self) -> None:
        """Start all of it, and wait until it stands."""
        for process in self.processes:
            process.start()
        eventually(lambda: listens(self._port), START_SECONDS)
        for path in self.sockets:
            eventually(lambda path=path: answers(path), START_SECONDS)
        for feeder in self.feeders:
            feeder.start()
        for model in self.models:
            model.start()

    def restart(self) -> None:
        """Start what has ended, as systemd would."""
        for process in self.processes:
            process.start()

    def mend(self) -> None:
        """Start what has ended, and wait until all of it answers."""

        def stands() -> bool:
            self.restart()
            return listens(self._http) and all(answers(path) for path in self.sockets)

        eventually(stands, START_SECONDS)

    def ended(self) -> list[str]:
        """Return what ended by itself; only a collector that cannot start may."""
        return [
            f"the {process.kind} ended with {code}"
            for process in self.processes
            for code in process.ends
            if process.kind != "collector" or code not in (NO_BROKER, *NO_ROOM)
        ]

    def figures(self) -> dict[str, dict[str, Any]]:
        """Return the fleet's figures by segment, from the store itself."""
        assert self._collector.end(60) == 0
        command = [EDGEMSE, "fleet", "variance", "--from", str(self._store)]
        command += ["--by", "segment", "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return {each["by"]["segment"]: each for each in json.loads(done.stdout)["groups"]}

    def close(self) -> None:
        """Leave nothing running."""
        for model in self.models:
            model.close()
        for process in self.processes:
            process.kill()
        for proxy in self.proxies:
            proxy.close()


def answers(path: Path) -> bool:
    """Tell whether an agent answers there."""
    try:
        return bool(ask_status(path))
    except OSError:
        return False
