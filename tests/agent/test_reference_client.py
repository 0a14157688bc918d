"""The client of docs/client.md, run as it stands there, while its agent is killed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.ledger import Ledger
from edgemse_agent.service import hardware_serial
from support.agent import AgentProcess
from support.waiting import eventually

from edgemse.cells import unseal

PAGE = Path(__file__).parent.parent.parent / "docs" / "client.md"
LINES = 6_000


@pytest.fixture
def client(tmp_path: Path) -> Path:
    found = re.search(r"<!-- client\.py -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    path = tmp_path / "client.py"
    path.write_text(found[1])
    return path


def counted(agent: AgentProcess) -> int:
    """How many samples the ledger holds; the agent must not run."""
    with closing(Ledger(agent.ledger, hardware=hardware_serial())) as ledger:
        assert ledger.set_aside is None
        return sum(unseal(held.cell).stats.count for held in ledger.due(10_000))


def test_it_is_short_and_needs_the_standard_library_only(client: Path) -> None:
    code = [line for line in client.read_text().splitlines() if line.strip()]
    assert len(code) < 80
    (used,) = re.findall(r"^import (.+)$", client.read_text(), re.MULTILINE)
    assert set(used.split(", ")) <= sys.stdlib_module_names


def test_no_line_is_lost_nor_counted_twice_though_the_agent_is_killed(
    tmp_path: Path, client: Path
) -> None:
    agent = AgentProcess(tmp_path, "127.0.0.1:1", "5", durable_seconds=1.0, farewell_seconds=0.2)
    command = [sys.executable, str(client), str(agent.socket)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        try:
            for start in range(0, LINES, LINES // 6):
                if start:
                    agent.kill()
                if start != LINES // 2:  # once it is away for longer
                    agent.start()
                for number in range(start, start + LINES // 6):
                    line = {"y_true": 1.0, "y_pred": 1.5, "segment": str(number % 3)}
                    running.stdin.write(json.dumps(line).encode() + b"\n")
                running.stdin.flush()
                if start != LINES // 2:
                    eventually(lambda: agent.status()["health"]["samples"] > 0, 30)
            running.stdin.close()
            assert running.wait(60) == 0
            assert running.stderr is not None
            assert running.stderr.read() == b""
        finally:
            running.kill()
            agent.kill()
    assert counted(agent) == LINES


def test_a_bad_line_is_told_and_another_ledger_is_begun_anew(tmp_path: Path, client: Path) -> None:
    agent = AgentProcess(tmp_path, "127.0.0.1:1", "5", durable_seconds=75, farewell_seconds=0.2)
    agent.start()
    lines = b'{"y_true": 1, "y_pred": 2}\n{"y_true": "x"}\n{"y_true": 1, "y_pred": 3}\n'
    command = [sys.executable, str(client), str(agent.socket)]
    done = subprocess.run(command, input=lines, capture_output=True, timeout=60)
    agent.kill()
    assert done.returncode == 0
    assert b"line 3: y_true: got text, wanted a number" in done.stderr
    assert counted(agent) == 2
