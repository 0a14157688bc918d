"""Looks at a comparison, planned or open: textbook bounds, and simulated days."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import ndtri
from support.fleet import START, Planted, stats_of

from edgemse.cells import Series
from edgemse.errors import EdgemseError, SettingsError, UsageError
from edgemse.fleet.arms import Estimate, by_windows
from edgemse.fleet.compare import CompareAnswer
from edgemse.fleet.looking import FOLLOWING_MAX, level, sequence
from edgemse.fleet.windows import Windows

HOUR = 3_600


def test_bounds_are_the_published_ones() -> None:
    """O'Brien-Fleming by Lan and DeMets, two-sided 5 % and one-sided 5 %, as in tables."""
    two = [float(-ndtri(level(5, k) / 2)) for k in range(1, 6)]
    one = [float(-ndtri(level(5, k, 0.1) / 2)) for k in range(1, 6)]
    assert two == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=6e-4)
    assert one == pytest.approx([4.229, 2.888, 2.298, 1.962, 1.740], abs=6e-4)
    assert level(366, 1) == 0
    assert [level(30, k) < level(30, k + 1) for k in range(1, 30)] == [True] * 29


def test_the_sequence_is_its_formula() -> None:
    found = Estimate(0.05, 0.01, 30.0, 1, "windows", 400)
    held = sequence(found)
    s = 0.01 * 20 * 3.0298 / 2.80703  # t and normal quantiles at 0.0025, from tables
    rho2 = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05)) + 1) / 168
    inside = 2 * (400 * rho2 + 1) / (400**2 * rho2)
    reach = s * math.sqrt(inside * math.log(math.sqrt(400 * rho2 + 1) / 0.05))
    expected = (math.exp(0.05 - reach), math.exp(0.05 + reach))
    assert (held.low, held.high) == pytest.approx(expected, rel=1e-4)
    assert held.low > 1
    assert 0 < held.p_value < 0.05
    for few in (
        Estimate(0.05, 0.01, 30.0, 1, "windows", 71),
        Estimate(0.05, 0.01, 9.0, 10, "paired"),
    ):
        assert math.isnan(sequence(few).p_value)


def test_thirty_daily_looks_fool_in_seven_of_a_hundred_at_most() -> None:
    """Two equal versions on one device, hours that follow each other by 0.5, a look every day."""
    rng = np.random.default_rng(21)
    runs, days = 200, 30
    levels = [level(days, day) for day in range(1, days + 1)]
    fooled = dict.fromkeys(("naive", "planned", "open"), 0)
    for _ in range(runs):
        a, b = (0.1 * _follow(rng, days * 24, 0.5) for _ in range(2))
        claimed = set()
        for day in range(1, days + 1):
            found = by_windows(_windows(a[: 24 * day]), _windows(b[: 24 * day]), 1, FOLLOWING_MAX)
            p = found.two_sided()
            claimed |= {"naive"} if p < 0.05 else set()
            claimed |= {"planned"} if p < levels[day - 1] else set()
            claimed |= {"open"} if sequence(found).p_value < 0.05 else set()
        for name in claimed:
            fooled[name] += 1
    print(f"seed 21: of {runs} equal pairs, looked at daily for a month, fooled: {fooled}")
    assert fooled["naive"] / runs > 0.2
    assert fooled["planned"] / runs <= 0.09  # 6 % in 1,500 runs; this many scatter by 1.7 %
    assert fooled["open"] / runs <= 0.06


def _follow(rng: np.random.Generator, count: int, phi: float) -> np.ndarray:
    noise = rng.normal(0, math.sqrt(1 - phi * phi), count + 50)
    found: np.ndarray = lfilter([1], [1, -phi], noise)[50:]
    return found


def _windows(log_rmse: np.ndarray) -> Windows:
    one = np.ones(len(log_rmse))
    return Windows(np.arange(len(one)) * 3_600.0, one, one, np.exp(2 * log_rmse), one)


def plant(
    planted: Planted, devices: int, hours: int, factor: float, segments: tuple[str, ...] = ("",)
) -> None:
    """Put hourly cells of versions 1 and 2; in the last segment 2 is worse by the factor."""
    rng = random.Random(5)
    for device in range(devices):
        for hour in range(hours):
            for segment in segments:
                for version in "12":
                    worse = version == "2" and segment == segments[-1]
                    scale = factor if worse else 1.0
                    stats = stats_of([scale * rng.gauss(0, 1) for _ in range(30)])
                    series = Series("pump", version, segment=segment)
                    at = START + hour * HOUR
                    planted.put(f"d{device}", stats, start=at, width=HOUR, series=series)
    planted.commit()


def compare(planted: Planted, **asked: object) -> CompareAnswer:
    found = planted.ask("compare", a="1", b="2", **asked)
    assert isinstance(found, CompareAnswer)
    return found


def test_planned_looks_are_by_devices_where_there_are_six(planted: Planted) -> None:
    plant(planted, 6, 24, 1.3, ("day", "night"))
    first, last = (compare(planted, looks=10, look=k, by=["segment"]) for k in (1, 10))
    assert first.looks is not None
    assert last.looks is not None
    assert (first.method, last.method, last.looks.windows) == ("paired", "paired", 0)
    assert (first.looks.level, last.looks.level) == (level(10, 1), level(10, 10))
    assert (first.looks.differs, last.looks.differs) == (False, True)
    assert first.p_value == last.p_value < 0.05  # by itself the first look would claim it
    assert last.looks.low > 1
    assert first.looks.low < last.looks.low < last.low
    assert [each.worse for each in first.segments] == [False, False]
    assert [each.worse for each in last.segments] == [False, True]
    assert "look 1 of 10: nothing may be claimed yet" in " ".join(first.sentences())
    assert "look 10 of 10: there is a difference" in " ".join(last.sentences())
    assert any("hold for one look only" in note for note in last.notes)
    assert CompareAnswer.from_json(last.to_json()).to_json() == last.to_json()
    assert compare(planted).looks is None


def test_open_looks_are_by_windows(planted: Planted) -> None:
    plant(planted, 4, 96, 1.3, ("day", "night"))
    found = compare(planted, looks="open", by=["segment"])
    assert found.looks is not None
    assert (found.method, found.looks.looks, found.looks.windows) == ("windows", None, 96)
    assert found.looks.differs is True
    assert [each.worse for each in found.segments] == [False, True]
    assert [tail.worse for tail in found.tails] == [None] * 4
    assert found.tail_heavier is None
    early = compare(planted, looks="open", until="2026-01-03")
    assert early.looks is not None
    assert early.looks.differs is None
    assert "open looks: not enough data yet" in " ".join(early.sentences())


def test_planned_looks_at_few_devices_are_by_windows(planted: Planted) -> None:
    plant(planted, 5, 48, 1.5)
    found = compare(planted, looks=2, look=1)
    assert found.looks is not None
    assert (found.method, found.looks.windows, found.looks.differs) == ("windows", 48, True)
    assert [tail.worse for tail in found.tails] == [None] * 4
    assert compare(planted).method == "paired"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"looks": "5"}, UsageError),
        ({"look": "5"}, UsageError),
        ({"looks": "open", "look": "1"}, UsageError),
        ({"looks": "5", "look": "6"}, UsageError),
        ({"looks": "1", "look": "1"}, SettingsError),
        ({"looks": "five", "look": "1"}, SettingsError),
        ({"looks": "5", "look": "0"}, SettingsError),
    ],
)
def test_looks_that_cannot_be_are_refused(
    planted: Planted, given: dict[str, str], error: type[EdgemseError]
) -> None:
    with pytest.raises(error):
        compare(planted, **given)
