"""Answers from rollups are those from cells, whatever is rolled up; on every engine."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from support.cells import batch, cell
from support.engines import Factory
from support.fleet import BY, NEEDED, START, Planted
from support.rollups import DEVICES, counts, fill, left, read, reads_rollups, rolled, same

from edgemse.fleet.asked import Asked
from edgemse.fleet.merging import merged
from edgemse.fleet.questions import NAMES
from edgemse.rollups.rolling import Backlog, Rolled
from edgemse.stats.coverage import Coverage
from edgemse.stores import Store
from edgemse.stores.audit import Actor
from edgemse.stores.devices import forget, rename

HOUR, DAY = 3_600, 86_400


def questions(rng: random.Random) -> Iterator[tuple[Asked, int | None]]:
    """Yield what is asked, and steps, at random: bounds in the middle of hours too."""
    groups: list[tuple[str, ...]] = [(), ("device",), ("site",), ("site", "version"), ("weekday",)]
    groups += [("hour_of_day", "segment")]
    for _ in range(8):
        bounds = sorted(START + rng.randrange(3 * 48) * 1_800 for _ in range(2))
        since, until = (bound if rng.random() < 0.7 else None for bound in bounds)
        if since is not None and since == until:
            until = None
        step = rng.choice((None, None, 600, HOUR, 5_400, 6 * HOUR, DAY))
        where = {"measure": ""} | ({"site": "north"} if rng.random() < 0.3 else {})
        yield Asked(rng.choice(groups), where, since, until), step


@pytest.mark.parametrize("seed", range(3))
def test_answers_are_the_same_from_rollups_absent_half_there_and_whole(
    store: Store, seed: int
) -> None:
    rng = random.Random(seed)
    planted = Planted(store=store)
    for number, device in enumerate(DEVICES):
        planted.say(device, site="north" if number else "south")
    planted.say("pi-1", START + rng.randrange(72) * HOUR, site="east")
    fill(planted, rng, 400)
    asked = [*questions(rng)]
    raw = [read(store, *each) for each in asked]
    rolled(store, START + rng.randrange(72) * HOUR)
    half = [read(store, *each) for each in asked]
    rolled(store)
    assert left(store).hours == left(store).touched == 0
    whole = [read(store, *each) for each in asked]
    for one, two, three in zip(raw, half, whole, strict=True):
        same(one, two)
        same(one, three)
    assert reads_rollups(store, Asked())
    fill(planted, rng, 10)  # late ones
    assert left(store).touched
    late = [read(store, *each) for each in asked]
    rolled(store)
    for each, one in zip(asked, late, strict=True):
        same(one, read(store, *each))


def test_every_question_says_the_same(store: Store) -> None:
    planted = Planted(store=store)
    for device in DEVICES:
        planted.say(device, site="north" if device < "pi-3" else "south")
    fill(planted, random.Random(3), 600)

    def answers() -> list[dict[str, Any]]:
        asked: dict[str, dict[str, Any]] = {name: {"since": START + 1_800} for name in NAMES}
        asked["drift"] = {"reference": "2026-01-01/2026-01-02", "since": START + DAY}
        needed = {name: NEEDED.get(name, {}) | more for name, more in asked.items()}
        return [planted.ask(name, **more).to_json() for name, more in needed.items()]

    raw = answers()
    assert rolled(store).rows
    for one, other in zip(raw, answers(), strict=True):
        near(one, other)


def near(one: Any, other: Any) -> None:
    """Hold two answers to be the same, numbers to 1e-9: tests amplify what figures are off by."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert [*one] == [*other]
        for name in one:
            near(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            near(mine, theirs)
    else:
        assert one == (pytest.approx(other, rel=1e-9, abs=1e-9) if type(one) is float else other)


def test_the_hour_that_is_not_over_stays_as_it_is(store: Store) -> None:
    store.commit(batch(cell()))
    assert rolled(store, START + HOUR + 599.0) == Rolled()
    assert left(store, START + HOUR + 599.0) == Backlog(0, None, 0, 0)
    assert left(store, START + HOUR + 600.0) == Backlog(1, START, 0, 0)
    assert left(store, START + HOUR + 600.0).lag_seconds(START + HOUR + 600.0) == 600
    assert rolled(store, START + HOUR + 600.0).rows == 1
    assert not reads_rollups(store, Asked(since=START + 1))
    assert reads_rollups(store, Asked())


def test_a_cell_that_grows_afterwards_is_in_the_answer_at_once(store: Store) -> None:
    store.commit(batch(cell()))
    rolled(store)
    for revision, final in ((2, False), (3, True)):
        later = cell(revision=revision, final=final)
        store.commit(batch(later))
        (group,) = read(store, Asked())
        assert group.stats.moments().count == later.stats.count
        assert group.stats.mse == pytest.approx(later.stats.mse, rel=1e-14)
        assert rolled(store).rows == 2  # the hour, the day
        (group,) = read(store, Asked())
        assert group.stats.mse == pytest.approx(later.stats.mse, rel=1e-14)


def test_a_cell_that_another_device_goes_on_with_leaves_the_first(store: Store) -> None:
    store.commit(batch(cell()))
    rolled(store)
    store.commit(batch(cell(revision=2), device="other"))
    rolled(store)
    assert [each.by for each in read(store, Asked(("device",)))] == [{"device": "other"}]
    store.commit(batch(cell(revision=3)))
    rolled(store)
    assert [each.by for each in read(store, Asked(("device",)))] == [{"device": "pi-1"}]


def test_a_cell_that_claims_another_window_later_is_not_taken(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    first = cell()
    store.commit(batch(first))
    assert store.commit(batch(cell(revision=2, start=START + 60))) == {first.identity: 1}
    assert "another series or window" in caplog.text


def test_devices_that_are_forgotten_or_renamed_are_so_in_rollups(store: Store) -> None:
    store.commit(batch(cell(final=True), cell(2)))
    store.commit(batch(cell(3, final=True), device="pi-2"))
    store.commit(batch(cell(4, final=True), device="pi-3"))
    rolled(store)
    with store.writing() as writing:
        rename(writing, "pi-2", "pi-3", Actor(**BY), 0)
    with store.writing() as writing:
        forget(writing, "pi-1", Actor(**BY), 0)
    expected = {"pi-1": 20, "pi-3": 40}
    assert counts(store) == expected
    rolled(store)
    assert counts(store) == expected
    assert left(store).rows == 4
    store.commit(batch(cell(2, revision=2, final=True)))
    assert counts(store) == {"pi-3": 40}
    rolled(store)
    assert counts(store) == {"pi-3": 40}


def test_two_who_roll_up_at_once_do_it_once(engine: Factory, tmp_path: Path) -> None:
    store = engine(tmp_path, time.time)
    store.commit(batch(*(cell(number, start=START + HOUR * number) for number in range(60))))
    done = [Rolled(), Rolled()]

    def run(place: int) -> None:
        done[place] = rolled(store)

    threads = [Thread(target=run, args=(place,)) for place in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rolled(store)
    found = left(store)
    assert (found.hours, found.touched, found.rows) == (0, 0, 60 + 3)
    assert counts(store) == {"pi-1": 60 * 20}
    store.close()


def test_counts_that_no_answer_can_hold_are_left_out_of_both(store: Store) -> None:
    huge = Coverage()
    huge.predictions += 2**53
    store.commit(batch(*(cell(number, coverage=huge) for number in (1, 2)), cell(3, start=START)))
    with store.reading() as reading:
        raw = merged(reading, Asked(("device",)))
    rolled(store)
    assert reads_rollups(store, Asked())
    with store.reading() as reading:
        assert merged(reading, Asked(("device",))) == raw
    assert raw.left_out == ("device 'pi-1'",)
