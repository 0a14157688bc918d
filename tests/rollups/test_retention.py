"""Old cells in one of an hour or a day: the same answers, and no name counts twice."""

from __future__ import annotations

import math
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cells import batch, cell
from support.engines import Factory
from support.fleet import BY, START, Planted, stats_of
from support.rollups import DEVICES, LATER, counts, fill, left, read, retained, rolled, same

from edgemse.cells import Identity
from edgemse.errors import InputError, SettingsError
from edgemse.fleet.asked import Asked
from edgemse.fleet.variance import VarianceAnswer
from edgemse.rollups.retention import Retained, pending
from edgemse.stores import Store, retaining
from edgemse.stores.audit import Actor
from edgemse.stores.devices import forget, rename
from edgemse.stores.duckdb import DuckDBStore
from edgemse.stores.importing import import_store
from edgemse.stores.keep import Keep
from edgemse.stores.parquet import export_store

HOUR, DAY = 3_600, 86_400
CELLS = "SELECT window_width_seconds, count(*) FROM cells GROUP BY 1 ORDER BY 1"


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    with store.reading() as reading:
        return reading.rows(sql).rows


def asked(*, whole_days: bool = False) -> list[tuple[Asked, int | None]]:
    """Return questions whose bounds lie on hours, or days."""
    step = DAY if whole_days else HOUR
    spans = [(None, None), (START + step, START + 2 * DAY)]
    groups: list[tuple[str, ...]] = [("device", "version"), ("site", "weekday")]
    return [
        (Asked(by, since=a, until=b), step) for by in groups for a, b in spans for s in (None, step)
    ]


@pytest.mark.parametrize("seed", range(2))
def test_answers_are_the_same_after_retention(store: Store, seed: int) -> None:
    planted = Planted(store=store)
    for number, device in enumerate(DEVICES):
        planted.say(device, site="north" if number else "south")
    planted.say("pi-1", START + 31 * HOUR, site="east")
    fill(planted, random.Random(seed), 300)
    hours, days = asked(), asked(whole_days=True)
    raw = [read(store, *each) for each in hours]
    raw_days = [read(store, *each) for each in days]
    rolled(store)
    found = retained(store, raw_days=2)
    assert found.rows < found.absorbed
    assert sorted(row[0] for row in rows(store, CELLS)) == [HOUR, DAY]
    for each, one in zip(hours, raw, strict=True):
        same(one, read(store, *each))
    rolled(store)
    for each, one in zip(hours, raw, strict=True):
        same(one, read(store, *each))
    assert retained(store, raw_days=2) == Retained()
    retained(store, raw_days=2, hourly_days=3)
    # Hours stay where the site of the device changed within the day.
    left_over = "SELECT DISTINCT device, window_start_seconds / 86400 - {} FROM cells"
    left_over += " WHERE window_width_seconds = 3600"
    assert {device for device, _ in rows(store, left_over.format(START // DAY))} == {"pi-1"}
    for _ in range(2):
        for each, one in zip(days, raw_days, strict=True):
            same(one, read(store, *each))
        rolled(store)


def test_what_comes_again_is_acknowledged_and_not_counted(store: Store) -> None:
    cells = [cell(1, n, start=START + 60 * n, final=True) for n in range(60)]
    store.commit(batch(*cells))
    rolled(store)
    assert retained(store, raw_days=1) == Retained(absorbed=60, rows=1)
    assert store.commit(batch(*cells)) == {each.identity: 1 for each in cells}
    assert counts(store) == {"pi-1": 60 * 20}
    names = "SELECT first_sequence, last_sequence, absorber FROM absorbed"
    assert rows(store, names) == [(0, 59, store.id)]
    rolled(store)
    assert counts(store) == {"pi-1": 60 * 20}
    assert rows(store, "SELECT value FROM counters WHERE name = 'cells_absorbed'") == [(60,)]


def test_a_late_label_makes_its_hour_anew(store: Store) -> None:
    store.commit(batch(*(cell(1, n, start=START + 60 * n, final=True) for n in range(10))))
    rolled(store)
    retained(store, raw_days=1)
    rolled(store)
    store.commit(batch(cell(1, 10, start=START + 120, final=True)))
    assert left(store).hours == 1
    assert counts(store) == {"pi-1": 11 * 20}
    rolled(store)
    assert counts(store) == {"pi-1": 11 * 20}
    assert retained(store, raw_days=1) == Retained(absorbed=1, rows=1)
    assert rows(store, "SELECT first_sequence, last_sequence FROM absorbed") == [(0, 10)]
    assert counts(store) == {"pi-1": 11 * 20}


def test_cells_that_still_grow_stay(store: Store) -> None:
    store.commit(batch(cell(1, 0, final=True), cell(1, 1)))
    assert retained(store, raw_days=1) == Retained(absorbed=1, rows=1)
    store.commit(batch(cell(1, 1, revision=2, final=True)))
    assert counts(store) == {"pi-1": 40}
    assert retained(store, raw_days=1) == Retained(absorbed=1, rows=1)
    assert counts(store) == {"pi-1": 40}


def test_young_days_stay_and_old_ones_go_for_good(store: Store) -> None:
    now = START + 3 * DAY + 5.0
    for day in range(3):
        store.commit(batch(cell(day + 1, start=START + day * DAY, final=True)))
    rolled(store, now)
    keep = Keep(raw_days=1, daily_days=2)
    assert pending(store, keep, now) == Retained(absorbed=1, dropped=1)
    found = retained(store, now, raw_days=1, daily_days=2)
    assert found == Retained(absorbed=1, rows=1, dropped=1)
    rolled(store, now)
    assert counts(store) == {"pi-1": 40}
    assert store.commit(batch(cell(1, final=True))) == {cell(1).identity: 1}
    assert counts(store) == {"pi-1": 40}


def test_a_cell_that_changes_meanwhile_stays(store: Store) -> None:
    store.commit(batch(cell(1, 0, final=True), cell(1, 1, final=True)))
    gone = [
        retaining.Going(Identity(cell().identity.producer, n), 1 + n, START, ("pi-1",) * 6)
        for n in range(2)
    ]
    with suppress(ZeroDivisionError), store.writing() as writing:
        assert not retaining.replace(writing, gone, [], [], store.id, 0)
        raise ZeroDivisionError
    assert counts(store) == {"pi-1": 40}


def test_devices_are_forgotten_and_renamed_after_retention(store: Store) -> None:
    for number, device in enumerate(DEVICES, 1):
        store.commit(batch(cell(number, 0, final=True), cell(number, 1, final=True), device=device))
    retained(store, raw_days=1)
    rolled(store)
    with store.writing() as writing:
        forget(writing, "pi-1", Actor(**BY), 0)
    with store.writing() as writing:
        rename(writing, "pi-2", "pi-3", Actor(**BY), 0)
    for _ in range(2):
        assert counts(store) == {"pi-3": 80}
        store.commit(batch(cell(1, 0, final=True), cell(1, 1, final=True)))
        retained(store, raw_days=1, hourly_days=2)
        rolled(store)


@pytest.mark.parametrize(
    "days",
    [{"raw_days": -1}, {"raw_days": 7, "hourly_days": 7}, {"raw_days": 9, "daily_days": 8}],
)
def test_settings_that_make_no_sense_are_refused(days: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match="wanted"):
        Keep(**days)


def hourly(store: Store, numbers: range) -> None:
    """Commit a minute's cell each, all in the first two hours."""
    for number in numbers:
        store.commit(batch(cell(7, number, start=START + 60 * number, final=True)))


def test_an_export_after_retention_counts_once_in_a_store_that_had_the_cells(
    engine: Factory, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = engine(tmp_path / "one", time.time), engine(tmp_path / "two", time.time)
    hourly(one, range(90))
    export_store(one, tmp_path / "raw", now=lambda: LATER)
    import_store(tmp_path / "raw", two)
    rolled(two)
    retained(one, raw_days=1)
    # Only the last days are asked for, but what has changed is written too.
    export_store(one, tmp_path / "raw", since=int(LATER), now=lambda: LATER)
    for _ in range(2):
        import_store(tmp_path / "raw", two)
        assert counts(two) == {"pi-1": 90 * 20}
        rolled(two)
    assert rows(two, CELLS) == [(HOUR, 2)]
    retained(one, raw_days=1, hourly_days=2)
    export_store(one, tmp_path / "days")
    import_store(tmp_path / "days", two)
    rolled(two)
    assert counts(two) == {"pi-1": 90 * 20}
    assert rows(two, CELLS) == [(DAY, 1)]
    for store in (one, two):
        store.close()


def test_what_two_stores_have_absorbed_each_is_not_imported(
    engine: Factory, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = engine(tmp_path / "one", time.time), engine(tmp_path / "two", time.time)
    for store in (one, two):
        hourly(store, range(10))
        retained(store, raw_days=1)
    export_store(one, tmp_path / "export")
    with pytest.raises(InputError, match=r"cells 0 to 9 of producer .* are absorbed here"):
        import_store(tmp_path / "export", two)
    assert counts(two) == {"pi-1": 200}
    for store in (one, two):
        store.close()


def repeating(store: Store, devices: int) -> None:
    """Commit a day of minutes of each device, whose errors follow each other from hour to hour."""
    rng = random.Random(4)
    planted = Planted(store=store)
    for device in range(devices):
        level = 0.0
        for minute in range(6 * 60):
            level = 0.9 * level + rng.gauss(0, 1)
            errors = [level + rng.gauss(0, 0.3) for _ in range(10)]
            planted.put(f"pi-{device}", stats_of(errors), start=START + 60 * minute)
    planted.commit()


def test_noise_is_told_from_what_is_kept_of_windows(store: Store) -> None:
    repeating(store, 4)
    planted = Planted(store=store)
    before = planted.ask("variance")
    assert isinstance(before, VarianceAnswer)
    assert before.between.design_effect > 3
    retained(store, raw_days=1)
    rolled(store)
    after = planted.ask("variance")
    assert isinstance(after, VarianceAnswer)
    assert after.total.count == before.total.count
    # Six hours are too few windows, and what repeats in an hour is a part of it.
    assert 3 < after.between.design_effect <= before.between.design_effect * 1.5
    (note,) = (note for note in after.notes if "design effect" in note)
    assert "1,440 windows that retention has put into hours or days" in note
    assert not [note for note in before.notes if "retention" in note]
    assert rows(store, "SELECT count(*) FROM dependence") == [(24,)]
    retained(store, raw_days=1, hourly_days=2)
    assert rows(store, "SELECT count(*) FROM dependence") == [(0,)]  # six windows show nothing
    unknown = planted.ask("variance")
    assert isinstance(unknown, VarianceAnswer)
    assert math.isnan(unknown.between.design_effect)
    assert [note for note in unknown.notes if "do not depend on each other" in note]


def test_dependence_is_what_the_formulas_say() -> None:
    store = DuckDBStore(Path(":memory:"))
    repeating(store, 1)
    with store.reading() as reading:
        chosen = reading.rows(
            "SELECT weight, m2 + weight * mean * mean FROM cells WHERE window_start_seconds < ?"
            " ORDER BY window_start_seconds",
            (START + HOUR,),
        ).rows
    retained(store, raw_days=1)
    ((count, seen, independent, products, squares),) = rows(
        store,
        "SELECT windows, window_variance, sample_variance, products, squares FROM dependence"
        f" WHERE window_start_seconds = {START}",
    )
    weight, x = np.array([w for w, _ in chosen]), np.array([s / w for w, s in chosen])
    (group,) = read(store, Asked(until=START + 1))
    off = x - np.average(x, weights=weight)
    assert count == 60
    assert seen == pytest.approx(60 / 59 * ((weight * off) ** 2).sum() / weight.sum() ** 2)
    assert independent == pytest.approx(group.stats.mse_standard_error**2)
    assert (products, squares) == pytest.approx(((off[1:] * off[:-1]).sum(), (off**2).sum()))
    store.close()
