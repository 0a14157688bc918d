"""The agent as a whole: when it commits, what it promises, and a disk that is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from edgemse_agent.agent import Agent
from edgemse_agent.ledger import Defect, Ledger
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine, parse
from edgemse_agent.settings import AgentSettings, DeliverySettings, WindowSettings
from support.clock import FakeClock

from edgemse.cells import unseal
from edgemse.errors import LedgerError
from edgemse.presence import Presence, encode_presence
from edgemse.wire import Ack, decode_report, encode_ack

NONE = (None, None, None, None)


class FullDisk(Ledger):
    """A ledger on a disk that can be full."""

    full = False

    def commit(self, *arguments: object, **named: object) -> list[Defect]:
        if self.full:
            raise LedgerError("database or disk is full")
        return super().commit(*arguments, **named)


class Bench:
    def __init__(self, path: Path, *, width_seconds: int = 60, **delivery: float) -> None:
        self.clock, self.path = FakeClock(), path
        self.settings = AgentSettings(
            "pi",
            windows=WindowSettings(width_seconds),
            delivery=DeliverySettings(**delivery),
        )
        self.start()

    def start(self) -> None:
        self.ledger = FullDisk(self.path)
        self.agent = Agent(self.settings, self.ledger, self.clock)
        self.agent.heard_collector("w", encode_presence(Presence(True, "s", "run")))

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
            out += [(c.revision, c.final, unseal(c).stats.count) for c in cells]
            if cells:
                held = {cell.identity: cell.revision for cell in cells}
                self.agent.heard_ack(encode_ack(Ack("w", held)))
        return out


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An agent with windows of five minutes, which are older than 75 seconds before they end."""
    with closing(Bench(tmp_path / "ledger", width_seconds=300)) as bench:
        yield bench


@pytest.mark.parametrize(("durable", "at"), [(75.0, 70.0), (5.0, 5.0 - 1 / 3)])
def test_a_sample_is_durable_before_it_is_that_old(
    durable: float, at: float, tmp_path: Path
) -> None:
    with closing(Bench(tmp_path / "l", width_seconds=300, durable_seconds=durable)) as bench:
        bench.sample()
        assert bench.after(at - 0.1) == []
        bench.sample()
        assert bench.after(0.11) == [(1, False, 2)]
        assert bench.after(1) == []


def test_a_minute_s_window_goes_out_once_and_final(tmp_path: Path) -> None:
    with closing(Bench(tmp_path / "l")) as bench:
        published = []
        for _ in range(600):
            bench.sample()
            published += bench.after(1)
        assert [(final, samples) for _, final, samples in published] == [(True, 60)] * 9


def test_a_hundred_late_labels_are_not_a_hundred_cells(tmp_path: Path) -> None:
    with closing(Bench(tmp_path / "l")) as bench:
        for number in range(100):
            bench.agent.take(PredictionLine(str(number), NONE, 3.0, 1.0, None))
        published = []
        for number in range(100):
            published += bench.after(0 if number else 600)
            bench.agent.take(LabelLine(str(number), NONE, 1.0, None))
            published += bench.after(1)
        published += bench.after(100)
        assert sum(samples for _, final, samples in published if final) == 100
        assert len(published) <= 4


def test_what_is_waited_for_does_not_wait(bench: Bench) -> None:
    bench.sample()
    assert bench.after(1) == []
    bench.agent.flush(None)
    assert bench.after(0.2) == [(1, False, 1)]
    bench.agent.flush(None)
    assert bench.after(0.2) == []
    bench.sample()
    assert bench.after(0.2) == []


def test_many_lines_do_not_wait_for_their_age(bench: Bench) -> None:
    for _ in range(9_999):
        bench.sample()
    assert bench.after(1) == []
    assert bench.ledger.waiting == 0
    bench.sample()
    assert bench.after(1) == []
    assert bench.ledger.waiting == 1
    bench.close()
    bench.start()
    assert bench.after(0) == [(2, True, 10_000)]


def test_a_window_that_is_over_is_closed_though_nothing_more_comes(bench: Bench) -> None:
    bench.sample()
    assert bench.after(70) == [(1, False, 1)]
    assert bench.after(30) == []
    published = [cell for _ in range(300) for cell in bench.after(1)]
    assert published == [(2, True, 1)]
    assert bench.agent.waiting == 0


def test_cells_left_open_by_a_killed_run_are_closed_by_the_next(bench: Bench) -> None:
    bench.sample()
    bench.after(70)
    bench.sample()
    bench.close()
    bench.start()
    assert bench.after(0) == [(2, True, 1)]


def test_a_prediction_outlives_the_run_and_meets_its_label_in_the_next(bench: Bench) -> None:
    bench.agent.take(PredictionLine("1", NONE, 3.0, 1.0, None))
    bench.after(70)
    bench.close()
    bench.start()
    bench.agent.take(LabelLine("1", NONE, 1.0, None))
    assert [samples for _, _, samples in bench.after(70)] == [0, 1]


def test_pairing_ages_only_while_the_agent_runs(bench: Bench) -> None:
    bench.agent.take(PredictionLine("1", NONE, 3.0, 1.0, None))
    bench.after(70)
    bench.close()
    bench.clock.passed += 1e6  # a fortnight without power
    bench.start()
    bench.agent.tick()
    assert len(bench.agent.pairing) == 1
    bench.after(3_529)
    assert len(bench.agent.pairing) == 1
    bench.after(2)
    assert len(bench.agent.pairing) == 0


def test_a_full_disk_keeps_everything_in_memory_and_says_so(bench: Bench) -> None:
    bench.ledger.full = True
    for _ in range(30):
        bench.sample()
        assert bench.after(10) == []
    failed = bench.agent.counters["commits_failed"]
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
        assert bench.agent.ledger.waiting <= 101
        assert bench.agent.counters["cells_coarsened"] > 400
        bench.agent.heard_collector("w", encode_presence(Presence(True, "s", "run")))
        published = [cell for _ in range(200) for cell in bench.after(10)]
        assert sum(samples for _, final, samples in published if final) == 600
        assert bench.agent.monitor_width_seconds == 60


def test_a_disk_that_fills_while_coarsening_costs_nothing(tmp_path: Path) -> None:
    with closing(Bench(tmp_path / "l", ledger_cells_max=100)) as bench:
        bench.agent.uplink.disconnected()
        coarsen, calls = bench.ledger.coarsenable, []

        def filling(*arguments: int) -> object:
            bench.ledger.full = len(calls) < 50
            calls.append(arguments)
            return coarsen(*arguments)

        bench.ledger.coarsenable = filling  # type: ignore[method-assign]
        for _ in range(300):
            bench.sample()
            bench.after(60)
            bench.ledger.full = False
        assert bench.agent.counters["commits_failed"] >= 50
        assert bench.agent.status().last_error.startswith("database or disk is full")
        bench.agent.heard_collector("w", encode_presence(Presence(True, "s", "run")))
        published = [cell for _ in range(200) for cell in bench.after(10)]
        assert sum(samples for _, final, samples in published if final) == 300


def test_a_loss_and_a_measure_are_cells_of_their_own(bench: Bench) -> None:
    bench.agent.take(SampleLine(NONE, 1.0, 3.0, 1.0, None, "", "loss:huber(delta=1)"))
    bench.agent.take(SampleLine(NONE, 0.0, 0.25, 1.0, None, "latency"))
    bench.agent.take(PredictionLine("7", NONE, 3.0, 1.0, None, "loss:huber(delta=1)"))
    bench.agent.take(LabelLine("7", NONE, 1.0, None))
    bench.clock.passed += 70
    cells = [unseal(c) for report in bench.agent.tick() for c in decode_report(report).cells]
    found = {c.series.measure: (c.stats.count, c.stats.bias, c.coverage.matched) for c in cells}
    assert found == {
        "": (2, 2.0, 1),
        "loss:huber(delta=1)": (2, 1.5, 0),
        "latency": (1, 0.25, 0),
    }


def test_attributes_remember_since_when_they_hold(bench: Bench) -> None:
    def say(**attributes: str) -> dict[str, tuple[str, int | None]]:
        bench.agent.settings = replace(bench.agent.settings, attributes=attributes)
        return {n: (a.value, a.since) for n, a in bench.agent.attributes().items()}

    assert say(site="north") == {"site": ("north", 0)}
    bench.clock.passed += 100
    assert say(site="south") == {"site": ("south", 1_767_225_600 + 3_600)}
    bench.clock.passed += 10_000
    bench.close()
    bench.start()
    assert say(site="south") == {"site": ("south", 1_767_225_600 + 3_600)}
    bench.clock.is_synchronised = False
    assert say(site="west") == {"site": ("west", None)}


def test_another_store_than_before_is_counted_and_said(bench: Bench) -> None:
    for store in ("a", "a", "b", ""):
        bench.agent.heard_ack(encode_ack(Ack("w", {}, store=store)))
    assert bench.agent.counters["stores_changed"] == 1
    assert bench.agent.status().store == "b"


def test_the_producer_is_in_no_presence(bench: Bench) -> None:
    assert bench.agent.run
    assert bench.agent.growing.producer.hex() not in bench.agent.run


def test_messages_that_cannot_be_read_are_counted(bench: Bench) -> None:
    bench.agent.heard_ack(b"junk")
    bench.agent.heard_collector("w", b"{}")
    assert bench.agent.counters["messages_bad"] == 2
    assert bench.agent.uplink.online
    bench.agent.heard_collector("w", b"")
    assert not bench.agent.uplink.online


def test_what_comes_beside_a_prediction_counts_once_whatever_comes_again(tmp_path: Path) -> None:
    with closing(Bench(tmp_path / "l")) as bench:
        line = parse(b'{"id": 1, "y_pred": 2, "latency": 0.5, "features": {"t": 1}}').line
        assert isinstance(line, PredictionLine)
        assert bench.agent.take(line)
        assert not bench.agent.take(line)
        whole = b'{"y_true": 1, "y_pred": 2, "latency": 0.5, "lower": 0, "upper": 4}'
        sample = parse(whole).line
        assert isinstance(sample, SampleLine)
        assert bench.agent.take(sample)
        found = {c.series.measure: (c.stats.count, c.stats.bias) for c in bench.agent.growing}
        assert found == {
            "": (1, 1.0),
            "latency": (2, 0.5),
            "feature:t": (1, 1.0),
            "interval:covered": (1, 1.0),
            "interval:width": (1, 4.0),
        }
