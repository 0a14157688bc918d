"""Windows: revisions, closing, and what the bounds fold together."""

from __future__ import annotations

from edgemse_agent.coarsen import coarsened
from edgemse_agent.health import Health
from edgemse_agent.windows import OVERFLOW, Windows

from edgemse.cells import SealedCell, Series, unseal

A = Series("m", "1")


def settled(windows: Windows, now: float, **how: bool) -> list[SealedCell]:
    cells = windows.sealed(now, **how)
    windows.settle(cells)
    return cells


def test_a_cell_grows_by_revisions_and_ends_with_a_final_one() -> None:
    windows = Windows(Health(), width_seconds=60)
    windows.sample(A, 10.0, 0.0, 1.0, 1.0)
    assert [(c.revision, c.final) for c in settled(windows, 11.0)] == [(1, False)]
    assert settled(windows, 12.0) == []
    windows.sample(A, 20.0, 0.0, 3.0, 1.0)
    (second,) = settled(windows, 21.0)
    assert (second.revision, unseal(second, "").stats.bias) == (2, 2.0)
    assert settled(windows, 61.9) == []
    (last,) = settled(windows, 62.0)
    assert (last.identity, last.revision, last.final) == (second.identity, 3, True)
    windows.sample(A, 30.0, 0.0, 5.0, 1.0)
    (late,) = settled(windows, 63.0)
    assert late.window == last.window
    assert late.identity != last.identity


def test_a_commit_that_failed_loses_nothing() -> None:
    windows = Windows(Health(), width_seconds=60)
    windows.sample(A, 10.0, 0.0, 1.0, 1.0)
    first = windows.sealed(11.0)
    windows.sample(A, 12.0, 0.0, 1.0, 1.0)
    second = windows.sealed(13.0)
    assert [c.revision for c in first + second] == [1, 1]
    assert unseal(second[0], "").stats.count == 2


def test_too_many_series_fold_into_the_overflow_and_none_is_lost() -> None:
    health = Health()
    windows = Windows(health, width_seconds=60, series_max=3)
    for i in range(100):
        windows.sample(Series(f"model {i % 50}", segment=str(i)), 1.0, 0.0, 1.0, 1.0)
    cells = [unseal(cell, "") for cell in windows.sealed(2.0)]
    assert sum(cell.stats.count for cell in cells) == 100
    assert len(cells) <= 2 * 3 + 1
    assert {cell.series.segment for cell in cells} >= {"0", "1", "2", OVERFLOW}
    assert health["samples_overflowed"] == 97


def test_too_many_open_cells_are_closed_early_and_none_is_lost() -> None:
    health = Health()
    windows = Windows(health, width_seconds=60, open_cells_max=5)
    cells = []
    for i in range(20):
        windows.sample(A, 60.0 * i, 0.0, 1.0, 1.0)
        cells += [cell for cell in settled(windows, 0.0) if cell.final]
    assert len(cells) == 15 == health["cells_closed_early"]
    cells += windows.sealed(0.0, everything=True)
    assert sum(unseal(cell, "").stats.count for cell in cells) == 20
    assert len({cell.identity for cell in cells}) == 20


def test_coarsening_keeps_every_sample() -> None:
    windows = Windows(Health(), width_seconds=60)
    for i in range(100):
        windows.sample(A, 60.0 * i, 0.0, float(i), 1.0)
        windows.coverage(A, 60.0 * i).predictions += 1
    narrow = windows.sealed(0.0, everything=True)
    wide = coarsened(narrow, 3_600, windows.next_identity)
    opened = [unseal(cell, "") for cell, _ in wide]
    assert [(c.window.start, c.stats.count) for c in opened] == [(0, 60), (3_600, 40)]
    assert sum(c.coverage.predictions for c in opened) == 100
    assert {i for _, gone in wide for i in gone} == {cell.identity for cell in narrow}


def test_windows_become_wider_while_the_ledger_takes_nothing() -> None:
    windows = Windows(Health(), width_seconds=60, open_cells_max=100)
    minutes = 60 * 24 * 60
    for minute in range(minutes):
        windows.sample(A, 60.0 * minute, 0.0, 1.0, 1.0)
    cells = windows.sealed(0.0)
    assert sum(unseal(cell, "").stats.count for cell in cells) == minutes
    assert len(cells) < 400
    assert {cell.window.width for cell in cells} == {60, 3_600, 86_400}
    windows.settle(cells)
    windows.sample(A, 60.0 * minutes, 0.0, 1.0, 1.0)
    assert windows.sealed(0.0)[-1].window.width == 60
