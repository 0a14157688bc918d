from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from support.fleet import Planted

from edgemse.fleet import anova, variance_components
from edgemse.fleet.variance import VarianceAnswer
from edgemse.stats.error_stats import ErrorStats, merge_all

# Davies and Goldsmith 1972: the yield of dyestuff from six batches, five samples each.
DYESTUFF = {
    "A": (1545, 1440, 1440, 1520, 1580),
    "B": (1540, 1555, 1490, 1560, 1495),
    "C": (1595, 1550, 1605, 1510, 1560),
    "D": (1445, 1440, 1595, 1465, 1545),
    "E": (1595, 1630, 1515, 1635, 1625),
    "F": (1520, 1455, 1450, 1480, 1445),
}


def stats_of(errors: list[float]) -> ErrorStats:
    stats = ErrorStats()
    for error in errors:
        stats.update(0.0, error)
    return stats


def exact(groups: list[list[float]]) -> tuple[Fraction, Fraction]:
    """Return the mean squares between and within, from the raw values."""
    values = [[Fraction(v) for v in group] for group in groups]
    count = sum(map(len, values))
    grand = sum(map(sum, values), Fraction(0)) / count
    means = [sum(group) / len(group) for group in values]
    between = sum(len(g) * (m - grand) ** 2 for g, m in zip(values, means, strict=True))
    within = sum((v - m) ** 2 for g, m in zip(values, means, strict=True) for v in g)
    return between / (len(values) - 1), within / (count - len(values))


def test_dyestuff() -> None:
    found = anova({name: stats_of([*map(float, y)]) for name, y in DYESTUFF.items()})
    assert found.f == pytest.approx(4.598266190719, rel=1e-12)
    assert found.p_value == pytest.approx(0.00439753, rel=1e-5)
    assert (found.df_between, found.df_within) == (5, 24)
    assert found.ms_between == 11271.5
    assert found.var_between == 1764.05
    assert found.var_within == found.ms_within == 2451.25


def smls(replicates: int, base: float) -> list[list[float]]:
    """Return NIST's SmLs01 to 09: nine groups about base + 0.3 ... 0.5 that scatter by 0.1."""
    centres = (4, 3, 5, 3, 5, 3, 5, 3, 5)
    return [
        [base + (centre + (0, -1, 1)[n and 1 + n % 2]) / 10 for n in range(replicates)]
        for centre in centres
    ]


@pytest.mark.parametrize("replicates", [21, 201])
@pytest.mark.parametrize("base", [1.0, 1e6, 1e12])
@pytest.mark.parametrize("parts", [1, 7])
def test_stiff_data_agree_with_exact_arithmetic(replicates: int, base: float, parts: int) -> None:
    groups = smls(replicates, base)
    states = {
        place: merge_all(stats_of(group[part::parts]) for part in range(parts))
        for place, group in enumerate(groups)
    }
    found = anova(states)
    between, within = exact(groups)
    assert found.ms_between == pytest.approx(float(between), rel=1e-12)
    assert found.ms_within == pytest.approx(float(within), rel=1e-12)
    assert found.f == pytest.approx(float(between / within), rel=1e-12)


@pytest.mark.parametrize("replicates", [21, 201, 2_001])
@pytest.mark.parametrize(("base", "accuracy"), [(1.0, 1e-13), (1e6, 1e-9), (1e12, 1e-3)])
def test_nist_certifies_it(replicates: int, base: float, accuracy: float) -> None:
    """A float near 1e12 is a multiple of 0.0001: what is left is the samples' own rounding."""
    states = {n: stats_of(group) for n, group in enumerate(smls(replicates, base))}
    found = anova(states)
    assert found.f == pytest.approx(replicates, rel=accuracy)
    assert found.ms_within == pytest.approx(0.01, rel=accuracy)


SIRSTV = (
    (196.3052, 196.1240, 196.1890, 196.2569, 196.3403),
    (196.3042, 196.3825, 196.1669, 196.3257, 196.0422),
    (196.1303, 196.2005, 196.2889, 196.0343, 196.1811),
    (196.2795, 196.1748, 196.1494, 196.1485, 195.9885),
    (196.2119, 196.1051, 196.1850, 196.0052, 196.2090),
)
"""NIST StRD: resistivity of silicon wafers by instrument."""
SILVER = (
    (568, 465, 572, 785, 446, 903, 526, 494, 616, 587, 519, 486),
    (419, 569, 508, 672, 385, 518, 662, 424, 360, 333, 610, 477),
    (79, 344, 513, 197, 604, 385, 642, 365, 151, 82, 517, 448),
    (198, 482, 334, 609, 101, 512, 469, 360, 254, 261, 450, 368),
)
"""NIST StRD: atomic weight of silver, 107.868 + these / 1e7; two instruments, two lines each."""


def test_nist_certifies_measured_sets() -> None:
    wafers = anova({n: stats_of([*each]) for n, each in enumerate(SIRSTV)})
    assert wafers.f == pytest.approx(1.18046237440255, rel=1e-12)
    assert wafers.ms_between == pytest.approx(1.27865654e-2, rel=1e-11)
    lines = [[107.868 + each / 1e7 for each in line] for line in SILVER]
    silver = anova({0: stats_of(lines[0] + lines[1]), 1: stats_of(lines[2] + lines[3])})
    # Seven of nine digits are the offset: floats hold 9 of F's 15.
    assert silver.f == pytest.approx(15.9467335677930, rel=1e-8)
    assert silver.ms_within == pytest.approx(2.28155932971014e-10, rel=1e-8)


DYESTUFF2 = (
    (7.298, 3.846, 2.434, 9.566, 7.990),
    (5.220, 6.556, 0.608, 11.788, -0.892),
    (0.110, 10.386, 13.434, 5.510, 8.166),
    (2.212, 4.852, 7.092, 9.288, 4.980),
    (0.282, 9.014, 4.458, 9.446, 7.198),
    (1.722, 4.782, 8.106, 0.758, 3.758),
)
"""Box and Tiao 1973: the component between batches comes out below 0."""


def test_dyestuff2_is_clamped_and_said_to_be(planted: Planted) -> None:
    states = {str(n): stats_of([*each]) for n, each in enumerate(DYESTUFF2)}
    found = anova(states)
    for batch, stats in states.items():
        planted.put(batch, stats)
    planted.commit()
    answer = planted.ask("variance")
    assert isinstance(answer, VarianceAnswer)
    assert answer.variance.anova == found
    below = "ANOVA's component between groups comes out below 0 (-1.32191), reported as 0"
    assert below in answer.notes
    assert found.var_between == 0
    assert found.var_between_unclamped == pytest.approx(-1.3219, abs=5e-5)
    assert found.f < 1


def test_unequal_groups_and_the_component_between() -> None:
    rng = random.Random(11)
    groups = [[rng.gauss(m, 1) for _ in range(n)] for m, n in ((0, 5), (2, 50), (-1, 11), (1, 2))]
    found = anova({str(n): stats_of(group) for n, group in enumerate(groups)})
    between, within = exact(groups)
    sizes = [len(group) for group in groups]
    n0 = (sum(sizes) - sum(n * n for n in sizes) / sum(sizes)) / (len(sizes) - 1)
    assert found.f == pytest.approx(float(between / within), rel=1e-12)
    assert found.var_between == pytest.approx(float(between - within) / n0, rel=1e-12)


def test_a_component_below_nothing_is_nothing() -> None:
    found = anova({"a": stats_of([-1.0, 1.0]), "b": stats_of([-2.0, 2.0])})
    assert (found.f, found.var_between) == (0.0, 0.0)
    assert found.p_value == 1.0


def test_weights_of_any_scale_leave_the_ratio_alone() -> None:
    def weighted(scale: float) -> dict[str, ErrorStats]:
        groups = {}
        for name, errors in (("a", (1.0, 2.0, 4.0)), ("b", (3.0, 5.0, 9.0))):
            groups[name] = ErrorStats()
            for error in errors:
                groups[name].update(0.0, error, scale)
        return groups

    assert anova(weighted(0.3)).f == pytest.approx(anova(weighted(1.0)).f, rel=1e-14)


def test_too_little_gives_nan() -> None:
    for groups in ({}, {"a": [1.0, 2.0]}, {"a": [1.0], "b": [2.0]}, {"a": [1.0, 2.0], "b": []}):
        found = anova({name: stats_of(errors) for name, errors in groups.items()})
        assert math.isnan(found.f)
        assert math.isnan(found.p_value)
        assert math.isnan(found.var_between)
    flat = anova({"a": stats_of([1.0, 1.0]), "b": stats_of([2.0, 2.0])})
    assert (flat.f, flat.p_value) == (math.inf, 0.0)
    same = anova({"a": stats_of([1.0, 1.0]), "b": stats_of([1.0, 1.0])})
    assert math.isnan(same.f)


def fleet(sizes: list[int], spread: float, seed: int) -> dict[str, ErrorStats]:
    """Return devices of normal errors whose log standard deviation itself varies by `spread`."""
    rng = random.Random(seed)
    found = {}
    for number, size in enumerate(sizes):
        sigma = math.exp(rng.gauss(0, spread))
        found[f"d{number}"] = stats_of([rng.gauss(0, sigma) for _ in range(size)])
    return found


def test_the_components_are_what_their_formulas_say() -> None:
    devices = fleet([40, 60, 200, 30], 0.3, 2)
    found = variance_components(devices)
    mse = [stats.mse for stats in devices.values()]
    errors = [stats.mse_standard_error for stats in devices.values()]
    mean = sum(mse) / 4
    assert found.devices == 4
    assert found.mean_mse == pytest.approx(mean, rel=1e-14)
    assert found.variance_of_mse == pytest.approx(sum((m - mean) ** 2 for m in mse) / 3, rel=1e-12)
    assert found.sampling_variance == pytest.approx(sum(e * e for e in errors) / 4, rel=1e-12)
    assert found.tau2 == pytest.approx(found.variance_of_mse - found.sampling_variance, rel=1e-12)
    assert found.i2 == pytest.approx(found.tau2 / found.variance_of_mse, rel=1e-12)


def test_devices_that_are_alike_are_seldom_told_apart() -> None:
    found = [variance_components(fleet([200] * 12, 0.0, seed)) for seed in range(200)]
    rejected = sum(each.p_value < 0.05 for each in found)
    assert 1 <= rejected <= 24, rejected  # 10 expected; binomial, 5 standard deviations
    mean = sum(each.variance_of_mse - each.sampling_variance for each in found) / len(found)
    assert abs(mean) < 0.1 * sum(each.sampling_variance for each in found) / len(found)


def test_real_differences_are_seen_and_measured() -> None:
    found = [variance_components(fleet([500] * 20, 0.1, seed)) for seed in range(30)]
    assert all(each.p_value < 1e-4 for each in found)
    assert all(0.5 < each.i2 < 1 for each in found)
    # sigma^2 is log-normal with mu = 0 and s = 0.2: variance exp(s^2) (exp(s^2) - 1).
    want = math.exp(0.04) * math.expm1(0.04)
    assert sum(each.tau2 for each in found) / 30 == pytest.approx(want, rel=0.25)


def test_components_of_too_little_are_nan() -> None:
    assert variance_components({}).devices == 0
    one = variance_components({"a": stats_of([1.0, 2.0]), "b": stats_of([5.0])})
    assert (one.devices, one.mean_mse) == (1, 2.5)
    assert math.isnan(one.tau2)
    perfect = variance_components({"a": stats_of([0.0, 0.0]), "b": stats_of([1.0, 2.0])})
    assert math.isnan(perfect.f)
    assert math.isnan(perfect.p_value)
    assert perfect.tau2 >= 0
