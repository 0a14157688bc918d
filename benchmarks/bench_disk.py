"""What does a device write to its disk in a day? Real agent, ledger and Monitor, simulated time.

Bytes are the kernel's (/proc/self/io, write_bytes: whole pages that were dirtied) and a page for
each commit's note beside the ledger, which simulated time would count once; synced writes are
counted by strace. Both of a run of its own, less those of a run of no time (a start and an end),
times 24 by the hours that it simulates.
"""

import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edgemse_agent.agent import Agent
from edgemse_agent.intake.clients import Clients
from edgemse_agent.ledger import Ledger
from edgemse_agent.settings import AgentSettings
from measuring import Table, options

from edgemse.counters import Counters
from edgemse.monitor.cells import CellConversation
from edgemse.monitor.monitor import MEANINGS
from edgemse.presence import Presence, encode_presence
from edgemse.wire import Ack, decode_report, encode_ack

HOURS = 4.0
SERIES = 20
SAMPLES = 10
"""A second and series, through a Monitor."""
LABEL_SECONDS = 90
"""From a prediction to its label: past the end of most windows."""
SYNCS = ("fsync", "fdatasync")
PAGE_BYTES = 4_096
START_SECONDS = 1_790_000_000.0


class Limit(NamedTuple):
    """What a day may cost."""

    mb: float
    syncs: int


SCENES = {
    "through Monitor": Limit(1.0, 100),
    "lines with pairing, a pair a second": Limit(120.0, 3_500),
    "offline, through Monitor": Limit(60.0, 3_500),
}


class Clock:
    """Time that passes when it is told to."""

    boot_id = "boot"

    def __init__(self) -> None:
        self.passed = 0.0

    def wall(self) -> float:
        return START_SECONDS + self.passed

    def monotonic(self) -> float:
        return self.passed

    boot = monotonic

    def synchronised(self) -> bool:
        return True

    def trusted(self, _passed: float) -> bool:
        return True


class Device:
    """An agent with one client, and a collector that answers if it is online."""

    def __init__(self, path: Path, *, online: bool) -> None:
        self.clock = Clock()
        self.ledger = Ledger(path)
        self.agent = Agent(AgentSettings("pi"), self.ledger, self.clock, rng=random.Random(1))
        self.clients = Clients(self.agent)
        self.replies: list[bytes] = []
        self.client = self.clients.join(self.replies.append, "benchmark")
        if online:
            self.agent.heard_collector("w", encode_presence(Presence(True, "s", "run")))

    def pass_second(self) -> None:
        self.clock.passed += 1.0
        for report in self.agent.tick():
            cells = decode_report(report).cells
            if cells:
                ack = Ack("w", {cell.identity: cell.revision for cell in cells})
                self.agent.heard_ack(encode_ack(ack))
        self.clients.notify()


def through_monitor(device: Device, seconds: int) -> None:
    rng = random.Random(2)
    cells = CellConversation(
        "model", "1", Counters(MEANINGS), cells_max=10_000, series_max=100, clock=device.clock.wall
    )
    device.client.feed(cells.hello())
    for _ in range(seconds):
        for number in range(SERIES):
            for _ in range(SAMPLES):
                cells.add("", f"s{number}", device.clock.wall(), 20.0, 20.0 + rng.gauss(0.0, 1.0))
        cells.close_ended(device.clock.wall())
        device.client.feed(b"".join(cells.due()))
        device.pass_second()
        for data in device.replies:
            for line in data.splitlines():
                cells.heard(json.loads(line))
        device.replies.clear()


def pairs(device: Device, seconds: int) -> None:
    rng = random.Random(2)
    for number in range(seconds):
        prediction = {
            "id": number,
            "y_pred": rng.gauss(20.0, 1.0),
            "segment": f"s{number % SERIES}",
        }
        device.client.feed(json.dumps(prediction).encode() + b"\n")
        if number >= LABEL_SECONDS:
            label = {"id": number - LABEL_SECONDS, "y_true": rng.gauss(20.0, 1.0)}
            device.client.feed(json.dumps(label).encode() + b"\n")
        device.pass_second()
    device.replies.clear()


def written() -> int:
    """Bytes that this process has caused to be written to storage."""
    return int(re.findall(r"^write_bytes: (\d+)", Path("/proc/self/io").read_text(), re.M)[0])


def live(scene: str, hours: float) -> None:
    """Play a scene in this process, and print what was written and committed after the start."""
    play: Callable[[Device, int], None] = pairs if "pairing" in scene else through_monitor
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        device = Device(Path(folder) / "ledger", online="offline" not in scene)
        before, commits = written(), device.ledger.commits
        play(device, int(hours * 3_600))
        commits = device.ledger.commits - commits
        print(json.dumps({"bytes": written() - before + commits * PAGE_BYTES, "commits": commits}))
        device.ledger.close()


def measured(scene: str, hours: float) -> dict[str, float]:
    """Return the bytes, commits and synced writes of a scene, played in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "strace"
        trace = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", str(counts)]
        command = [*trace, sys.executable, __file__, scene, str(hours)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found: dict[str, float] = json.loads(out)
        lines = [line.split() for line in counts.read_text().splitlines()]
        calls = [int(words[3]) for words in lines if words and words[-1] in SYNCS]
        return found | {"syncs": sum(calls)}


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] in SCENES:
        live(sys.argv[1], float(sys.argv[2]))
        return
    args = options(__doc__, hours=HOURS)
    for scene, limit in SCENES.items():
        still, found = measured(scene, 0.0), measured(scene, args.hours)
        day = {name: (found[name] - still[name]) * 24.0 / args.hours for name in found}
        table = Table(f"written in a day, {scene}", "limit", f"at most {limit.mb:g} MB")
        table.add("limit", limit.mb, "MB")
        table.add("bytes", day["bytes"] / 1e6, "MB")
        table.print(args.json)
        table = Table(f"synced in a day, {scene}", "limit", f"at most {limit.syncs}")
        table.add("limit", limit.syncs, "syncs")
        table.add("fsync and fdatasync", day["syncs"], "syncs")
        table.add("commits", day["commits"], "commits")
        table.print(args.json)


if __name__ == "__main__":
    main()
