"""Floods: each bound holds, and somebody can see what it cost."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.agent import Agent
from edgemse_agent.calendar import SPANS_MAX, Calendar, Span, Timeline
from edgemse_agent.intake.clients import Clients
from edgemse_agent.ledger import SESSIONS_MAX, Ledger
from edgemse_agent.lines import PredictionLine
from edgemse_agent.settings import AgentSettings, PairingSettings, read
from support.agent import AgentProcess
from support.broker import free_port
from support.clock import FakeClock

from edgemse.cells import UNPLACED_SECONDS
from edgemse.errors import LedgerError, SettingsError

NONE = (None, None, None, None)


def test_sessions_are_bounded_while_the_ledger_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_arguments: object, **_named: object) -> None:
        raise LedgerError("database or disk is full")

    with closing(Ledger(None)) as ledger:
        agent = Agent(AgentSettings("pi"), ledger, FakeClock())
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "commit", full)
            for number in range(2 * SESSIONS_MAX + 100):
                replies: list[bytes] = []
                client = Clients(agent).join(replies.append, "test")
                client.feed(json.dumps({"session": str(number), "from": 0}).encode() + b"\n")
                client.feed(b'{"n": 0, "y_true": 1, "y_pred": 2}\n')
        assert b"too many sessions" in replies[0]
        health = agent.status().health
        assert (health["sessions_refused"], health["lines_ignored"]) == (100, 100)
        assert health["samples"] == 2 * SESSIONS_MAX
        assert agent.commit()
        assert len(agent.ledger.sessions()) == SESSIONS_MAX
        client = Clients(agent).join(replies.append, "test")
        client.feed(b'{"session": "late", "from": 0}\n{"n": 0, "y_true": 1, "y_pred": 2}\n')
        assert agent.received("late") == 1


def test_predictions_without_labels_are_bounded_and_counted() -> None:
    settings = AgentSettings("pi", pairing=PairingSettings(pending_max=100))
    with closing(Ledger(None)) as ledger:
        agent = Agent(settings, ledger, FakeClock())
        for number in range(10_000):
            agent.take(PredictionLine(str(number), NONE, 1.0, 1.0, None))
        assert agent.commit()
        health = agent.status().health
        assert (len(agent.pairing), health["pending_evicted"]) == (100, 9_900)
        assert len(list(ledger.entries())) == 100
        (cell,) = [each.cell for each in ledger.due(9)] or [None]
        assert cell is not None


def test_boots_that_never_knew_the_time_are_bounded() -> None:
    clock = FakeClock()
    clock.is_synchronised = False
    spans = [
        Span(UNPLACED_SECONDS + 86_400.0 * n, UNPLACED_SECONDS + 86_400.0 * n + 60)
        for n in range(SPANS_MAX)
    ]
    offset = UNPLACED_SECONDS + 86_400.0 * SPANS_MAX
    calendar = Calendar(clock, Timeline("a boot before", offset, offset + 60), spans)
    assert len(calendar.spans) == SPANS_MAX
    assert calendar.left == [spans[-1]._replace(until=offset + 60)]
    assert calendar.offset == offset + 86_400


def test_counters_are_there_for_prometheus(tmp_path: Path) -> None:
    port = free_port()
    agent = AgentProcess(tmp_path, "127.0.0.1:1", "5", farewell_seconds=0.1)
    agent.config.write_text(f'metrics = "127.0.0.1:{port}"\n' + agent.config.read_text())
    agent.start()

    def ask(request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65_536):
                answer += chunk
        return answer

    try:
        answer = ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\nedgemse_agent_samples_total 0\n" in answer
        assert b"# TYPE edgemse_agent_cells_waiting gauge\n" in answer
        assert ask(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert ask(b"x" * 20_000 + b"\r\n\r\n") == b""
    finally:
        assert agent.stop() == 0


def test_an_address_for_metrics_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('device = "pi"\nmetrics = "9464"\n')
    with pytest.raises(SettingsError, match="metrics: got '9464', wanted HOST:PORT"):
        read(path)
