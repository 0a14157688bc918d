"""Burn rates: their factors as others have them, and when one is too fast."""

from __future__ import annotations

import math

import pytest

from edgemse.fleet.burning import (
    EXPECTED_MIN,
    PAIRS,
    SPANS,
    Counted,
    budget_left,
    burn,
    factor,
    judge,
)

# slok/sloth, internal/alert/alert_test.go, TestGenerateMWMBAlerts at 0e395d8 (Apache-2.0).
FACTORS = {
    30: {"1h/5m": 14.4, "6h/30m": 6, "1d/2h": 3, "3d/6h": 1},
    28: {
        "1h/5m": 13.44,
        "6h/30m": 5.6000000000000005,
        "1d/2h": 2.8000000000000003,
        "3d/6h": 0.9333333333333333,
    },
    7: {"1h/5m": 13.44, "6h/30m": 3.5, "1d/2h": 1.4000000000000001, "3d/6h": 0.98},
}


def of(bad: int, total: int) -> Counted:
    good = float(total - bad)
    return Counted(good, good, good, total)


@pytest.mark.parametrize("days", FACTORS)
def test_factors_are_those_of_sloth(days: int) -> None:
    found = {name: factor(pair, days) for name, pair in PAIRS.items()}
    assert found == pytest.approx(FACTORS[days], rel=1e-15)


def test_a_factor_is_the_part_of_the_budget_that_its_window_uses_up() -> None:
    for days in (14, 28, 90, 366):
        for pair in PAIRS.values():
            spent = factor(pair, days) * SPANS[pair.long] / (days * 86_400)
            assert spent == pytest.approx(pair.percent / 100)


def test_burn_and_budget() -> None:
    assert burn(of(1, 100), 0.01) == pytest.approx(1)
    assert burn(of(0, 100), 0.01) == 0
    assert budget_left(of(0, 100), 0.01) == 1
    assert budget_left(of(3, 100), 0.01) == pytest.approx(-2)
    assert math.isnan(burn(Counted(), 0.01))
    assert math.isnan(budget_left(Counted(), 0.01))


def test_both_windows_must_burn() -> None:
    pair = PAIRS["1h/5m"]

    def judged(long: Counted | None, short: Counted | None) -> bool | None:
        return judge(pair, 30, 0.001, {"1h": long, "5m": short})

    assert judged(of(200, 10_000), of(20, 1_000)) is True
    assert judged(of(200, 10_000), of(2, 1_000)) is False  # it is over
    assert judged(of(20, 10_000), of(200, 1_000)) is False  # it has only begun
    assert judged(of(200, 10_000), Counted()) is False
    assert judged(None, of(200, 1_000)) is None
    assert judged(of(200, 10_000), None) is None


def test_what_a_few_decide_is_not_judged() -> None:
    pair, budget = PAIRS["1h/5m"], 0.001
    least = math.ceil(EXPECTED_MIN / (budget * factor(pair, 30)))
    assert least == 348

    def judged(total: int) -> bool | None:
        return judge(pair, 30, budget, {"1h": of(total, total), "5m": of(10, 10)})

    assert (judged(least), judged(least - 1)) == (True, None)
