"""What the demo says at its end: found in a planted store, and what it warns of."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from scipy import stats as scipy_stats
from support.fleet import START, Planted, follow, stats_of

from edgemse.cells import Series
from edgemse.demo.device import MODEL
from edgemse.demo.findings import Findings, find, naive_p_value
from edgemse.demo.truth import Truth
from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import merged

MEMORY = 0.31
WINDOWS = 7


@pytest.fixture
def planted() -> Iterator[Planted]:
    found = Planted()
    yield found
    found.store.close()


def plant(planted: Planted, *, better: float, windows: int = WINDOWS) -> None:
    """Six devices of both versions; the second is 1.8 times worse in the yard; d5 falls silent."""
    for number in range(6):
        rng = random.Random(number)
        for version, segment, factor in (
            ("persistence", "hall", 1.0),
            ("persistence", "yard", 1.0),
            ("rls", "hall", better),
            ("rls", "yard", 1.8),
        ):
            per_window = 95 if segment == "hall" else 5
            errors = follow(rng, windows * per_window, 0.6)
            for window in range(windows if number < 5 else windows - 5):
                part = errors[window * per_window :][:per_window]
                planted.put(
                    f"d{number}",
                    stats_of([factor * (1 + 0.1 * number) * x for x in part]),
                    series=Series(MODEL, version, segment=segment),
                    start=START + 10 * window,
                    width=10,
                )
    planted.commit()


def said(planted: Planted) -> tuple[Findings, str]:
    with planted.store.reading() as reading:
        found = find(reading, "persistence", "rls")
        asked = Asked(by=("device", "version"), where={"model": MODEL, "measure": ""})
        groups = merged(reading, asked).stats()
    truth = {("d0", "rls"): Truth(100, 1.0, 0, 0, MEMORY)}
    return found, "\n".join(found.lines(groups, truth))


def test_a_better_version_with_a_worse_segment_is_told_with_what_would_mislead(
    planted: Planted,
) -> None:
    plant(planted, better=0.7)
    found, text = said(planted)
    assert found.compare.high < 1
    assert f"Yes: RMSE x {found.compare.ratio:.2f}" in text
    assert "But worse in yard" in text
    assert "The better average hides yard" in text
    assert "as if samples were independent" in text
    assert "Silent: d5." in text
    assert "Not yet: how sure that is." in text
    assert "Do: roll back rls" in text


def test_equal_versions_are_not_called_better(planted: Planted) -> None:
    plant(planted, better=1.0, windows=12)
    _, text = said(planted)
    assert "Yes" not in text
    assert "By its windows an MSE varies" in text
    assert "Not yet" not in text


def test_one_device_is_not_enough_and_says_so(planted: Planted) -> None:
    series = Series(MODEL, "rls")
    planted.put("d", stats_of([1.0, -2.0] * 20), series=series, start=START, width=10)
    planted.commit()
    _, text = said(planted)
    assert "Not enough data to tell" in text
    assert "nan" not in text


def test_the_naive_p_value_takes_samples_as_independent() -> None:
    rng = random.Random(3)
    a, b = ([rng.gauss(0, sd) for _ in range(4_000)] for sd in (1.0, 1.05))
    squares = [[x * x for x in arm] for arm in (a, b)]
    expected = scipy_stats.ttest_ind(*squares, equal_var=False).pvalue
    assert naive_p_value(stats_of(a), stats_of(b)) == pytest.approx(expected, rel=0.02)
