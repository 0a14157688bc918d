"""The statistics behind the questions, against golden values and small simulations.

Larger ones of the same kind, and what they gave, stand in docs/analysis.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgemse.fleet.homogeneity import homogeneity, testable
from edgemse.fleet.noise import Noise, freedom, noise_of
from edgemse.fleet.outlying import discoveries, outlying
from edgemse.fleet.spread import spread
from edgemse.fleet.welch import welch
from edgemse.fleet.windows import Numbers, Windows, ewc, following
from edgemse.stats.error_stats import ErrorStats

testable.__test__ = False  # type: ignore[attr-defined]  # its name is English, not pytest's

N = np.array([200.0, 500, 50, 1_000, 100])
MSE = np.array([1.0, 1.3, 0.8, 1.05, 1.6])
C2 = np.array([2.0, 3, 5, 2.5, 8])
DF = np.array([150.0, 200, 15, 400, 20])


def golden(*places: int) -> Noise:
    """Five groups, as states would give them."""
    at = list(places)
    n, variance = N[at], (C2 * MSE**2 / N)[at]
    return Noise(
        at,
        n,
        MSE[at],
        variance,
        n - 1,
        DF[at],
        np.minimum(1, np.median(2 * n / DF[at]) / n),
        variance,
        np.zeros(len(at), dtype=bool),
        math.nan,
        False,
    )


def test_the_homogeneity_test_has_its_golden_values() -> None:
    found = homogeneity(golden(0, 1, 2, 3, 4))
    assert found.f == pytest.approx(1.76890, abs=5e-6)
    assert found.df1 == pytest.approx(4)
    assert found.df2 == pytest.approx(500.638, abs=5e-4)
    assert found.p_value == pytest.approx(0.133786, abs=5e-7)


def test_few_groups_are_tested_on_both_scales() -> None:
    """The raw scale says .46454, the log scale .50857: the larger counts."""
    assert homogeneity(golden(0, 2)).p_value == pytest.approx(0.50857, abs=5e-6)


def test_the_spread_has_its_golden_values() -> None:
    found = spread(golden(0, 1, 2, 3, 4))
    assert found.tau2 == pytest.approx(0.019413, abs=5e-7)
    assert (found.low, found.method) == (0.0, "q-profile")
    assert found.high == pytest.approx(0.51480, abs=5e-6)


def ar1(rng: np.random.Generator, count: int, phi: float) -> Numbers:
    """Return a normal AR(1) series of variance 1."""
    noise = rng.normal(size=count) * math.sqrt(1 - phi * phi)
    noise[0] = rng.normal()
    if phi:
        for place in range(1, count):
            noise[place] += phi * noise[place - 1]
    return noise


def observed(series: list[Numbers], width: int) -> tuple[dict[Any, ErrorStats], dict[Any, Windows]]:
    """Return what a fleet would know of each series of errors, in windows of `width` samples."""
    states, windows = {}, {}
    for key, errors in enumerate(series):
        states[key] = ErrorStats()
        states[key].update_many(np.zeros(len(errors)), errors)
        parts = errors.reshape(-1, width)
        weight = np.full(len(parts), float(width))
        start = np.arange(len(parts)) * 3_600.0
        windows[key] = Windows(start, weight, weight, (parts**2).sum(1), parts.sum(1))
    return states, windows


def test_windows_see_what_samples_repeat() -> None:
    """For AR(1) errors the variance of an MSE is (1 + phi^2) / (1 - phi^2) times larger."""
    rng = np.random.default_rng(1)
    for phi in (0.0, 0.5, 0.8):
        effects = []
        for _ in range(60):
            states, windows = observed([ar1(rng, 2_400, phi)], 60)
            effects.append(noise_of(states, windows).variance[0] / noise_of(states).variance[0])
        assert np.mean(effects) == pytest.approx((1 + phi**2) / (1 - phi**2), rel=0.25)


def rejected(rng: np.random.Generator, runs: int, phi: float, by_windows: bool) -> float:
    """Return the share of fleets of 20 alike devices that are said to differ."""
    found = 0
    for _ in range(runs):
        states, windows = observed([ar1(rng, 1_200, phi) for _ in range(20)], 60)
        noise = noise_of(states, windows if by_windows else None)
        found += homogeneity(noise).p_value < 0.05
    return found / runs


@pytest.mark.parametrize("phi", [0.0, 0.7])
def test_alike_devices_whose_errors_follow_each_other_are_seldom_told_apart(phi: float) -> None:
    rng = np.random.default_rng(20)
    # 5 % wanted; 100 fleets: up to 13 in 999 of 1,000 test runs.
    assert rejected(rng, 100, phi, by_windows=True) <= 0.13


def test_without_windows_they_would_be() -> None:
    assert rejected(np.random.default_rng(21), 30, 0.7, by_windows=False) > 0.5


def test_a_borrowed_design_effect_is_known_only_so_well() -> None:
    """Half of the groups have five windows: their variance is off by as much as the others' are."""
    rng = np.random.default_rng(32)
    found = {20: 0, 3: 0}
    for groups in found:
        for _ in range(120):
            sizes = [1_200, 300] * (groups // 2) + [300] * (groups % 2)
            noise = noise_of(*observed([ar1(rng, size, 0.6) for size in sizes], 60))
            found[groups] += homogeneity(noise.taken(testable(noise))).p_value < 0.05
    assert noise.from_windows.tolist() == [True, False, False]
    # 6 wanted of 120; up to 14 in 999 of 1,000 test runs.
    assert max(found.values()) <= 14
    parts, variance = np.array([1.0, 2.0, 3.0]), np.array([0.5, 7.0, 7.0])
    own = parts**2 / noise.freedom
    shared = (1.0 + 2.0 + 3.0) ** 2 / noise.freedom[0] + own[1] + own[2]
    assert noise.design_effect > 1
    assert noise.uncertainty(parts, variance) == pytest.approx(shared)
    alone = noise.taken(np.array([False, True, True]))
    assert alone.uncertainty(parts[1:], variance[1:]) == pytest.approx(own[1] + own[2])


def test_unequal_tails_with_unequal_n_are_no_difference() -> None:
    """Ten normal devices of 2,000 samples, ten of t5 of 100: pooled noise says yes in 53 %."""
    rng = np.random.default_rng(22)
    found = 0
    for _ in range(100):
        t5 = [rng.standard_t(5, size=100) / math.sqrt(5 / 3) for _ in range(10)]
        states, _ = observed([*rng.normal(size=(10, 2_000)), *t5], 100)
        found += homogeneity(noise_of(states)).p_value < 0.05
    assert found <= 14


def fleet(rng: np.random.Generator, groups: int, tau: float, bad: int) -> Noise:
    scales = np.exp(rng.normal(0, tau, size=groups))
    scales[:bad] *= 1.5
    states, _ = observed([scale * rng.normal(size=1_000) for scale in scales], 100)
    return noise_of(states)


def test_flags_find_bad_devices_and_few_others() -> None:
    rng = np.random.default_rng(23)
    found = [outlying(fleet(rng, 100, 0.08, 5)) for _ in range(30)]
    unusual = [each.unusual for each in found if each.unusual is not None]
    assert len(unusual) == 30
    assert np.mean([each[:5].mean() for each in unusual]) > 0.9
    assert np.mean([each[5:].sum() / max(1, each.sum()) for each in unusual]) < 0.1
    assert np.mean([each.worse[:5].mean() for each in found]) > 0.9
    # Of 95 ordinary devices one is truly 1.2 times worse: where its true value is above, no fault.
    assert sum(each.worse[5:].sum() for each in found) <= 8


def test_the_interval_of_the_spread_covers() -> None:
    rng = np.random.default_rng(24)
    for groups in (12, 40):
        found = [spread(fleet(rng, groups, 0.15, 0)) for _ in range(60)]
        covered = sum(each.low <= (2 * 0.15) ** 2 <= each.high for each in found)
        assert covered >= 50  # 57 expected; binomial, less in 1 of 1,000
        assert all(each.low <= each.tau2 <= each.high for each in found)


def test_what_does_not_vary_is_not_tested() -> None:
    flat = ErrorStats()
    flat.update_many(np.zeros(50), np.ones(50))
    states, _ = observed([np.ones(50), np.arange(50.0), np.zeros(50)], 50)
    assert all(map(math.isnan, homogeneity(noise_of(states))))
    assert math.isnan(spread(noise_of(states)).tau2)
    assert math.isnan(homogeneity(noise_of({})).p_value)


def test_too_few_samples_are_left_out() -> None:
    rng = np.random.default_rng(25)
    states, _ = observed([rng.normal(size=n) for n in (9, 50, 200, 300, 400, 500, 600)], 1)
    assert testable(noise_of(states)).tolist() == [False] + [True] * 6
    few = {key: states[key] for key in (1, 2, 3, 4)}
    assert testable(noise_of(few)).tolist() == [False, True, True, True]


def test_windows_that_follow_each_other_too_closely_are_not_trusted() -> None:
    rng = np.random.default_rng(26)
    states, windows = observed([ar1(rng, 240, 0.97) for _ in range(8)], 12)
    noise = noise_of(states, windows)
    assert noise.too_close
    assert not testable(noise).any()


def test_equal_weighted_cosines_by_hand() -> None:
    values, weights = np.arange(10.0) ** 2, np.ones(10)
    z = values - values.mean()
    place = (np.arange(10) + 0.5) / 10
    loads = [math.sqrt(0.2) * (z * np.cos(math.pi * j * place)).sum() for j in (1, 2, 3, 4)]
    found = ewc(values, weights)
    assert found.variance == pytest.approx(np.mean(np.square(loads)) / 10, rel=1e-12)
    assert found.freedom == 4
    assert ewc(values, 7 * weights).variance == pytest.approx(found.variance, rel=1e-12)


def test_how_values_follow_each_other() -> None:
    rng = np.random.default_rng(27)
    assert following([ar1(rng, 50, 0.5) for _ in range(200)]) == pytest.approx(0.5, abs=0.04)
    assert following([rng.normal(size=50) for _ in range(200)]) == pytest.approx(0, abs=0.04)
    assert math.isnan(following([np.ones(20)]))


def test_the_freedom_of_normal_errors_is_a_known_number() -> None:
    """The kurtosis of the square of a normal is 15; of a uniform 2.14 (8th moment 1/9)."""
    stats = ErrorStats()
    stats.update_many(np.zeros(200_000), np.random.default_rng(28).normal(size=200_000))
    assert freedom(stats) == pytest.approx(2 * 200_000 / 14, rel=0.1)


def test_discoveries_by_hand() -> None:
    p_values = np.array([0.01, 0.04, 0.03, 0.9, 0.02])
    assert discoveries(p_values).tolist() == [True, True, True, False, True]
    assert discoveries(np.array([0.011, 0.5, 0.9, 0.7, 0.6])).tolist() == [False] * 5


def test_welch_agrees_with_a_published_value() -> None:
    """Two groups: Welch's F is the square of his t, with the same degrees of freedom."""
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(29)
    a, b = rng.normal(0, 1, 30), rng.normal(0.5, 3, 12)
    states, _ = observed([a, b], 1)
    found, want = welch(states), ttest_ind(a, b, equal_var=False)
    assert found.f == pytest.approx(want.statistic**2, rel=1e-10)
    assert found.df2 == pytest.approx(want.df, rel=1e-10)
    assert found.p_value == pytest.approx(want.pvalue, rel=1e-9)


def test_bias_is_not_found_where_windows_follow_or_are_few() -> None:
    """Windows of 60 that follow each other by phi 0.9; and groups of which half have five."""
    rng = np.random.default_rng(31)
    follow = few = 0
    for _ in range(100):
        follow += welch(*observed([ar1(rng, 1_200, 0.9) for _ in range(20)], 60)).p_value < 0.05
        sizes = [1_200] * 10 + [300] * 10
        found = welch(*observed([ar1(rng, size, 0.6) for size in sizes], 60))
        few += found.p_value < 0.05
    assert found.method == "windows and states"
    assert follow <= 13
    assert few <= 13
    close = welch(*observed([ar1(rng, 240, 0.97) for _ in range(8)], 12))
    assert (close.method, math.isnan(close.p_value)) == ("windows", True)


def test_bias_is_tested_by_windows() -> None:
    rng = np.random.default_rng(30)
    wrong = {True: 0, False: 0}
    for _ in range(60):
        states, windows = observed([ar1(rng, 1_200, 0.7) for _ in range(8)], 60)
        wrong[True] += welch(states, windows).p_value < 0.05
        wrong[False] += welch(states).p_value < 0.05
    assert wrong[True] <= 10
    assert wrong[False] > 25
    assert welch(states, windows).method == "windows"
