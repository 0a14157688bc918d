"""Joining by time: the nearest label within the tolerance, once a prediction, over restarts."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.agent import Agent
from edgemse_agent.intake import nearest
from edgemse_agent.intake.nearest import NearestJoin
from edgemse_agent.ledger import Ledger
from edgemse_agent.lines import LabelLine, PredictionLine
from edgemse_agent.settings import AgentSettings
from support.clock import FakeClock

from edgemse import Coverage

NONE = (None, None, None, None)
START = FakeClock().wall()


class Bench:
    def __init__(self, path: Path) -> None:
        self.clock, self.path, self.unpaired = FakeClock(), path, 0
        self.start()

    def start(self) -> None:
        self.agent = Agent(AgentSettings("pi"), Ledger(self.path), self.clock)
        self.join = NearestJoin(self.agent, self.clock, 10.0, self.count)

    def count(self, labels: int) -> None:
        self.unpaired += labels

    def close(self) -> None:
        self.agent.ledger.close()

    def predict(self, y_pred: float, at: float | None = None, join: str = "j") -> None:
        time = None if at is None else START + at
        self.join.predict(join, PredictionLine("", NONE, y_pred, 1.0, time), 10.0)

    def label(self, y_true: float, at: float | None = None, join: str = "j") -> None:
        time = None if at is None else START + at
        self.join.label(join, LabelLine("", NONE, y_true, time))

    def after(self, seconds: float) -> None:
        self.clock.passed += seconds
        self.join.tick()

    def pairs(self) -> tuple[int, float]:
        """How many samples, and the sum of their errors."""
        cells = list(self.agent.growing)
        count = sum(c.stats.count for c in cells)
        return count, sum(c.stats.count * c.stats.bias for c in cells if c.stats.count)

    def coverage(self) -> Coverage:
        found = Coverage()
        for cell in self.agent.growing:
            found.merge(cell.coverage)
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with closing(Bench(tmp_path / "ledger")) as bench:
        yield bench


def test_the_nearer_of_the_two_labels_around_is_taken(bench: Bench) -> None:
    bench.label(1.0, 0.0)
    bench.predict(100.0, 4.0)
    assert bench.pairs() == (0, 0.0)  # one that comes may be nearer
    bench.label(2.0, 6.0)
    assert bench.pairs() == (1, 98.0)
    bench.predict(100.0, 7.0)
    bench.label(3.0, 12.0)
    assert bench.pairs() == (2, 98.0 + 98.0)


def test_what_came_is_taken_when_the_tolerance_is_over(bench: Bench) -> None:
    bench.label(1.0)
    bench.after(3.0)
    bench.predict(5.0)
    bench.after(9.9)
    assert bench.pairs() == (0, 0.0)
    bench.after(0.2)
    assert bench.pairs() == (1, 4.0)
    assert bench.coverage().matched == 1
    assert len(bench.join) == 0


def test_labels_of_a_join_that_fell_silent_are_let_go_and_counted(bench: Bench) -> None:
    bench.label(1.0, join="misspelt")
    bench.label(1.0, join="met")
    bench.predict(2.0, join="met")
    bench.predict(2.0, 40.0, join="ahead")
    bench.label(1.0, join="ahead")
    bench.after(19.9)
    assert bench.unpaired == 0
    bench.label(1.0, join="talks")
    bench.after(0.2)
    assert bench.unpaired == 1  # of "misspelt"; "met" has served, "ahead" is still waited for
    bench.after(30.0)
    assert bench.unpaired == 3
    bench.predict(2.0, 0.0, join="misspelt")
    bench.after(10.1)
    assert bench.coverage().matched == 1


def test_a_prediction_without_a_label_near_enough_has_expired(bench: Bench) -> None:
    bench.label(1.0, -10.1)
    bench.predict(5.0, 0.0)
    bench.label(1.0, 10.1)
    assert len(bench.join) == 1
    bench.after(10.1)
    covered = bench.coverage()
    assert (covered.predictions, covered.matched, covered.expired) == (1, 0, 1)
    assert (len(bench.join), len(bench.agent.pairing)) == (0, 0)


def test_a_label_serves_several_and_one_that_serves_none_is_counted(bench: Bench) -> None:
    bench.predict(1.0, 0.0)
    bench.predict(2.0, 1.0)
    bench.label(0.0, 2.0)
    assert bench.pairs() == (2, 3.0)
    for at in (3.0, 4.0, 100.0):
        bench.label(0.0, at)
    assert bench.unpaired == 2


@pytest.mark.parametrize("seed", range(50))
def test_it_pairs_as_a_search_through_everything_would(bench: Bench, seed: int) -> None:
    """Both streams in the order of their times, which is what sensors and models send."""
    rng = random.Random(seed)
    now, predictions, labels = 0.0, [], []
    for number in range(200):
        step = rng.choice([0.0, 0.5, 3.0, 12.0, 30.0])
        now += step
        bench.after(step)
        if rng.random() < 0.5:
            predictions.append(now)
            bench.predict(1000.0)
        else:
            labels.append((now, 2.0**-number))
            bench.label(2.0**-number)
    bench.after(10.1)
    wanted = []
    for at in predictions:
        near = [(abs(time - at), time, y) for time, y in labels if abs(time - at) <= 10.0]
        if near:
            least = min(off for off, _, _ in near)
            wanted.append({1000.0 - y for off, _, y in near if off == least})
    covered = bench.coverage()
    assert (covered.matched, covered.expired) == (len(wanted), len(predictions) - len(wanted))
    count, total = bench.pairs()
    assert count == len(wanted)
    assert sum(map(min, wanted)) - 1e-6 <= total <= sum(map(max, wanted)) + 1e-6


@pytest.mark.parametrize("y_true", [math.nan, math.inf])
def test_a_label_that_is_no_number_decides_nothing(bench: Bench, y_true: float) -> None:
    bench.predict(1.0, 0.0)
    bench.label(y_true, 1.0)
    assert bench.agent.counters["labels_nonfinite"] == 1
    bench.label(0.5, 2.0)
    assert bench.pairs() == (1, 0.5)


def test_joins_are_apart(bench: Bench) -> None:
    bench.predict(1.0, 0.0, "a")
    bench.label(0.0, 0.0, "b")
    assert bench.pairs() == (0, 0.0)
    bench.label(0.0, 0.0, "a")
    assert bench.pairs() == (1, 1.0)


def test_a_prediction_of_a_time_to_come_waits_for_that_time(bench: Bench) -> None:
    bench.predict(1.0, 600.0)
    bench.after(605.0)
    assert len(bench.join) == 1
    bench.label(0.0)
    assert bench.pairs() == (1, 1.0)


@pytest.mark.parametrize("label", [True, False])
def test_what_waits_survives_a_restart(bench: Bench, label: bool) -> None:
    bench.predict(1.0)
    assert bench.agent.commit()
    bench.close()
    bench.start()
    assert len(bench.join) == 1
    if label:
        bench.label(0.0)
        assert bench.pairs() == (1, 1.0)
    bench.after(10.1)
    assert bench.coverage().expired == (not label)


def test_floods_are_bounded_and_every_prediction_is_counted_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "JOINS_MAX", 5)
    monkeypatch.setattr(nearest, "LABELS_MAX", 5)
    monkeypatch.setattr(nearest, "WAITING_MAX", 20)
    monkeypatch.setattr(nearest, "JOIN_WAITING_MAX", 8)
    monkeypatch.setattr(nearest, "HELD_MAX", 12)
    rng = random.Random(1)
    for _ in range(2_000):
        at, join = rng.uniform(-5, 5), str(rng.randrange(20))
        if rng.random() < 0.5:
            bench.predict(1.0, at, join)
        else:
            bench.label(0.0, at, join)
        assert len(bench.join) <= 20
        assert len(bench.join._meetings) <= 5
        assert len(bench.join._due) <= 41
        assert max(len(each.waiting) for each in bench.join._meetings.values()) <= 8
        held = sum(len(meeting.labels) for meeting in bench.join._meetings.values())
        assert held == bench.join._held <= 12
    bench.after(100.0)
    covered = bench.coverage()
    assert covered.predictions == covered.matched + covered.expired > 900
    assert covered.matched == bench.pairs()[0]
    assert len(bench.agent.pairing) == 0


def test_what_came_before_the_time_was_known_is_joined_before_and_after(bench: Bench) -> None:
    bench.clock.is_synchronised = False
    for name in ("boot 2", "boot 3"):  # the second such boot begins a day behind the first
        bench.close()
        bench.clock.boot_id = name
        bench.start()
        bench.agent.commit()
    bench.predict(5.0)
    bench.after(3.0)
    bench.label(1.0)
    assert (bench.pairs(), bench.coverage().lag_mean_seconds) == ((1, 4.0), 3.0)
    bench.after(4.0)
    bench.predict(7.0)
    bench.after(1.0)
    bench.clock.is_synchronised = True
    bench.agent.tick()
    assert bench.agent.calendar.placed
    bench.label(1.0)
    assert (bench.pairs(), bench.coverage().lag_mean_seconds) == ((2, 10.0), 2.0)
    assert len(bench.join) == 0
