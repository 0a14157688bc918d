"""Growing: revisions, closing, and what the bounds fold together."""

from __future__ import annotations

from edgemse.cells import OVERFLOW, Cell, SealedCell, Series, unseal
from edgemse.counters import Counters
from edgemse.growing import MEANINGS, Growing, coarsened

A = Series("m", "1")


def made(**bounds: int) -> tuple[Growing, Counters]:
    counters = Counters(MEANINGS)
    return Growing(counters, **bounds), counters


def sealed(growing: Growing, now: float, *, everything: bool = False) -> list[SealedCell]:
    """Return what grew, and let go of what is final, as a commit does."""
    growing.close_ended(now, everything=everything)
    cells = [cell for cell in growing if cell.grown]
    out = [cell.seal(growing.producer) for cell in cells]
    for cell in cells:
        if cell.final:
            growing.forget(cell)
    return out


def samples(cells: list[SealedCell]) -> int:
    return sum(unseal(cell).stats.count for cell in cells)


def test_a_cell_grows_by_revisions_and_ends_with_a_final_one() -> None:
    growing, _ = made()
    growing.sample(A, 10.0, 0.0, 1.0, 1.0)
    assert [(c.revision, c.final) for c in sealed(growing, 11.0)] == [(1, False)]
    assert sealed(growing, 12.0) == []
    growing.sample(A, 20.0, 0.0, 3.0, 1.0)
    (second,) = sealed(growing, 21.0)
    assert (second.revision, unseal(second).stats.bias) == (2, 2.0)
    assert sealed(growing, 61.9) == []
    (last,) = sealed(growing, 62.0)
    assert (last.identity, last.revision, last.final) == (second.identity, 3, True)
    growing.sample(A, 30.0, 0.0, 5.0, 1.0)
    (late,) = sealed(growing, 63.0)
    assert late.window == last.window
    assert late.identity != last.identity
    assert len(growing) == 0


def test_a_revision_that_was_not_written_comes_again_with_what_came_since() -> None:
    growing, _ = made()
    growing.sample(A, 10.0, 0.0, 1.0, 1.0)
    (cell,) = growing
    first = cell.seal(growing.producer)
    growing.sample(A, 12.0, 0.0, 1.0, 1.0)
    second = cell.seal(growing.producer)
    assert (first.revision, second.revision) == (1, 2)
    assert unseal(second).stats.count == 2
    assert cell.seal(growing.producer) == second


def test_measures_never_meet_and_are_bounded_apart() -> None:
    growing, counters = made(series_max=2)
    for measure in ("", "latency", "loss:brier"):
        for segment in "abc":
            growing.sample(Series("m", segment=segment, measure=measure), 1.0, 0.0, 1.0, 1.0)
    cells = [unseal(cell) for cell in sealed(growing, 2.0)]
    assert len(cells) == 9
    assert {(c.series.segment, c.series.measure) for c in cells} == {
        (segment, measure)
        for segment in ("a", "b", OVERFLOW)
        for measure in ("", "latency", "loss:brier")
    }
    assert counters["samples_overflowed"] == 3
    for number in range(100):
        growing.sample(Series("m", segment="a", measure=f"x{number}"), 1.0, 0.0, 1.0, 1.0)
    assert counters["measures_refused"] == 100 - (64 + 1 - 3)
    assert growing.sample(Series("m", segment="a", measure="x0"), 1.0, 0.0, 1.0, 1.0)


def test_too_many_series_fold_into_the_overflow_and_none_is_lost() -> None:
    growing, counters = made(series_max=3)
    for i in range(100):
        growing.sample(Series(f"model {i % 50}", segment=str(i)), 1.0, 0.0, 1.0, 1.0)
    cells = sealed(growing, 2.0)
    assert samples(cells) == 100
    assert len(cells) <= 2 * 3 + 1
    assert {cell.series.segment for cell in cells} >= {"0", "1", "2", OVERFLOW}
    assert counters["samples_overflowed"] == 97


def test_coarsening_keeps_every_sample() -> None:
    growing, _ = made()
    for i in range(100):
        growing.sample(A, 60.0 * i, 0.0, float(i), 1.0)
        growing.coverage(A, 60.0 * i).predictions += 1
    narrow = sealed(growing, 0.0, everything=True)
    wide = coarsened(narrow, 3_600, growing.next_identity)
    opened: list[Cell] = [unseal(each.cell) for each in wide]
    assert [(c.window.start, c.stats.count) for c in opened] == [(0, 60), (3_600, 40)]
    assert sum(c.coverage.predictions for c in opened) == 100
    assert {i for each in wide for i in each.absorbed} == {cell.identity for cell in narrow}


def test_windows_become_wider_while_cells_are_held_and_narrow_again() -> None:
    growing, _ = made(cells_max=100)
    minutes = 60 * 24 * 60
    for minute in range(minutes):
        growing.sample(A, 60.0 * minute, 0.0, 1.0, 1.0)
    cells = sealed(growing, 0.0, everything=True)
    assert samples(cells) == minutes
    assert len(cells) < 200
    assert {cell.window.width for cell in cells} == {60, 3_600, 86_400}
    growing.sample(A, 60.0 * minutes, 0.0, 1.0, 1.0)
    assert sealed(growing, 0.0)[-1].window.width == 60


def test_random_times_do_not_get_past_the_bound_and_what_that_costs_is_counted() -> None:
    growing, counters = made(cells_max=50)
    taken = sum(growing.sample(A, 86_400.0 * day, 0.0, 1.0, 1.0) for day in range(1_000))
    assert len(growing) == taken == 100
    assert counters["windows_refused"] == 900
    growing.coverage(A, 86_400.0 * 5_000).predictions += 1
    assert counters["windows_refused"] == 901
    assert growing.sample(A, 0.0, 0.0, 1.0, 1.0)
