"""Break everything between feeders and the fleet's figures, at random, and compare in the end.

    python tests/chaos/campaign.py [--seconds 120] [--seed 1] [--agents 4] [--every 1.0]
                                   [--only fill]
    python tests/chaos/campaign.py --kills 200 [--seed 1]

Real agents, a real Mosquitto, a real collector. A fault every second or so: SIGKILL or SIGSTOP of
any of them, a broker without memory, connections cut in the middle of a packet, stalled, or deaf to
acks, a disk that is full. Then all is started again, and the auditor compares the fleet's counts
with what feeders saw confirmed. With --kills nothing is done but SIGKILL to one agent, so many
times. Exit code 1 if a sample is missing, was counted twice, or an error is not right.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.audit import audit
from chaos.feeders import ask_status, pass_time
from chaos.house import House

SETTLE_SECONDS = 240.0
STOPS_SECONDS = (0.2, 3.0, 16.0)
"""How long a process may be stopped: the longest lets replies and keep-alives run out."""
AWAY_SECONDS = 4.0
FULL_SECONDS = 12.0
KILLED_AFTER_SECONDS = (0.5, 3.0)
"""How long a killed agent's follower may run at most: within its start, or some commits."""


class Faults:
    """One fault after the other; each leaves behind what undoes it."""

    def __init__(self, house: House, dice: random.Random, only: str = "") -> None:
        self.done: Counter[str] = Counter()
        self._house = house
        self._dice = dice
        self._kinds: list[Callable[[], str]] = [
            self._kill,
            self._kill,
            self._stop,
            self._cut,
            self._stall,
            self._deafen,
            self._model,
            self._fill,
        ]

        if only:
            self._kinds = [each for each in self._kinds if each.__name__ == f"_{only}"]
            assert self._kinds, f"no fault is called {only}"

    def one(self) -> None:
        """Do one fault of a random kind."""
        self.done[self._dice.choice(self._kinds)()] += 1

    def _kill(self) -> str:
        process = self._dice.choice(self._house.processes)
        process.kill()
        pass_time(self._dice.choice([0.0, 0.0, self._dice.uniform(0, AWAY_SECONDS)]))
        process.start()
        return f"SIGKILL {process.kind}"

    def _stop(self) -> str:
        process = self._dice.choice(self._house.processes)
        process.stop_for(self._dice.choice(STOPS_SECONDS))
        return f"SIGSTOP {process.kind}"

    def _cut(self) -> str:
        self._dice.choice(self._house.proxies).cut()
        return "connection cut"

    def _stall(self) -> str:
        self._dice.choice(self._house.proxies).stall(self._dice.uniform(0.5, 12))
        return "connection stalled"

    def _deafen(self) -> str:
        self._dice.choice(self._house.proxies).deafen(self._dice.uniform(0.5, 6))
        return "replies swallowed"

    def _fill(self) -> str:
        process = self._dice.choice([p for p in self._house.processes if p.kind != "broker"])
        process.fill_disk_for(self._dice.uniform(0.5, FULL_SECONDS))
        return f"disk full {process.kind}"

    def _model(self) -> str:
        self._dice.choice(self._house.models).kill()
        return "SIGKILL model"


def campaign(
    seconds: float, seed: int, agents: int, every: float, folder: Path, only: str = ""
) -> dict[str, Any]:
    """Run it in the folder, with all kinds of faults or one of them; return what was found."""
    dice = random.Random(seed)
    house = House(folder, agents, seed)
    faults = Faults(house, dice, only)
    try:
        house.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass_time(dice.expovariate(1 / every))
            faults.one()
            house.restart()
        found = audited(house)
    finally:
        house.close()
    return {
        "seed": seed,
        "seconds": seconds,
        "faults": sum(faults.done.values()),
        "by_kind": dict(sorted(faults.done.items())),
        **found,
    }


def killed(rounds: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill one agent so many times, starting up or at work, and return what was found."""
    dice = random.Random(seed)
    house = House(folder, 1, seed)
    agent = next(process for process in house.processes if process.kind == "agent")
    try:
        house.start()
        for _ in range(rounds):
            pass_time(dice.choice(KILLED_AFTER_SECONDS) * dice.random())
            agent.kill()
            agent.start()
        found = audited(house)
    finally:
        house.close()
    return {"seed": seed, "rounds": rounds, **found}


def audited(house: House) -> dict[str, Any]:
    """Start what has ended, wait until all has come to rest, and compare."""
    house.mend()
    wrong = settled(house)
    fleet = house.figures()
    found = audit(fleet, house.feeders, [run for model in house.models for run in model.runs()])
    complaints = [text for feeder in house.feeders for text in feeder.wrong]
    return {
        "reconnects": sum(feeder.reconnects for feeder in house.feeders),
        "samples_confirmed": found.confirmed,
        "samples_lost": found.lost,
        "samples_twice": found.twice,
        "wrong": [*wrong, *house.ended(), *found.wrong, *complaints],
    }


def settled(house: House) -> list[str]:
    """End the feeders, wait until nothing waits anywhere; return what does not come to rest."""
    for feeder in house.feeders:
        feeder.end()
    ends = [threading.Thread(target=model.end) for model in house.models]
    for each in ends:
        each.start()
    end = time.monotonic() + SETTLE_SECONDS
    for thread in [*house.feeders, *ends]:
        thread.join(max(0.0, end - time.monotonic()))
    wrong = [f"{each.name}: {each.waiting} lines wait" for each in house.feeders if each.waiting]
    for path in house.sockets:
        while (status := ask_status(path))["cells_waiting"] and time.monotonic() < end:
            pass_time(0.2)
        if status["cells_waiting"] or status["parked"]:
            wrong.append(f"{path}: {status['cells_waiting']} cells, parked {status['parked']}")
    return wrong


def main() -> int:
    """Run a campaign by the command line, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--agents", type=int, default=4)
    parser.add_argument("--every", type=float, default=1.0, help="mean seconds between faults")
    parser.add_argument("--only", default="", help="one kind: kill, stop, cut, stall, fill, ...")
    parser.add_argument("--kills", type=int, default=0, help="only kill an agent, so many times")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="edgemse-chaos-"))
    if given.kills:
        found = killed(given.kills, given.seed, folder)
    else:
        found = campaign(given.seconds, given.seed, given.agents, given.every, folder, given.only)
    print(json.dumps(found, indent=1))
    if found["wrong"]:
        print(f"logs, ledgers and store are kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
