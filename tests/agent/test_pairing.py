"""Pairing: every order in which halves can come, and what becomes of those left alone."""

from __future__ import annotations

import math

import pytest
from edgemse_agent.counting import MEANINGS
from edgemse_agent.entries import Entry, Label, Prediction
from edgemse_agent.ledger.rows import entry_of
from edgemse_agent.ledger.sound import checksum
from edgemse_agent.pairing import LABELS_PER_ID_MAX, Pairing

from edgemse import Coverage
from edgemse.cells import SealedCell, Series, unseal
from edgemse.counters import Counters
from edgemse.growing import Growing

ANY = (None, None, None, None)
A, B = Series("m", "a"), Series("m", "b")


def changes(pairing: Pairing) -> dict[str, Entry | None]:
    """Return what the ledger is to write: entries by id, None for one that is gone."""
    rows = [*pairing.rows(stored=True), *pairing.rows(stored=False)]
    assert all(crc == checksum(key, content) for key, content, crc in rows)
    return {key: None for (key,) in pairing.gone()} | {k: entry_of(c) for k, c, _ in rows}


class Bench:
    """A pairing over windows, and what it counted."""

    def __init__(self, **bounds: float) -> None:
        self.counters = Counters(MEANINGS)
        self.growing = Growing(self.counters)
        self.pairing = Pairing(self.growing, self.counters, Series("m"), **bounds)
        self.now = 0.0

    def predict(self, key: str, y_pred: float, series: Series = A, time: float = 0.0) -> bool:
        return self.pairing.predict(key, series, Prediction(y_pred, 1.0, time), self.now)

    def label(self, key: str, y_true: float, time: float = 0.0, where: tuple = ANY) -> None:
        self.pairing.label(key, Label(y_true, time, where), self.now)

    def sealed(self) -> list[SealedCell]:
        return [cell.seal(self.growing.producer) for cell in self.growing]

    def counted(self) -> tuple[int, Coverage]:
        cells = [unseal(cell) for cell in self.sealed()]
        coverage = Coverage()
        for cell in cells:
            coverage.merge(cell.coverage)
        return sum(cell.stats.count for cell in cells), coverage

    def restarted(self) -> Bench:
        other = Bench()
        other.pairing.restore(
            (key, entry) for key, entry in changes(self.pairing).items() if entry is not None
        )
        return other


def test_a_label_meets_its_prediction_in_the_prediction_s_window() -> None:
    bench = Bench()
    bench.predict("1", 3.0, time=10.0)
    bench.label("1", 1.0, time=130.5)
    (cell,) = (unseal(cell) for cell in bench.sealed())
    assert (cell.window.start, cell.stats.bias) == (0, 2.0)
    assert (cell.coverage.predictions, cell.coverage.matched) == (1, 1)
    assert cell.coverage.lag_ms_max == 120_500


def test_a_label_may_come_first() -> None:
    bench = Bench()
    bench.label("1", 1.0)
    assert bench.counted()[0] == 0
    bench.predict("1", 3.0)
    samples, coverage = bench.counted()
    assert (samples, coverage.matched, coverage.orphan) == (1, 1, 0)


def test_one_label_meets_every_version_s_prediction_even_later_ones() -> None:
    bench = Bench()
    bench.predict("1", 3.0, A)
    bench.label("1", 1.0)
    bench.predict("1", 2.0, B)
    samples, coverage = bench.counted()
    assert (samples, coverage.predictions, coverage.matched) == (2, 2, 2)


def test_a_label_may_name_its_version() -> None:
    bench = Bench()
    bench.predict("1", 3.0, A)
    bench.predict("1", 2.0, B)
    bench.label("1", 1.0, where=(None, "b", None, None))
    assert bench.counted()[0] == 1
    bench.label("1", 1.0, where=(None, "a", None, None))
    assert bench.counted()[0] == 2


@pytest.mark.parametrize(("again", "field"), [(1.0, "duplicate"), (9.0, "conflicting")])
def test_a_second_label_is_counted_and_changes_nothing(again: float, field: str) -> None:
    bench = Bench()
    bench.predict("1", 3.0)
    bench.label("1", 1.0)
    bench.label("1", again)
    samples, coverage = bench.counted()
    assert (samples, getattr(coverage, field)) == (1, 1)
    assert bench.counters[f"labels_{field}"] == 1


@pytest.mark.parametrize("nothing", [math.nan, math.inf])
def test_a_label_that_is_no_number_does_not_use_its_prediction_up(nothing: float) -> None:
    bench = Bench()
    bench.predict("1", 3.0)
    bench.label("1", nothing)
    bench.label("2", nothing)
    bench.label("1", 1.0)
    samples, coverage = bench.counted()
    assert (samples, coverage.matched, coverage.conflicting) == (1, 1, 0)
    assert bench.counters["labels_nonfinite"] == 2
    assert len(bench.pairing) == 0


def test_a_prediction_of_a_taken_id_is_refused() -> None:
    bench = Bench()
    assert bench.predict("1", 3.0)
    assert not bench.predict("1", 4.0)
    bench.label("1", 1.0)
    assert not bench.predict("1", 4.0)
    samples, coverage = bench.counted()
    assert (samples, coverage.predictions) == (1, 1)
    assert bench.counters["predictions_repeated"] == 2


@pytest.mark.parametrize("labelled", [False, True])
def test_an_id_carries_a_bounded_number_of_series(labelled: bool) -> None:
    bench = Bench()
    taken = 0
    for number in range(1_500):
        series = Series("m", output=str(number))
        taken += bench.predict("1", 3.0, series)
        if labelled:
            bench.label("1", 1.0, where=(None, None, str(number), None))
    (entry,) = changes(bench.pairing).values()
    assert entry is not None
    assert taken == len(entry.pending) + len(entry.matched) == 1_000
    assert bench.counters["predictions_crowded"] == 500
    assert bench.predict("2", 3.0, Series("m", output="1400"))
    samples, coverage = bench.counted()
    assert (samples, coverage.matched) == ((1_000, 1_000) if labelled else (0, 0))
    assert coverage.predictions == 1_001


def test_what_waits_too_long_has_expired_or_is_an_orphan() -> None:
    bench = Bench(age_max_seconds=10.0)
    bench.predict("1", 3.0)
    bench.label("2", 3.0)
    bench.pairing.expire(9.9)
    assert len(bench.pairing) == 2
    bench.pairing.expire(10.0)
    samples, coverage = bench.counted()
    assert (samples, coverage.expired, coverage.orphan, len(bench.pairing)) == (0, 1, 1, 0)
    assert (bench.counters["predictions_expired"], bench.counters["labels_orphan"]) == (1, 1)


def test_the_bound_lets_the_oldest_go_and_counts_it() -> None:
    bench = Bench(pending_max=2)
    for key in "123":
        bench.predict(key, 3.0)
    assert len(bench.pairing) == 2
    assert bench.counters["pending_evicted"] == 1
    assert bench.counted()[1].expired == 1


def test_what_waits_survives_a_restart_and_so_does_what_was_joined() -> None:
    bench = Bench()
    bench.predict("waits", 3.0)
    bench.label("early", 1.0)
    bench.predict("joined", 3.0)
    bench.label("joined", 1.0)
    later = bench.restarted()
    later.label("waits", 1.0)
    later.predict("early", 3.0)
    later.label("joined", 1.0)
    samples, coverage = later.counted()
    assert (samples, coverage.matched, coverage.duplicate) == (2, 2, 1)


@pytest.mark.parametrize("place", range(4), ids=["model", "version", "output", "segment"])
def test_a_label_that_names_a_part_of_the_series_meets_that_alone(place: int) -> None:
    bench = Bench()
    one, other = (
        Series(*(f"{name}{n}" if n == place else "same" for n in range(4))) for name in "ab"
    )
    bench.predict("1", 3.0, one)
    bench.predict("1", 5.0, other)
    where = tuple(f"b{place}" if n == place else None for n in range(4))
    bench.label("1", 1.0, where=where)
    found = [unseal(cell) for cell in bench.sealed()]
    assert {cell.series: cell.stats.count for cell in found} == {one: 0, other: 1}


def test_of_labels_that_wait_under_one_id_the_oldest_of_too_many_is_an_orphan() -> None:
    bench = Bench()
    for number in range(LABELS_PER_ID_MAX):
        bench.label("1", 1.0, where=(None, None, str(number), None))
    assert bench.counters["labels_orphan"] == 0
    bench.label("1", 1.0, where=(None, None, "one more", None))
    assert bench.counters["labels_orphan"] == 1
    bench.predict("1", 3.0, Series("m", "a", "0"))
    bench.predict("1", 3.0, Series("m", "a", "1"))
    assert [unseal(cell).stats.count for cell in bench.sealed()].count(1) == 1


def test_every_prediction_ends_somewhere() -> None:
    bench = Bench(age_max_seconds=50.0, pending_max=20)
    for i in range(500):
        bench.now = float(i)
        bench.predict(str(i), 1.0, time=bench.now)
        if i % 3 == 0:
            bench.label(str(i - 7), 1.0, time=bench.now)
        bench.pairing.expire(bench.now)
    bench.pairing.expire(1e9)
    _, coverage = bench.counted()
    assert coverage.predictions == 500 == coverage.matched + coverage.expired
    assert len(bench.pairing) == 0


def test_ids_that_came_and_went_between_two_commits_leave_nothing() -> None:
    bench = Bench(pending_max=10, matched_max=10)
    bench.predict("stored", 1.0)
    bench.pairing.settle()
    for i in range(1_000):
        bench.predict(str(i), 1.0)
        bench.label(str(i), 1.0)
    for i in range(1_000):
        bench.predict(f"waits {i}", 1.0)
    left = changes(bench.pairing)
    assert len(left) <= 10 + 10 + 1
    assert left["stored"] is None


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(("y_true", "covered"), [(2.0, 1.0), (4.5, 0.0)])
def test_an_interval_is_judged_when_the_label_comes(
    restart: bool, y_true: float, covered: float
) -> None:
    bench = Bench()
    prediction = Prediction(3.0, 1.0, 0.0, "", (2.0, 4.0))
    assert bench.pairing.predict("1", A, prediction, 0.0)
    if restart:
        bench = bench.restarted()
    bench.label("1", y_true)
    found = {cell.series.measure: unseal(cell).stats for cell in bench.sealed()}
    assert (found["interval:covered"].bias, found["interval:width"].bias) == (covered, 2.0)
    assert found["interval:covered"].count == found[""].count == 1
