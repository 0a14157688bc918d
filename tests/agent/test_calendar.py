"""A device that does not know the time: it measures, exposes nothing, and places it later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.agent import Agent
from edgemse_agent.calendar import Span, Timeline, follow_spans, placed_spans
from edgemse_agent.clock import SystemClock
from edgemse_agent.ledger import Ledger
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine, parse
from edgemse_agent.settings import AgentSettings
from support.agent import AgentProcess
from support.broker import Mosquitto
from support.clock import FakeClock
from support.processes import CollectorProcess, total_of
from support.waiting import eventually

from edgemse import Monitor
from edgemse.cells import UNPLACED_SECONDS, Identity, SealedCell, Series, Window, unseal
from edgemse.errors import LedgerError
from edgemse.presence import Presence, encode_presence
from edgemse.stats.error_stats import ErrorStats
from edgemse.wire import Ack, decode_report, encode_ack

NONE = (None, None, None, None)
NOON = 1_767_225_600.0 + 43_200
"""When FakeClock's device booted, if it had known it."""


class Device:
    """An agent whose device booted at NOON and does not know it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock(0.0)
        self.clock.is_synchronised = False
        self.clock.passed = -1_000.0  # the monotonic clock of FakeClock begins at 1000
        self.start()

    def start(self) -> None:
        self.agent = Agent(AgentSettings("pi"), Ledger(self.path), self.clock)
        self.agent.heard_collector("w", encode_presence(Presence(True, "s", "run")))

    def restart(self) -> None:
        self.close()
        self.start()

    def power_cut(self, name: str) -> None:
        self.close()
        self.clock.boot_id, self.clock.passed = name, -1_000.0
        self.start()

    def close(self) -> None:
        if self.agent.ledger.owes:  # else what was acknowledged is sent once more
            self.agent.ledger.commit()
        self.agent.ledger.close()

    def measure(self, error: float = 1.0) -> None:
        self.agent.take(SampleLine(NONE, 0.0, error, 1.0, None))

    def learn(self, wall: float) -> None:
        """Let the kernel say that it is that time."""
        self.clock._start = wall - self.clock.passed
        self.clock.is_synchronised = True

    def after(self, seconds: float) -> list[tuple[int, int]]:
        """Return start and samples of every cell published then, and acknowledge."""
        self.clock.passed += seconds
        found = []
        for report in self.agent.tick():
            cells = decode_report(report).cells
            found += [(c.window.start, unseal(c).stats.count) for c in cells]
            held = {cell.identity: cell.revision for cell in cells}
            self.agent.heard_ack(encode_ack(Ack("w", held)))
        return sorted(found)

    def count(self, name: str) -> int:
        return self.agent.status().health[name]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with closing(Device(tmp_path / "l")) as device:
        yield device


def test_nothing_is_exposed_before_the_time_is_known_and_all_of_it_then(device: Device) -> None:
    for _ in range(10):
        device.measure()
        assert device.after(60) == []
    status = device.agent.status()
    assert (status.clock_placed, status.clock_synchronised) == (False, False)
    assert device.count("cells_unplaced") == 10
    device.learn(NOON + 605.0)
    found = device.after(5.0)
    assert [start for start, _ in found] == [NOON + 60 * minute for minute in range(10)]
    assert device.agent.status().clock_placed
    assert (device.count("cells_placed"), device.count("cells_unplaced")) == (10, 0)
    assert device.count("cells_placed_between") == 0
    device.measure()
    assert device.after(70) == [(int(NOON) + 600, 1)]


def test_an_agent_that_starts_again_goes_on_with_the_same_boot(device: Device) -> None:
    device.measure()
    device.after(70)
    device.restart()
    device.measure()
    device.after(70)
    device.restart()
    device.learn(NOON + 140.0)
    assert device.after(0.2) == [(int(NOON), 1), (int(NOON) + 60, 1)]


def test_a_time_that_is_lost_again_goes_on_by_the_boot_s_clock(device: Device) -> None:
    device.learn(NOON)
    device.after(1)
    device.clock.is_synchronised = False
    device.clock._start += 86_400 * 365  # somebody sets the clock by hand
    device.measure()
    device.clock.slept += 7_200.0
    device.measure()
    assert device.after(70) == [(int(NOON), 1), (int(NOON) + 7_200, 1)]
    device.restart()  # which does not ask the kernel again
    device.measure()
    assert device.after(70) == [(int(NOON) + 7_260, 1)]


def test_a_prediction_keeps_its_window_when_its_label_comes_after_the_time(device: Device) -> None:
    device.agent.take(PredictionLine("7", NONE, 3.0, 1.0, None))
    device.after(130)
    device.learn(NOON + 130.0)
    assert device.after(0.2) == [(int(NOON), 0)]  # that a prediction was made
    device.restart()
    device.agent.take(LabelLine("7", NONE, 1.0, None))
    assert device.after(80) == [(int(NOON), 1)]


@pytest.mark.parametrize("boots", [1, 2])
def test_after_a_power_cut_cells_lie_between_what_is_known(boots: int, device: Device) -> None:
    device.learn(NOON)
    device.measure()
    assert device.after(70) == [(int(NOON), 1)]
    device.clock.is_synchronised = False
    for number in range(boots):
        device.power_cut(f"boot {number + 2}")
        device.measure()
        device.after(0)
        device.after(70)
    device.power_cut("the last boot")
    device.learn(NOON + 36_000.0)
    starts = [start for start, _ in device.after(0.2)]
    free = (36_000 - 70 - 70 * boots) / (boots + 1)
    wanted = [NOON + 70 + free * (n + 1) + 70 * n for n in range(boots)]
    assert starts == pytest.approx(wanted, abs=60)
    assert device.count("cells_placed_between") == boots
    device.measure()
    assert device.after(70) == [(int(NOON) + 36_000, 1)]


def test_a_ledger_that_never_knew_the_time_ends_where_it_is_known() -> None:
    spans = [Span(UNPLACED_SECONDS, UNPLACED_SECONDS + 100)]
    now = Timeline("b", UNPLACED_SECONDS + 86_400, UNPLACED_SECONDS + 86_400)
    place = follow_spans(placed_spans(spans, now, NOON, UNPLACED_SECONDS + 86_400))
    assert place(UNPLACED_SECONDS + 40) == NOON - 60
    assert place(UNPLACED_SECONDS + 86_401) == NOON + 1
    assert place(5.0) == 5.0


@pytest.mark.parametrize("step", [7_200.0, -7_200.0, -86_400.0 * 3_650])
def test_a_clock_that_is_set_costs_no_sample(step: float, device: Device) -> None:
    device.learn(NOON + 86_400 * 3_650)
    device.measure()
    found = device.after(1)
    device.clock._start += step
    found += device.after(1)  # sees it
    device.measure()
    found += device.after(70)
    assert [count for _, count in found] == [1, 1]
    assert found[1][0] - found[0][0] == step
    assert device.count("clock_steps") == 1


def test_a_disk_that_is_full_when_the_time_is_known_is_waited_for(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.measure()
    device.after(70)
    device.learn(NOON + 70.0)
    with monkeypatch.context() as patch:

        def full(*_arguments: object) -> None:
            raise LedgerError("database or disk is full")

        patch.setattr(Ledger, "place", full)
        assert device.after(1) == []
        device.measure()
        assert device.after(0.5) == []
    assert device.after(71) == [(int(NOON), 1), (int(NOON) + 60, 1)]


def test_a_monitor_s_cells_are_placed_on_their_way(device: Device) -> None:
    stats = ErrorStats()
    stats.update(0.0, 1.0)

    def cell(revision: int, *, final: bool) -> SealedCell:
        window = Window(UNPLACED_SECONDS, 60)
        state = stats.to_bytes()
        return SealedCell(Identity(b"m" * 16, 0), revision, final, Series("m"), window, state, None)

    told: list[int] = []
    device.agent.take_cell(cell(1, final=False), lambda _, revision: told.append(revision))
    device.after(1)
    assert device.count("cells_unplaced") == 1
    device.after(80)  # the ledger takes it
    assert (told, device.count("cells_unplaced")) == ([1], 1)
    device.learn(NOON + 81.0)
    assert device.after(0.2) == [(int(NOON), 1)]
    device.agent.take_cell(cell(2, final=True), lambda _, revision: told.append(revision))
    assert device.after(1) == [(int(NOON), 1)]
    assert told[-1] == 2


def test_a_line_may_say_the_boot_s_second(device: Device) -> None:
    device.clock.passed += 600.0
    line = parse(b'{"y_true": 1, "y_pred": 2, "boot": 30.5}').line
    assert isinstance(line, SampleLine)
    device.agent.take(line)
    device.learn(NOON + 600.0)
    assert device.after(70) == [(int(NOON), 1)]
    wrong = parse(b'{"y_true": 1, "y_pred": 2, "boot": 1, "ts": 1767225600}').wrong
    assert "ts beside boot" in wrong


@pytest.mark.parametrize(
    ("trust", "passed", "takes"),
    [
        ("wall", 0.0, True),
        ("wall", 1e11, True),
        ("auto", 0.0, True),
        ("auto", 1e11, False),
        ("kernel", 0.0, False),
    ],
)
def test_whose_word_is_taken(
    trust: str, passed: float, takes: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(SystemClock, "synchronised", lambda _self: False)
    monkeypatch.setattr("edgemse_agent.clock.DEVICE_TREE", tmp_path / "none")
    clock = SystemClock(trust)
    assert clock.trusted(passed) == takes
    assert clock.boot() >= clock.monotonic() - 1.0
    assert clock.boot_id == SystemClock(trust).boot_id
    monkeypatch.setattr("edgemse_agent.clock.DEVICE_TREE", tmp_path)
    assert SystemClock("auto").trust == "kernel"


def test_a_monitor_hears_that_nobody_knows_the_time(broker: Mosquitto, tmp_path: Path) -> None:
    """By the processes themselves: what waits for the kernel's word is placed when it is given."""
    collector = CollectorProcess(tmp_path / "fleet.duckdb", broker.address)
    collector.start()
    agent = AgentProcess(
        tmp_path, broker.address, "5", clock_trust="kernel", farewell_seconds=0.5
    )  # it cannot send what it cannot place, and need not wait for that
    agent.start()
    try:
        with Monitor(socket=agent.socket, model="m") as monitor:
            for _ in range(5):
                monitor.observe(1.0, 2.0)
            monitor.flush()
            monitor.observe(1.0, 2.0)
            monitor.predict("1", 2.0)
        status = agent.status()
        if status["clock_synchronised"]:  # the kernel of this machine knows the time
            assert status["clock_placed"]
        else:
            assert (status["clock_placed"], status["health"]["cells_unplaced"] > 0) == (False, True)
        assert agent.stop() == 0
        agent.trust_clock("wall")
        agent.start()
        with Monitor(socket=agent.socket, model="m") as monitor:
            monitor.label("1", 1.0)
        eventually(lambda: not agent.status()["cells_waiting"])
        assert total_of(collector.url)["total"]["count"] == 7
    finally:
        agent.kill()
        collector.close()
