"""Why groups differ: planted reasons, the formulas in another way, and size and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize
from support.fleet import START, Planted, stats_of

from edgemse.errors import ColumnError, SettingsError
from edgemse.fleet.explaining import Explained
from edgemse.fleet.moderators import share_explained
from edgemse.fleet.variance import VarianceAnswer

DAY = 86_400


def plant(planted: Planted, devices: int = 24) -> None:
    """Put devices whose hardware makes them 1.5 times worse; the site does not matter."""
    rng = np.random.default_rng(1)
    for number in range(devices):
        old = number % 3 == 0
        scale = (1.5 if old else 1.0) * math.exp(rng.normal(0, 0.05))
        name = f"d{number:02d}"
        planted.put(name, stats_of(rng.normal(0, scale, 500)), start=START)
        hardware, site = "pi-3" if old else "pi-4", f"s{number // 6}"
        planted.say(name, hardware=hardware, site=site, serial=name)
    planted.commit()


def explain(planted: Planted, names: str, **asked: object) -> dict[str, Explained]:
    found = planted.ask("variance", explain=names, **asked)
    assert isinstance(found, VarianceAnswer)
    return {each.name: each for each in found.explained}


def test_the_planted_reason_is_found_and_the_other_is_not(planted: Planted) -> None:
    plant(planted)
    found = explain(planted, "hardware,site,serial")
    hardware, site, serial = (found[name] for name in ("hardware", "site", "serial"))
    assert 0.6 < hardware.low < 0.9 < hardware.share <= hardware.high <= 1
    assert (hardware.p_value, hardware.p_adjusted) == (0.001, 0.002)
    assert (hardware.values, hardware.groups, hardware.left_out, hardware.mixed) == (2, 24, 0, 0)
    assert site.p_value > 0.05
    assert site.low == 0
    assert (serial.values, serial.left_out, math.isnan(serial.share)) == (0, 24, True)
    answer = planted.ask("variance", explain="serial,hardware")
    assert "not enough data: serial has 0 values" in " ".join(answer.notes)
    assert "hardware explains 9" in " ".join(answer.sentences())
    assert repr(answer) == repr(planted.ask("variance", explain="serial,hardware"))
    plain = planted.ask("variance")
    assert isinstance(plain, VarianceAnswer)
    assert plain.explained == ()


def test_a_device_that_moved_counts_where_most_of_its_samples_are(planted: Planted) -> None:
    plant(planted)
    planted.put("d00", stats_of([1.0, -1.0] * 20), start=START + DAY)
    planted.say("d00", at=START + DAY, hardware="pi-4")
    planted.put("new", stats_of([1.0, -1.2] * 20))
    planted.commit()
    hardware = explain(planted, "hardware")["hardware"]
    assert (hardware.mixed, hardware.left_out, hardware.groups) == (1, 1, 24)
    assert hardware.share > 0.9


@pytest.mark.parametrize("names", ["site,site", "", "site,,hardware", ",".join("abcdefg")])
def test_wrong_names_are_refused(planted: Planted, names: str) -> None:
    plant(planted, 2)
    with pytest.raises((SettingsError, ColumnError)):
        planted.ask("variance", explain=names or ",")


def test_no_such_attribute(planted: Planted) -> None:
    plant(planted, 2)
    with pytest.raises(ColumnError, match="no column 'colour'"):
        planted.ask("variance", explain="colour")


def test_the_share_is_that_of_a_weighted_regression() -> None:
    """The same by matrices and another root finder: projections of weighted least squares."""
    rng = np.random.default_rng(2)
    value = np.repeat([0, 1, 2], [6, 9, 5])
    vm = rng.uniform(0.005, 0.03, 20)
    y = np.array([0.0, 0.3, -0.2])[value] + rng.normal(0, 0.2, 20) + rng.normal(0, np.sqrt(vm))
    dummies, ones = np.eye(3)[value], np.ones((20, 1))

    def residual(x: np.ndarray, w: np.ndarray) -> float:
        root = np.sqrt(w)
        solved = np.linalg.lstsq(root[:, None] * x, root * y, rcond=None)[0]
        return float((w * (y - x @ solved) ** 2).sum())

    t = optimize.brentq(lambda t: residual(dummies, 1 / (vm + t)) - 17, 0, 10)
    w = 1 / (vm + t)
    between = (residual(ones, w) - 17 - 2 * 17 / 17) / w.sum()
    found = share_explained(y, vm, value, rng)
    assert found.share == pytest.approx(between / (between + t), rel=1e-6)
    assert found.low <= found.share <= found.high


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0.0, 0.08), (0.3, 0.8, 1.0)])
def test_size_power_and_coverage(share: float, least: float, most: float) -> None:
    """35, 20 and 5 devices that differ by 10 % of RMSE, 200 to 2,000 samples each."""
    rng = np.random.default_rng(3)
    sizes, runs, tau2 = np.array([35, 20, 5]), 120, 0.04
    value = np.repeat([0, 1, 2], sizes)
    effect = np.array([-1.0, 1.0, 1.0])
    effect -= (sizes * effect).sum() / 60
    effect *= math.sqrt(share * tau2 / ((sizes * effect**2).sum() / 60))
    rejected = covered = 0
    for _ in range(runs):
        vm = 2 / rng.choice([200, 500, 2_000], 60)
        noise = rng.normal(0, math.sqrt((1 - share) * tau2), 60) + rng.normal(0, np.sqrt(vm))
        found = share_explained(effect[value] + noise, vm, value, rng)
        rejected += found.p_value < 0.05
        covered += found.low <= share <= found.high
    print(f"seed 3, share {share}: rejected {rejected}, covered {covered} of {runs}")
    assert least <= rejected / runs <= most
    assert covered / runs >= 0.91
