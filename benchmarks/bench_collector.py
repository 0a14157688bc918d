"""What do reports over a real Mosquitto cost a collector process, and how long does an ack take?"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock

from bench_ingest import DEVICES, SEGMENTS, minute_of
from measuring import Table, options

from edgemse.cells import Identity
from edgemse.mqtt import Broker, Connection, Publication
from edgemse.topics import Topics
from edgemse.wire import decode_ack, unpack_report

RATES = (300, 1_000, 3_000)
"""Reports a second, of five cells each."""
SECONDS = 10
CONNECTIONS = 8
TICK_SECONDS = 0.01
WAIT_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def cpu_seconds(process: int) -> float:
    """User and system time of a process, as Linux counts it."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def running(*command: str) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


class Fleet:
    """Publishes reports of many devices over some connections, and notes when each is acked.

    A connection of its own for each device would cost more here than what is to be measured; one
    for all would wait for the broker at 20 reports under way.
    """

    def __init__(self, address: str) -> None:
        self.latencies: list[float] = []
        self._sent: dict[Identity, float] = {}
        self._lock = Lock()
        self.online = Event()
        hears = {
            f"{Topics().prefix}/+/ack": self._acked,
            Topics().any_collector: lambda _worker, _payload: self.online.set(),
        }
        self.connections = [
            Connection(Broker.at(address), f"fleet-{number}", handlers={} if number else hears)
            for number in range(CONNECTIONS)
        ]

    def _acked(self, _device: str, payload: bytes) -> None:
        now = time.perf_counter()
        with self._lock:
            for identity in decode_ack(payload).committed:
                sent = self._sent.pop(identity, None)
                if sent is not None:
                    self.latencies.append(now - sent)

    def send(self, publications: list[tuple[Identity, Publication]], rate: int) -> None:
        """Publish so many a second, and wait for their acks."""
        self.latencies.clear()
        start = time.perf_counter()
        for place, (identity, publication) in enumerate(publications):
            while time.perf_counter() < start + place / rate:
                time.sleep(TICK_SECONDS)
            with self._lock:
                self._sent[identity] = time.perf_counter()
            connection = self.connections[place % CONNECTIONS]
            while not connection.publish(publication):
                time.sleep(TICK_SECONDS)
        end = time.perf_counter() + WAIT_SECONDS
        while len(self.latencies) < len(publications) and time.perf_counter() < end:
            time.sleep(TICK_SECONDS)


def publications(first: int, count: int) -> list[tuple[Identity, Publication]]:
    """Reports of minutes from `first` on, each with the name of its first cell."""
    found = []
    for minute in range(first, first + -(-count // DEVICES)):
        for message in minute_of(minute):
            report = unpack_report(message.payload)
            identity = report.sealed(report.cells[0]).identity
            topic = Topics().report(report.device)
            found.append((identity, Publication(topic, message.payload)))
    return found[:count]


def measured(fleet: Fleet, collector: int) -> tuple[Table, Table]:
    cost = Table("a collector process, CPU seconds a million cells", "limit: 70", "at most 1 x")
    cost.add("limit: 70", 70.0, "s")
    delay = Table("its acks, seconds", "limit: 1", "p99 at most 1 x")
    delay.add("limit: 1", 1.0, "s")
    minute = 0
    for rate in (1_000, *RATES):  # the first brings devices that are new, and does not count
        sent = publications(minute, rate * SECONDS)
        minute += -(-rate * SECONDS // DEVICES)
        before = cpu_seconds(collector)
        fleet.send(sent, rate)
        cells = len(sent) * SEGMENTS
        if minute == SECONDS:
            continue
        name = f"{rate:,} reports/s"
        cost.add(name, (cpu_seconds(collector) - before) / cells * 1e6, "s")
        waits = sorted(fleet.latencies)
        delay.add(f"{name}: median", statistics.median(waits), "s")
        delay.add(f"{name}: p99", waits[int(0.99 * len(waits))], "s")
        delay.add(f"{name}: not acked in {WAIT_SECONDS:.0f} s", len(sent) - len(waits), "reports")
    delay.add("memory of the process", resident_mb(collector), "MB")
    return cost, delay


def main() -> None:
    args = options(__doc__)
    address = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = folder / "mosquitto.conf"
        port = address.rpartition(":")[2]
        settings.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
        )
        store, http = str(folder / "fleet.duckdb"), f"127.0.0.1:{free_port()}"
        edgemse = str(Path(sys.executable).with_name("edgemse"))
        command = (edgemse, "collector", "--store", store, "--broker", address, "--http", http)
        with running("mosquitto", "-c", str(settings)):
            time.sleep(1)
            with running(*command) as collector:
                fleet = Fleet(address)
                for connection in fleet.connections:
                    connection.start()
                assert fleet.online.wait(WAIT_SECONDS), "no collector has come"
                for table in measured(fleet, collector):
                    table.print(args.json)
                for connection in fleet.connections:
                    connection.stop()


if __name__ == "__main__":
    main()
