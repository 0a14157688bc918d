"""The C example through a real Mosquitto into a real collector: killed, cut off, its acks lost, and
the counts are exact each time.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
from support.broker import Mosquitto
from support.compiled_c import HEADERS, SANITIZED, compile_c
from support.processes import CollectorProcess, total_of
from support.waiting import eventually

from edgemse import ErrorStats
from edgemse.mqtt import Broker, Connection

START = 1_767_225_600
DEVICE = "hall 3/north"
DURABLE_SECONDS, RESEND_SECONDS = "0.05", "0.5"
NO_ACKS = "topic deny edgemse/v1/+/ack\ntopic readwrite #\n"
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    return compile_c(HEADERS / "example.c", folder / "example", *SANITIZED, "-DEDGEMSE_BUCKETS=512")


class Device:
    """The example, and the file of samples that whoever feeds it can go back in."""

    def __init__(self, program: Path, broker: Mosquitto, folder: Path, samples: int) -> None:
        rng = random.Random(7)
        self.truth = ErrorStats()
        self.lines: list[bytes] = []
        for number in range(samples):
            y_true, y_pred = rng.gauss(20, 3), rng.gauss(20, 3)
            weight = rng.choice((1.0, 1.0, 1.0, 2.5))
            self.truth.update(y_true, y_pred, weight)
            self.lines.append(f"{START + number} {y_true!r} {y_pred!r} {weight}\n".encode())
        self._command = [program, "127.0.0.1", str(broker.port), DEVICE, folder / "box"]
        self._command += [DURABLE_SECONDS, RESEND_SECONDS]
        self._log = folder / "example.log"
        self.durable = 0
        """Lines that it has said are safe, ever."""
        self._said = Event()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        self._said.clear()
        self._listener = Thread(target=self._listen, args=(self._process,))
        self._listener.start()
        assert self._said.wait(20), self._log.read_text()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            word, number = line.split()
            if word == b"next":
                # what it has said is safe is safe; it may hold more than it came to say
                assert int(number) >= self.durable, "it forgot lines that it had called durable"
                self.next = int(number)
                self._said.set()
            self.durable = max(self.durable, int(number))

    def feed(self, until: int) -> None:
        """Write the lines that it lacks, up to a number; it may be killed meanwhile."""
        assert self._process is not None
        assert self._process.stdin is not None
        for line in self.lines[self.next : until]:
            self._process.stdin.write(line)
        self._process.stdin.flush()
        self.next = max(self.next, until)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._end()

    def finish(self) -> None:
        """End the input, and wait until it ends because the collector has everything."""
        assert self._process is not None
        self.feed(len(self.lines))
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(60) == 0, self._log.read_text()
        self._end()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _end(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.wait(20)
        self._listener.join(20)
        self._process.stdout.close()
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            assert not self.running  # killed with lines in the pipe: they are fed again
        self._process = None

    close = kill


@pytest.fixture
def collector(broker: Mosquitto, tmp_path: Path) -> Iterator[CollectorProcess]:
    with closing(CollectorProcess(tmp_path / "fleet.duckdb", broker.address)) as running:
        running.start()
        yield running


def check(collector: CollectorProcess, device: Device) -> None:
    found = total_of(collector.url)
    assert found["total"]["count"] == device.truth.count
    assert found["total"]["mse"] == pytest.approx(device.truth.mse, rel=1e-12)
    assert found["total"]["abs_p95"] == pytest.approx(device.truth.abs_quantile(0.95), rel=1e-12)
    assert [group["by"]["device"] for group in found["groups"]] == [DEVICE]


def test_everything_arrives(
    program: Path, broker: Mosquitto, collector: CollectorProcess, tmp_path: Path
) -> None:
    with closing(Device(program, broker, tmp_path, 1_000)) as device:
        device.start()
        device.finish()
        check(collector, device)


def test_killed_at_any_moment_it_counts_each_sample_once(
    program: Path, broker: Mosquitto, collector: CollectorProcess, tmp_path: Path
) -> None:
    rng = random.Random(3)
    with closing(Device(program, broker, tmp_path, 2_000)) as device:
        for number in range(10):
            device.start()
            device.feed(200 * (number + 1) - rng.randrange(100))
            if rng.random() < 0.7:  # else at once, in the midst of its lines
                wanted = device.next - rng.randrange(60)
                eventually(lambda wanted=wanted: device.durable >= wanted)
            device.kill()
        device.start()
        device.finish()
        check(collector, device)


def test_lost_acks_and_kills_together_count_nothing_twice(
    program: Path, start_broker: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = start_broker(access=NO_ACKS)
    store = tmp_path / "fleet.duckdb"
    with (
        closing(CollectorProcess(store, broker.address)) as collector,
        closing(Device(program, broker, tmp_path, 600)) as device,
    ):
        collector.start()
        for until in (150, 300, 450):
            device.start()
            device.feed(until)
            # the collector has them, and the device cannot know
            eventually(lambda until=until: total_of(collector.url)["total"]["count"] >= until - 60)
            device.kill()
        device.start()
        device.feed(600)
        eventually(lambda: total_of(collector.url)["total"]["count"] >= 540)
        assert device.running
        broker.reload("topic readwrite #\n")
        device.finish()
        check(collector, device)


def test_it_holds_while_no_collector_listens(
    program: Path, broker: Mosquitto, tmp_path: Path
) -> None:
    reports: list[bytes] = []
    listener = Connection(
        Broker.at(broker.address),
        "listener",
        handlers={"edgemse/v1/+/report": lambda _device, payload: reports.append(payload)},
    )
    listener.start(must_connect=True)
    with (
        closing(CollectorProcess(tmp_path / "fleet.duckdb", broker.address)) as collector,
        closing(Device(program, broker, tmp_path, 400)) as device,
    ):
        device.start()
        device.feed(200)
        eventually(lambda: device.durable == 200)
        assert reports == []
        collector.start()
        eventually(lambda: reports)
        assert collector.stop() == 0
        seen = len(reports)
        device.feed(400)
        eventually(lambda: device.durable == 400)
        broker.restart()
        collector.start()
        device.finish()
        check(collector, device)
        assert len(reports) >= seen
    listener.stop()


def test_a_file_that_was_cut_or_is_in_use_is_refused(
    program: Path, broker: Mosquitto, collector: CollectorProcess, tmp_path: Path
) -> None:
    with closing(Device(program, broker, tmp_path, 100)) as device:
        device.start()
        device.feed(100)
        eventually(lambda: device.durable == 100)
        box = tmp_path / "box"
        command = [program, "127.0.0.1", str(broker.port), DEVICE, box]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert ran.returncode == 1
        assert "another process has it" in ran.stderr
        device.kill()
        whole = box.read_bytes()
        box.write_bytes(whole[:-1])
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert ran.returncode == 1
        assert "no box of this program" in ran.stderr
        box.write_bytes(whole)
        device.start()
        device.finish()
        check(collector, device)
