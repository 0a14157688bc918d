"""A bound within an hour or a day of which there is one cell: the answer says what it is of."""

from __future__ import annotations

import math
import random

from support.fleet import START, Planted, stats_of
from support.rollups import retained, rolled

from edgemse.fleet.trend import TrendAnswer
from edgemse.stores import Store

HOUR, DAY = 3_600, 86_400


def notes(planted: Planted, question: str = "variance", **asked: object) -> list[str]:
    return [note for note in planted.ask(question, **asked).notes if "cannot be cut" in note]


def minutes(store: Store) -> Planted:
    """Plant two days of a cell each ten minutes, of two devices."""
    planted = Planted(store=store)
    for number in range(2 * 144):
        for device in ("pi-1", "pi-2"):
            planted.put(device, stats_of([1.0, -1.0]), start=START + 600 * number)
    planted.commit()
    return planted


def test_a_bound_within_an_absorbed_hour_is_told(store: Store) -> None:
    planted = minutes(store)
    inside = {"since": START + 5 * HOUR + 1_800, "until": START + 9 * HOUR + 60}
    assert notes(planted, **inside) == []
    retained(store, raw_days=1)
    for _ in range(2):
        assert notes(planted, **inside) == [
            "since 2026-01-01T05:30:00Z lies within 2 cells of an hour or a day, left out whole:"
            " these cannot be cut; ask from hour to hour, or day to day",
            "until 2026-01-01T09:01:00Z lies within 2 cells of an hour or a day, taken whole:"
            " these cannot be cut; ask from hour to hour, or day to day",
        ]
        (note,) = notes(planted, device="pi-1", since=inside["since"])
        assert "within 1 cell of" in note
        assert notes(planted, model="other", **inside) == []
        assert notes(planted, since=START + 5 * HOUR, until=START + 9 * HOUR) == []
        rolled(store)


def test_a_bound_within_an_absorbed_day_is_told_of_a_reference_too(store: Store) -> None:
    planted = minutes(store)
    retained(store, raw_days=1, hourly_days=2)
    (note,) = notes(planted, since=START + 5 * HOUR)
    assert note.startswith("since 2026-01-01T05:00:00Z lies within 2 cells")
    assert notes(planted, since=START + DAY) == []
    (note,) = notes(planted, "drift", reference="2026-01-01T00:00:00Z/2026-01-01T12:00:00Z")
    assert note.startswith("reference to 2026-01-01T12:00:00Z lies within 2 cells of an hour or")


def trend(planted: Planted, **asked: object) -> TrendAnswer:
    answer = planted.ask("trend", **asked)
    assert isinstance(answer, TrendAnswer)
    return answer


def test_no_slope_is_told_from_days_that_stand_as_one_hour(store: Store) -> None:
    planted, rng = Planted(store=store), random.Random(3)
    for hour in range(4 * 24):
        errors = [1.1 ** (hour // 24) * rng.gauss(0, 1) for _ in range(60)]
        planted.put("pi-1", stats_of(errors), start=START + HOUR * hour, width=HOUR)
    planted.commit()
    young = trend(planted, step="1h", since=START + 2 * DAY)
    now = START + 4.0 * DAY
    for days, left_out in ((2, 2), (1, 3)):
        retained(store, now=now, raw_days=0, hourly_days=days)
        found = trend(planted, step="1h")
        (note,) = (note for note in found.notes if "left out of slope" in note)
        assert note.startswith(f"{left_out} steps")
        assert [note for note in found.notes if "beyond the step of 3600 s" in note]
        if days == 2:
            assert (found.slope, found.changes) == (young.slope, young.changes)
            assert found.design_effect == young.design_effect
        else:
            assert found.slope is None
            assert [note for note in found.notes if "not enough data: 24 steps" in note]
        assert math.fsum(point.count for point in found.points) == 4 * 24 * 60


def test_steps_that_cut_what_retention_has_made_are_told(store: Store) -> None:
    planted = minutes(store)

    def told(step: str) -> list[str]:
        return [note for note in trend(planted, step=step).notes if "beyond the step" in note]

    assert told("90m") == told("36h") == []
    retained(store, raw_days=1)
    assert told("90m")[0].startswith("32 cells reach beyond the step of 5400 s")
    assert told("36h") == told("1h") == []
    retained(store, raw_days=1, hourly_days=2)
    assert told("36h")[0].startswith("2 cells reach beyond the step of 129600 s")
    assert told("1d") == told("2d") == []


def test_answers_say_that_retention_has_taken_their_windows(store: Store) -> None:
    planted = minutes(store)

    def told(question: str, **asked: object) -> list[str]:
        return [each for each in planted.ask(question, **asked).notes if "retention puts" in each]

    assert told("variance") == told("devices") == []
    now = START + 2 * DAY + 60.0
    retained(store, now=now, raw_days=1)
    for question in ("devices", "variance", "segments", "drift"):
        needed = {"reference": "2026-01-01/2026-01-02"} if question == "drift" else {}
        (note,) = told(question, **needed)
        assert note.startswith("48 cells of an hour or a day, into which retention puts")
    assert told("variance", since=START + DAY) == []
    (note,) = told("variance", device="pi-1")
    assert note.startswith("24 cells")


def test_what_has_no_hour_of_the_day_any_more_is_told(store: Store) -> None:
    planted = minutes(store)

    def told(**asked: object) -> list[str]:
        return [each for each in planted.ask("variance", **asked).notes if "no hour_of_day" in each]

    retained(store, raw_days=1)
    assert told(where={"hour_of_day": "3"}) == told(by=["hour_of_day"]) == []
    retained(store, raw_days=1, hourly_days=2)
    for asked in ({"where": {"hour_of_day": "3"}}, {"by": ["hour_of_day"]}):
        assert told(**asked) == ["4 cells wider than an hour: of no hour_of_day, which is '' there"]
    assert told() == []


def test_an_attribute_that_changed_within_a_day_made_before_that_was_heard_is_told(
    store: Store,
) -> None:
    planted = minutes(store)
    for device in ("pi-1", "pi-2"):
        planted.say(device, START - 100, site="north")

    def told(**asked: object) -> list[str]:
        return [each for each in planted.ask("variance", **asked).notes if "attribute" in each]

    retained(store, raw_days=1, hourly_days=2)
    assert told(by=["site"]) == []
    planted.say("pi-2", START + 30 * HOUR, site="west")
    for asked in ({"by": ["site"]}, {"where": {"site": "west"}}, {"where": {"site": "north"}}):
        (note,) = told(**asked)
        assert note.startswith("1 cell of a day within which an attribute that was asked for")
    assert told() == told(by=["site"], device="pi-1") == []
    assert told(by=["site"], until=START + DAY) == []
