"""Write small faults into the code that delivers, one at a time, and see whether a test notices.

    python tests/mutants/campaign.py [--count 200] [--seed 1] [--only FILE...]

The tests are loaded once; each fault is put into a fork of that process, which runs the tests of
its file until one fails. TMPDIR in memory makes it faster: tests sync what they write. What no test
noticed is printed as it comes, with its place, and again in the end. Exit code 1 if fewer than 95 %
were noticed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from _pytest.runner import runtestprotocol

sys.path.insert(0, str(Path(__file__).parents[1]))

from mutants.applying import applied, module_of
from mutants.making import Mutant, mutants

ROOT = Path(__file__).parents[2]
AGENT = "agent/edgemse_agent"
LEDGER = f"{AGENT}/ledger"
SIMULATION = "tests/simulation/test_delivery.py"
NOTICE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (f"{LEDGER}/{name}.py" for name in ("transactions", "rows", "schema", "unplaced")),
        ("ledger", "uplink", "agent", "trouble", "calendar", SIMULATION, "damaged_ledger"),
    ),
    **dict.fromkeys(
        (f"{LEDGER}/{name}.py" for name in ("file", "opening", "salvage", "journal", "sound")),
        ("ledger", "damaged_ledger", "trouble", SIMULATION),
    ),
    f"{AGENT}/uplink.py": ("uplink", "agent", "trouble", "budget", SIMULATION),
    f"{AGENT}/relay.py": ("uplink", "agent", "trouble", "calendar", SIMULATION),
    f"{AGENT}/pairing.py": ("pairing", "agent", "nearest", "bounds", "calendar", SIMULATION),
    "edgemse/growing.py": (
        *("tests/test_growing.py", "agent", "tests/monitor/test_monitor.py", "trouble"),
        *("tests/monitor/test_observe.py", "budget", "bounds", "calendar", SIMULATION),
    ),
}
"""Of each file the tests that are about it, the likeliest first; a name alone is of tests/agent."""
FILES = tuple(NOTICE)
SLOW = (  # waits of real processes, floods and long lives, which say little more about these files
    "test_a_monitor_hears_that_nobody_knows_the_time",
    "test_a_forked_child_is_a_monitor_of_its_own",
    "test_every_sample_of_a_month_arrives_once",
    "test_devices_do_not_all_begin_at_once",
)
SHORT = {"EDGEMSE_DAMAGES": "25", "EDGEMSE_SERIES": "1", "EDGEMSE_SEEDS": "12"}
WANTED = 0.95
CPU_SECONDS_MAX, WAIT_SECONDS_MAX = 60, 600
"""The tests of a file take a few seconds: a mutant that takes so long runs, or waits, for ever."""


class Tried(NamedTuple):
    """A mutant and what became of it: caught, survived, or endless."""

    file: str
    mutant: Mutant
    end: str
    by: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.mutant.line}: {self.mutant.what}"
        return f"{self.end} {place} ({self.by or 'no test'})"


def chosen(seed: int, count: int, files: tuple[str, ...]) -> list[tuple[str, Mutant]]:
    """Return so many mutants, by chance from all that there are."""
    every = [(name, each) for name in files for each in mutants((ROOT / name).read_bytes())]
    print(f"{len(every)} mutants in {len(files)} files; {min(count, len(every))} by seed {seed}")
    return random.Random(seed).sample(every, min(count, len(every)))


class Campaign:
    """A pytest plugin that runs the collected tests once for each mutant, in forks."""

    def __init__(self, work: list[tuple[str, Mutant]]) -> None:
        self.tried: list[Tried] = []
        self.whole = True
        self._work = work

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try all mutants, unless the tests fail without any."""
        items = [item for item in session.items if not any(name in item.nodeid for name in SLOW)]
        capture = session.config.pluginmanager.getplugin("capturemanager")
        for name in {tests: name for name, tests in NOTICE.items()}.values():
            end, by = self._run(_of(name, items), None)
            if end != "survived":
                with capture.global_and_fixture_disabled():
                    print(f"{by} fails without any mutant")
                self.whole = False
                return True
        for name, mutant in self._work:
            end, by = self._run(_of(name, items), (name, mutant))
            if end != "nowhere":
                self.tried.append(Tried(name, mutant, end, by))
                with capture.global_and_fixture_disabled():
                    print(f"{len(self.tried)}: {self.tried[-1]}", flush=True)
        return True

    def _run(self, items: list[pytest.Item], mutant: tuple[str, Mutant] | None) -> tuple[str, str]:
        """Run the tests in a fork; return how that ended and what noticed."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX, CPU_SECONDS_MAX))
            os.write(writing, _noticed(items, mutant).encode())
            os._exit(0)
        os.close(writing)
        end = time.monotonic() + WAIT_SECONDS_MAX
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.02)
        _, status = os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read().decode()
        if os.WIFSIGNALED(status) or not said:
            return "endless", f"status {status}"
        return ("caught", said) if said not in ("survived", "nowhere") else (said, "")


def _tests(name: str) -> list[str]:
    return [test if "/" in test else f"tests/agent/test_{test}.py" for test in NOTICE[name]]


def _of(name: str, items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests that are about a file, the likely ones first."""
    return [item for test in _tests(name) for item in items if item.nodeid.startswith(test)]


def _noticed(items: list[pytest.Item], mutant: tuple[str, Mutant] | None) -> str:
    """Put the fault in and run the tests until one fails; return its name."""
    if mutant is not None:
        name, fault = mutant
        try:
            if not applied(module_of(name), (ROOT / name).read_bytes(), fault):
                return "nowhere"
        except Exception as error:
            return f"loading it: {type(error).__name__}"
    for item, following in zip(items, [*items[1:], None], strict=True):
        reports = runtestprotocol(item, log=False, nextitem=following)
        if any(report.failed for report in reports):
            return item.nodeid
    return "survived"


def main() -> int:
    """Try as many as the command line says, and print what no test noticed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=FILES, help="files instead of all")
    given = parser.parse_args()
    os.environ.update(SHORT)
    os.chdir(ROOT)
    logging.raiseExceptions = False
    campaign = Campaign(chosen(given.seed, given.count, tuple(given.only)))
    tests = {
        t if "/" in t else f"tests/agent/test_{t}.py" for each in NOTICE.values() for t in each
    }
    folder = tempfile.mkdtemp(prefix="edgemse-mutants-")
    options = ["-q", "-p", "no:cacheprovider", "-o", "timeout=0", f"--basetemp={folder}/tests"]
    pytest.main([*options, *sorted(tests)], plugins=[campaign])
    shutil.rmtree(folder)
    ends = Counter(each.end for each in campaign.tried)
    for each in sorted(each for each in campaign.tried if each.end == "survived"):
        print(each)
    share = 1 - ends["survived"] / len(campaign.tried) if campaign.tried else 0.0
    tried = {"seed": given.seed, "tried": len(campaign.tried)}
    print(json.dumps({**tried, **ends, "share": round(share, 4)}))
    return int(not campaign.whole or share < WANTED)


if __name__ == "__main__":
    sys.exit(main())
