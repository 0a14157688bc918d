from __future__ import annotations

from typing import Any

import pytest
from support.cells import filled
from support.fleet import NOW, START, Planted

from edgemse.cells import OVERFLOW, Series
from edgemse.errors import ColumnError, SettingsError
from edgemse.fleet.asked import Asked, Option
from edgemse.fleet.merging import merged
from edgemse.stats.measures import follow_loss

HOUR = 3_600


def parse(**given: list[str]) -> Asked:
    return Asked.parse(given, now=NOW, options=(Option("step", "width", int, 60),))


def counts(planted: Planted, *by: str, **given: Any) -> dict[tuple[str, ...], int]:
    """Return how many cells of 20 samples each group has."""
    asked = parse(by=[*by], **{name: [str(value)] for name, value in given.items()})
    with planted.store.reading() as reading:
        found = merged(reading, asked).stats()
    return {key: stats.count // 20 for key, stats in found.items()}


@pytest.fixture
def three(planted: Planted) -> Planted:
    planted.put("pi-1", filled(1))
    planted.put("pi-2", filled(2), start=START + 60, series=Series("pump", "v2", "h1", "night"))
    planted.put("pi-2", filled(3), start=START + 120, series=Series("fan", "v1"))
    planted.put("pi-2", filled(4), series=Series("fan", "v1", measure="latency"))
    planted.commit()
    return planted


@pytest.mark.parametrize(
    ("given", "cells"),
    [
        ({}, 3),
        ({"model": "pump"}, 2),
        ({"version": "v1"}, 2),
        ({"model": "pump", "version": "v1"}, 1),
        ({"output": "h1"}, 1),
        ({"segment": ""}, 2),
        ({"device": "pi-2"}, 2),
        ({"measure": "latency"}, 1),
        ({"where": "measure=latency"}, 1),
        ({"where": "segment=night"}, 1),
        ({"where": "hour_of_day=0"}, 3),
        ({"where": "weekday=Fri"}, 0),
        ({"since": "2026-01-01T00:01"}, 2),
        ({"until": "2026-01-01T00:01"}, 1),
        ({"since": "2026-01-01T00:00:00.5", "until": "2026-01-01T00:01:00.5"}, 1),
        ({"since": "31d"}, 3),
        ({"since": "1h"}, 0),
    ],
)
def test_filters_choose_cells(three: Planted, given: dict[str, str], cells: int) -> None:
    assert sum(counts(three, **given).values()) == cells


def test_hours_and_weekdays_are_columns(planted: Planted) -> None:
    for hour in (0, 1, 23, 24, 25):
        planted.put("pi-1", filled(hour), start=START + hour * HOUR)
    planted.put("pi-1", filled(99), start=START, width=86_400)
    planted.commit()
    assert counts(planted, "hour_of_day") == {("",): 1, ("0",): 2, ("1",): 2, ("23",): 1}
    assert counts(planted, "weekday") == {("Thu",): 4, ("Fri",): 2}
    assert counts(planted, "weekday", where="hour_of_day=1") == {("Thu",): 1, ("Fri",): 1}
    with pytest.raises(SettingsError, match="wanted one of Mon"):
        counts(planted, where="weekday=monday")


def test_attributes_group_and_filter(planted: Planted) -> None:
    for name, site in {"pi-1": "north", "pi-2": "south", "pi-3": "north"}.items():
        planted.say(name, site=site, **{"it's": "x"})
    for number in (1, 2, 3, 4):
        planted.put(f"pi-{number}", filled(number))
    planted.commit()
    assert counts(planted, "site") == {("",): 1, ("north",): 2, ("south",): 1}
    assert set(counts(planted, "site", "device", "it's")) == {
        ("north", "pi-1", "x"),
        ("south", "pi-2", "x"),
        ("north", "pi-3", "x"),
        ("", "pi-4", ""),
    }
    assert counts(planted, "device", where="site=north") == {("pi-1",): 1, ("pi-3",): 1}
    assert counts(planted, "device", where="site=") == {("pi-4",): 1}
    assert counts(planted, "site", where="site=south", device="pi-2") == {("south",): 1}


def test_a_pump_that_moves_keeps_its_old_sites_figures(planted: Planted) -> None:
    planted.say("pi-1", site="north")
    planted.say("pi-1", at=START + HOUR - 5, site="south")
    for minute in (0, 59, 60, 61):
        planted.put("pi-1", filled(minute), start=START + 60 * minute)
    planted.commit()
    assert counts(planted, "site") == {("north",): 2, ("south",): 2}
    assert counts(planted, where="site=south") == {(): 2}


@pytest.mark.parametrize("by", ["nope", "device; DROP TABLE cells"])
def test_unknown_columns_are_refused(planted: Planted, by: str) -> None:
    for given in ({"by": [by]}, {"where": [f"{by}=1"]}):
        with planted.store.reading() as reading, pytest.raises(ColumnError, match="wanted one of"):
            merged(reading, parse(**given))
    assert counts(planted) == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"by": ["device", "device"]}, "each once"),
        ({"by": [str(n) for n in range(7)]}, "up to 6"),
        ({"where": ["site"]}, "wanted NAME=VALUE"),
        ({"where": ["=north"]}, "wanted NAME=VALUE"),
        ({"where": ["a=1", "a=2"]}, "wanted once"),
        ({"where": ["model=1"], "model": ["2"]}, "wanted once"),
        ({"model": ["1", "2"]}, "given 2 times"),
        ({"modell": ["1"]}, "no parameter 'modell'"),
        ({"since": ["noon"]}, "ISO 8601"),
        ({"since": ["2026-01-02"], "until": ["2026-01-01"]}, "before until"),
        ({"since": ["2026-01-02"], "until": ["2026-01-02"]}, "no window starts in between"),
    ],
)
def test_what_cannot_be_asked_is_refused(given: dict[str, list[str]], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(**given)


def test_what_is_asked_survives_a_url_and_json() -> None:
    asked = parse(
        by=["site", "device"],
        where=["site=a=b & c", f"segment={OVERFLOW}"],
        model=["pump"],
        since=["7d"],
        until=["2026-02-01"],
        step=["300"],
    )
    assert asked.since == START + 23 * 86_400
    given: dict[str, list[str]] = {}
    for name, value in asked.parameters():
        given.setdefault(name, []).append(value)
    assert parse(**given) == asked
    assert Asked.of_json(asked.as_json()) == asked
    assert asked.as_json()["since"] == "2026-01-24T00:00:00Z"
    assert "site a=b & c" in asked.in_words()


def test_a_question_that_does_not_group_refuses_by() -> None:
    with pytest.raises(SettingsError, match="no parameter 'by'"):
        Asked.parse({"by": ["device"]}, now=NOW, by=None)


@pytest.mark.parametrize(
    ("said", "measure"),
    [
        ("loss:huber(delta=1.0)", "loss:huber(delta=1)"),
        ("loss:log_loss", follow_loss("log_loss").measure),
        ("loss:of_a_later_version", "loss:of_a_later_version"),
        ("latency", "latency"),
        ("", ""),
    ],
)
def test_a_loss_is_found_however_it_is_spelt(said: str, measure: str) -> None:
    assert parse(measure=[said]).where["measure"] == measure
    assert parse(where=[f"measure={said}"]).where["measure"] == measure
