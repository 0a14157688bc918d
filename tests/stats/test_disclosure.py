"""What docs/security.md says that a cell gives away: samples are worked out from states alone."""

from __future__ import annotations

import math
import random

import pytest

from edgemse import ErrorStats
from edgemse.stats.moments import Moments

RNG = random.Random(20261125)
Samples = list[tuple[float, float]]


def samples(count: int) -> Samples:
    """Labels and predictions."""
    return [((y := RNG.gauss(20, 5)), y + RNG.gauss(0, 1)) for _ in range(count)]


def sent(of: Samples) -> Moments:
    """What a cell of these samples holds, after its way as bytes."""
    stats = ErrorStats()
    stats.update_many(*zip(*of, strict=True))
    return ErrorStats.from_bytes(stats.to_bytes()).moments()


def test_one_sample_is_there_as_it_was() -> None:
    ((y_true, y_pred),) = given = samples(1)
    cell = sent(given)
    assert cell.y_mean == y_true
    assert cell.y_mean + cell.min_error == pytest.approx(y_pred, rel=1e-15)


def test_two_samples_are_worked_out() -> None:
    given = samples(2)
    cell = sent(given)
    apart = math.sqrt(cell.y_m2 / 2)
    # The product of labels and errors tells which error goes with which label.
    sign = math.copysign(1.0, cell.y_e)
    errors = [cell.min_error, cell.max_error]
    labels = [cell.y_mean - sign * apart, cell.y_mean + sign * apart]
    found = sorted((y, y + e) for y, e in zip(labels, errors, strict=True))
    assert found == [pytest.approx(sample, rel=1e-9) for sample in sorted(given)]


def test_the_errors_of_three_and_of_four_samples_are_worked_out() -> None:
    for count in (3, 4):
        given = samples(count)
        cell = sent(given)
        low, high = cell.min_error, cell.max_error
        left = count * cell.mean - low - high
        if count == 3:
            middle = [left]
        else:
            squares = cell.m2 + count * cell.mean**2 - low**2 - high**2
            apart = math.sqrt(max(0.0, squares - left**2 / 2) / 2)
            middle = [left / 2 - apart, left / 2 + apart]
        want = sorted(p - y for y, p in given)
        assert sorted([low, *middle, high]) == pytest.approx(want, rel=1e-5, abs=1e-6)


def test_what_came_between_two_revisions_is_their_difference() -> None:
    before = samples(500)
    (late,) = samples(1)
    old, new = sent(before), sent([*before, late])
    error = new.count * new.mean - old.count * old.mean
    label = new.count * new.y_mean - old.count * old.y_mean
    assert (label, label + error) == pytest.approx(late, rel=1e-9)
