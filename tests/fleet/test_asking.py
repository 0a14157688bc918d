from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas
import pytest
from support.cells import filled
from support.fleet import BY, NEEDED, NOW, START, Planted, plant_hours, stats_of

from edgemse.cells import Series
from edgemse.errors import ColumnError, SettingsError, StoreUnreachableError
from edgemse.fleet import ask
from edgemse.fleet.answers import Answer
from edgemse.fleet.asking import apply
from edgemse.fleet.devices import DevicesAnswer
from edgemse.fleet.questions import NAMES, find, questions
from edgemse.fleet.registry import BaselinePart, BaselineSetting
from edgemse.fleet.variance import VarianceAnswer
from edgemse.stats.coverage import Coverage
from edgemse.stores import Batch, DeviceReport
from edgemse.web import Server, create_app


@pytest.fixture
def fleet(planted: Planted) -> Planted:
    """Three devices over two days, one of them twice as wrong, two sites, a baseline."""
    scales = {"pi-1": 1.0, "pi-2": 1.1, "pi-3": 2.0}
    plant_hours(planted, scales, hours=48, per_hour=20, phi=0.4)
    for device, site in {"pi-1": "north", "pi-2": "south", "pi-3": "south"}.items():
        planted.say(device, site=site)
    planted.commit()
    part = BaselinePart(rmse=1.0, count=3 * 48 * 20)
    apply(planted.store, BaselineSetting("pump", "v1", [part], **BY), now=START)
    return planted


def same(one: Answer, other: Answer) -> bool:
    """NaN included, which equals nothing."""
    return type(one) is type(other) and repr(one) == repr(other)


@pytest.mark.parametrize("name", NAMES)
def test_path_url_and_reading_answer_the_same(name: str, tmp_path: Path) -> None:
    planted = Planted(tmp_path / "fleet.duckdb")
    plant_hours(planted, {"a": 1.0, "b": 2.0}, hours=12, per_hour=20)
    planted.say("a", site="north")
    planted.commit()
    asked: dict[str, Any] = {
        "where": {"site": "north"},
        "model": "pump",
        "since": START,
        "now": NOW,
        **NEEDED.get(name, {}),
    }
    needed = NEEDED.get(name, {})
    server = Server("127.0.0.1:0")
    server.start(create_app(planted.store, problems=list, metrics=str))
    try:
        by_url = ask(f"http://{server.address}/", name, **asked)
        with planted.store.reading() as reading:
            by_reading = ask(reading, name, **asked)
        with pytest.raises(ColumnError, match="no column 'nope'"):
            ask(f"http://{server.address}", name, where={"nope": ""}, **needed)
    finally:
        server.stop()
        server.close()
        planted.store.close()
    by_path = ask(tmp_path / "fleet.duckdb", name, **asked)
    assert same(by_path, by_reading)
    assert same(by_url, by_reading)
    with pytest.raises(StoreUnreachableError):
        ask(f"http://{server.address}", name, **needed)


@pytest.mark.parametrize("name", NAMES)
def test_answers_survive_json(fleet: Planted, name: str) -> None:
    found = fleet.ask(name, **NEEDED.get(name, {}))
    written = json.dumps(found.to_json(), allow_nan=False)
    again = find(name).answer.from_json(json.loads(written))
    assert same(found, again)
    assert found.to_json()["asked"]["where"] == {"measure": ""}


@pytest.mark.parametrize("name", NAMES)
def test_answers_become_tables_and_pictures(fleet: Planted, name: str) -> None:
    by = {"by": ["site"]} if name in NEEDED else {}
    found = fleet.ask(name, **NEEDED.get(name, {}), **by)
    frame, table = found.to_pandas(), found.to_arrow()
    rows = getattr(found, found.ROWS)
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == table.num_rows == len(rows) > 0
    assert [*frame.columns] == table.column_names == found.columns()
    counted = next((each for each in ("count", "count_a") if each in frame.columns), "")
    assert not counted or frame[counted].sum() == 3 * 48 * 20
    shown = found.table()
    assert {len(row) for row in (*shown.rows, *shown.below)} == {len(shown.headings)}
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + len(rows) + len(shown.below)
    assert len(found.plot().data[0].x) - len(rows) in (0, int(name == "compare"))


@pytest.mark.parametrize("name", NAMES)
def test_a_question_that_finds_no_cell_says_so(fleet: Planted, name: str) -> None:
    needed = NEEDED.get(name, {})
    assert fleet.ask(name, **needed).cells_found
    for given in ({"model": "fan"}, {"measure": "latency"}, {"since": "1h"}):
        found = fleet.ask(name, **given, **needed)
        assert not found.cells_found
        assert found.notes[0].startswith("no cell: nothing is ")
        assert found.notes[0].endswith("from 2026-01-01T00:00:00Z to 2026-01-02T23:00:00Z")
        assert found.table().headings
    empty = Planted()
    assert empty.ask(name, **needed).notes[0] == "no cell: the store is empty"
    of_nothing = ("gate", "compare", "objectives")  # all of it; an objective is absent
    assert empty.ask(name, **needed).to_pandas().empty or name in of_nothing
    empty.store.close()


def test_a_name_with_markup_in_it_stays_text(planted: Planted) -> None:
    planted.put("<b>", filled(1))
    planted.commit()
    assert "<td>&lt;b&gt;</td>" in planted.ask("devices")._repr_html_()


def test_a_query_says_what_it_may_be_given() -> None:
    with pytest.raises(SettingsError, match="no question 'fortune'; wanted one of devices"):
        find("fortune")
    for question in questions():
        assert question.ask.__doc__
        assert question.name in NAMES


def test_times_may_be_numbers_texts_and_datetimes(fleet: Planted) -> None:
    day = datetime(2026, 1, 2, tzinfo=UTC)
    counts = set()
    for since in (START + 86_400, float(START + 86_400), "2026-01-02", day, "29d"):
        found = fleet.ask("variance", since=since)
        assert isinstance(found, VarianceAnswer)
        counts.add(found.total.count)
    assert counts == {3 * 24 * 20}


def test_the_devices(planted: Planted) -> None:
    coverage = Coverage()
    coverage.predictions += 4
    coverage.expired += 1
    for lag in (1_000, 2_000, 3_000):
        coverage.match(lag)
    planted.put("pi-1", filled(1), coverage=coverage)
    planted.put("pi-1", filled(2), start=START + 60)
    planted.put("pi-2", filled(3))
    planted.say("pi-1", site="north")
    planted.commit()
    reports = [
        DeviceReport("pi-1", START * 1_000, START * 1_000 - 1_500, True, {}),
        DeviceReport("pi-9", START * 1_000, 0, False, {}),
    ]
    planted.store.commit(Batch(reports=reports))
    found = planted.ask("devices")
    assert isinstance(found, DevicesAnswer)
    one, two, nine = found.devices
    assert one.last_report == "2026-01-01T00:00:00.000Z"
    assert (one.online, one.clock, one.clock_offset_seconds) == (True, "synchronised", -1.5)
    assert (one.windows, one.count, one.coverage, one.expired) == (2, 40, 0.75, 1)
    assert one.lag_mean_seconds == 2.0
    assert one.lag_p95_seconds == pytest.approx(3.0, rel=0.05)
    assert (one.silent, two.silent, nine.silent) == (False, False, True)
    assert (one.last_window, nine.last_window) == ("2026-01-01T00:02:00Z", None)
    assert "1 of 3 devices are silent: pi-9" in " ".join(found.sentences())
    assert (two.device, two.online, two.last_report) == ("pi-2", None, None)
    assert (nine.device, nine.online, nine.clock) == ("pi-9", None, "not synchronised")
    assert (nine.count, math.isnan(nine.rmse), math.isnan(nine.coverage)) == (0, True, True)
    names = [
        [row["device"] for row in planted.ask("devices", **given).records()]
        for given in ({"device": "pi-9"}, {"where": {"site": "north"}}, {"where": {"site": ""}})
    ]
    assert names == [["pi-9"], ["pi-1"], ["pi-2", "pi-9"]]


def test_versions_silence_and_single_samples(planted: Planted) -> None:
    old, new = Series("pump", "1"), Series("pump", "2")
    for minute in range(10):
        planted.put("a", stats_of([1.0] * 9), start=START + 60 * minute, series=old)
        planted.put("b", stats_of([1.0] * 5), start=START + 60 * minute, series=new)
    planted.put("a", stats_of([1.0] * 5), start=START + 600, series=new)
    planted.put("quiet", stats_of([0.0, -3.0, 1.0]), start=START + 60, series=old)
    planted.put("wrong", stats_of([0.0]), start=START + 86_400, series=old)
    planted.commit()
    wrong = DeviceReport("wrong", START * 1_000, START * 1_000, False, {})
    planted.store.commit(Batch(reports=[wrong]))
    found = planted.ask("devices")
    assert isinstance(found, DevicesAnswer)
    a, b, quiet, ahead = found.devices
    assert [each.silent for each in found.devices] == [False, False, True, False]
    assert (a.version, a.versions) == ("2", {"2": 5, "1": 90})
    assert [(m.version, m.devices, m.count) for m in found.versions] == [("1", 2, 94), ("2", 2, 55)]
    assert quiet.worst_share == pytest.approx(0.9)
    assert b.worst_share == pytest.approx(1 / 50)
    assert math.isnan(ahead.worst_share)
    said = " ".join(found.sentences())
    assert "Versions: 1 on 2, 2 on 2 devices" in said
    assert "One sample has over 50 % of the squared error of quiet" in said
