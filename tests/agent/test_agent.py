"""The agent as a whole: when it commits, what it promises, and a disk that is full."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.agent import Agent
from edgemse_agent.ledger import Ledger
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine
from edgemse_agent.settings import AgentSettings, DeliverySettings
from support.clock import FakeClock

from edgemse.cells import unseal
from edgemse.wire import Ack, State, decode_report, encode_ack, encode_state

NONE = (None, None, None, None)


class FullDisk(Ledger):
    """A ledger on a disk that can be full."""

    full = False

    def commit(self, *arguments: object, **named: object) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        super().commit(*arguments, **named)


class Bench:
    def __init__(self, path: Path, **delivery: float) -> None:
        self.clock, self.path = FakeClock(), path
        self.settings = AgentSettings("pi", delivery=DeliverySettings(**delivery))
        self.start()

    def start(self) -> None:
        self.ledger = FullDisk(self.path)
        self.agent = Agent(self.settings, self.ledger, self.clock)
        self.agent.heard_collector("w", encode_state(State(True, "s", "run")))

    def close(self) -> None:
        self.ledger.close()

    def sample(self, error: float = 1.0) -> None:
        self.agent.take(SampleLine(NONE, 0.0, error, 1.0, None))

    def after(self, seconds: float) -> list[tuple[int, bool, int]]:
        """Return (revision, final, samples) of every cell published then, and acknowledge."""
        self.clock.passed += seconds
        out = []
        for report in self.agent.tick():
            cells = decode_report(report).cells
            out += [(c.revision, c.final, unseal(c, "").stats.count) for c in cells]
            if cells:
                held = {cell.identity: cell.revision for cell in cells}
                self.agent.heard_ack(encode_ack(Ack("w", held)))
        return out


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with closing(Bench(tmp_path / "ledger")) as bench:
        yield bench


def test_a_sample_is_durable_and_sent_after_commit_seconds(bench: Bench) -> None:
    bench.sample()
    assert bench.after(19.9) == []
    bench.sample()
    assert bench.after(0.2) == [(1, False, 2)]
    assert bench.after(10) == []


def test_a_window_that_is_over_is_closed_though_nothing_more_comes(bench: Bench) -> None:
    bench.sample()
    assert bench.after(20) == [(1, False, 1)]
    assert bench.after(30) == []
    published = [cell for _ in range(100) for cell in bench.after(1)]
    assert published == [(2, True, 1)]
    assert bench.agent.waiting == 0


def test_cells_left_open_by_a_killed_run_are_closed_by_the_next(bench: Bench) -> None:
    bench.sample()
    bench.after(20)
    bench.sample()
    bench.close()
    bench.start()
    assert bench.after(0) == [(2, True, 1)]


def test_a_prediction_outlives_the_run_and_meets_its_label_in_the_next(bench: Bench) -> None:
    bench.agent.take(PredictionLine("1", NONE, 3.0, 1.0, None))
    bench.after(20)
    bench.close()
    bench.start()
    bench.agent.take(LabelLine("1", NONE, 1.0, None))
    assert [samples for _, _, samples in bench.after(20)] == [0, 1]


def test_pairing_ages_only_while_the_agent_runs(bench: Bench) -> None:
    bench.agent.take(PredictionLine("1", NONE, 3.0, 1.0, None))
    bench.after(20)
    bench.close()
    bench.clock.passed += 1e6  # a fortnight without power
    bench.start()
    bench.agent.tick()
    assert len(bench.agent.pairing) == 1
    bench.after(3_579)
    assert len(bench.agent.pairing) == 1
    bench.after(2)
    assert len(bench.agent.pairing) == 0


def test_a_full_disk_keeps_everything_in_memory_and_says_so(bench: Bench) -> None:
    bench.ledger.full = True
    for _ in range(30):
        bench.sample()
        assert bench.after(10) == []
    failed = bench.agent.health["commits_failed"]
    assert 5 <= failed <= 30
    assert not bench.agent.commit(everything=True)
    bench.ledger.full = False
    published = bench.after(10)
    assert sum(samples for _, _, samples in published) == 30


def test_a_long_backlog_is_coarsened_and_monitors_are_told(tmp_path: Path) -> None:
    with closing(Bench(tmp_path / "l", ledger_cells_max=100)) as bench:
        bench.agent.uplink.disconnected()
        for _ in range(600):
            bench.sample()
            bench.after(60)
        assert bench.agent.monitor_width_seconds == 3_600
        assert bench.agent.ledger.count()[0] <= 101
        assert bench.agent.health["cells_coarsened"] > 400
        bench.agent.heard_collector("w", encode_state(State(True, "s", "run")))
        published = [cell for _ in range(200) for cell in bench.after(10)]
        assert sum(samples for _, final, samples in published if final) == 600
        assert bench.agent.monitor_width_seconds == 60


def test_messages_that_cannot_be_read_are_counted(bench: Bench) -> None:
    bench.agent.heard_ack(b"junk")
    bench.agent.heard_collector("w", b"{}")
    assert bench.agent.health["messages_bad"] == 2
    assert bench.agent.uplink.online
    bench.agent.heard_collector("w", b"")
    assert not bench.agent.uplink.online
