"""The statistics behind the questions, against statsmodels, and metafor's published figures."""

from __future__ import annotations

import math

import numpy as np
import pandas
import pytest
from statsmodels.formula.api import mixedlm, ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.oneway import anova_oneway
from support.fleet import stats_of

from edgemse.fleet import anova
from edgemse.fleet.arms import holm
from edgemse.fleet.beside import anova_beside
from edgemse.fleet.homogeneity import brown_forsythe
from edgemse.fleet.outlying import discoveries
from edgemse.fleet.spread import Profile
from edgemse.fleet.welch import welch
from edgemse.fleet.windows import Numbers
from edgemse.stats.error_stats import ErrorStats

# Colditz et al. 1994 (metafor's dat.bcg): tuberculosis, and none, with the vaccine; and without.
BCG = """
    4 119 11 128   6 300 29 274   3 228 11 209   62 13536 248 12619   33 5036 47 5761
    180 1361 372 1079   8 2537 10 619   505 87886 499 87892   29 7470 45 7232   17 1699 65 1600
    186 50448 141 27197   5 2493 3 2338   27 16886 29 17825
"""


def exactly(y: Numbers, v: Numbers) -> Profile:
    """Return the profile of figures whose variances are known."""
    return Profile(y, v, v, lambda _b, _mu: v, lambda _parts, _variance: 1e-30)


def test_metafors_bcg_by_value() -> None:
    a, b, c, d = np.array(BCG.split(), dtype=float).reshape(13, 4).T
    risks = np.log(a / (a + b) / (c / (c + d)))
    profile = exactly(risks, 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))
    squares = profile.at(0.0)
    assert squares[0] == pytest.approx(152.2330, abs=5e-5)  # Q(12)
    assert squares[1] == pytest.approx(12)
    assert profile.limits() == pytest.approx((0.1197, 1.1115), abs=5e-5)
    # PyMARE 0.0.13's q_profile, which would bring SymPy along (85 MB).
    assert profile.limits() == pytest.approx((0.11971836, 1.11147908), rel=1e-7)
    iterated = combine_effects(risks, profile.vw, method_re="iterated", atol=1e-10)
    assert profile.estimate() == pytest.approx(iterated.tau2, rel=1e-5)
    assert profile.estimate() == pytest.approx(0.3181, abs=5e-5)  # Paule and Mandel's


def samples(seed: int) -> list[Numbers]:
    rng = np.random.default_rng(seed)
    shapes = ((0.0, 1.0, 12), (0.3, 3.0, 40), (-0.2, 0.5, 25), (0.1, 2.0, 11))
    return [rng.normal(mean, scale, count) for mean, scale, count in shapes]


def test_brown_and_forsythes_test_with_mehrotras_freedom() -> None:
    groups = samples(1)
    n = np.array([float(len(each)) for each in groups])
    s2 = np.array([each.var(ddof=1) / len(each) for each in groups])
    found = brown_forsythe(n, np.array([each.mean() for each in groups]), s2, s2, n - 1)
    want = anova_oneway(groups, use_var="bf")
    assert found.f == pytest.approx(want.statistic, rel=1e-12)
    assert (found.df1, found.df2) == pytest.approx((want.df_num, want.df_denom), rel=1e-12)
    assert found.p_value == pytest.approx(want.pvalue, rel=1e-10)


def test_welchs_test_and_the_plain_one() -> None:
    groups = samples(2)
    states = {str(place): stats_of(each) for place, each in enumerate(groups)}
    found, want = welch(states), anova_oneway(groups, use_var="unequal", welch_correction=True)
    assert found.f == pytest.approx(want.statistic, rel=1e-10)
    assert found.df2 == pytest.approx(want.df_denom, rel=1e-10)
    assert found.p_value == pytest.approx(want.pvalue, rel=1e-9)
    plain, equal = anova(states), anova_oneway(groups, use_var="equal")
    assert plain.f == pytest.approx(equal.statistic, rel=1e-10)
    assert plain.p_value == pytest.approx(equal.pvalue, rel=1e-9)


def table(seed: int, nested: bool) -> tuple[dict[tuple[str, ...], ErrorStats], pandas.DataFrame]:
    """Return cells, and their samples by the row; crossed ones unequal, a third of them missing."""
    rng = np.random.default_rng(seed)
    cells, rows = {}, []
    for device in range(8):
        effect = rng.normal(0, 1)
        for version in range(4):
            if not nested and rng.random() < 0.3:
                continue
            inside = f"{device}.{version}" if nested else str(version)
            shift = effect + (rng.normal(0, 0.7) if nested else 0.5 * version)
            errors = shift + rng.normal(0, 1, 6 if nested else rng.integers(2, 20))
            cells[str(device), inside] = stats_of(errors)
            rows += [(str(device), inside, error) for error in errors]
    return cells, pandas.DataFrame(rows, columns=["device", "inside", "e"])


def test_the_table_with_factors_removed_is_of_type_two() -> None:
    cells, rows = table(3, nested=False)
    found, _ = anova_beside(cells, 1)
    want = anova_lm(ols("e ~ C(device) + C(inside)", rows).fit(), typ=2)
    assert found.f == pytest.approx(want.loc["C(device)", "F"], rel=1e-9)
    assert found.p_value == pytest.approx(want.loc["C(device)", "PR(>F)"], rel=1e-8)
    assert found.df_within == want.loc["Residual", "df"]
    assert found.ms_within == pytest.approx(
        want.loc["Residual", "sum_sq"] / want.loc["Residual", "df"], rel=1e-10
    )


def test_nested_components_are_those_of_a_mixed_model() -> None:
    """Balanced and above 0, Henderson's are those of restricted maximum likelihood."""
    cells, rows = table(4, nested=True)
    found, nested = anova_beside(cells, 1, nested=True)
    model = mixedlm(
        "e ~ 1", rows, groups="device", re_formula="1", vc_formula={"inside": "0 + C(inside)"}
    ).fit(reml=True, method="lbfgs")
    assert found.var_between == pytest.approx(float(model.cov_re.iloc[0, 0]), rel=1e-3)
    assert nested == pytest.approx(float(model.vcomp[0]), rel=1e-3)
    assert found.var_within == pytest.approx(model.scale, rel=1e-4)


def test_many_tests_at_once() -> None:
    p_values = np.random.default_rng(5).uniform(0, 0.2, 40) ** 2
    assert holm([*p_values]) == pytest.approx(multipletests(p_values, method="holm")[1])
    wanted = multipletests(p_values, alpha=0.05, method="fdr_bh")[0]
    assert discoveries(p_values).tolist() == wanted.tolist()
    assert math.isnan(holm([float("nan")])[0])
