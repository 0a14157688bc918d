"""Counts that no sum holds, and names that collide: left out or renamed, and said."""

from __future__ import annotations

import csv
import io

import pytest
from support.fleet import NEEDED, START, Planted, plant_hours, stats_of

from edgemse.cells import Series
from edgemse.cli.options import Format
from edgemse.cli.output import show
from edgemse.errors import SettingsError, UsageError
from edgemse.fleet.asking import ask
from edgemse.fleet.devices import DevicesAnswer
from edgemse.fleet.merging import COUNT_MAX, merged
from edgemse.fleet.questions import NAMES
from edgemse.fleet.segments import SegmentsAnswer
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats


def huge(count: int) -> ErrorStats:
    """Return a state of that many samples; a power of two."""
    stats = stats_of([1.0, -1.0, 0.5, -0.5])
    while stats.count < count:
        stats.merge(stats.copy())
    return stats


def long_lag(milliseconds: int) -> Coverage:
    coverage = Coverage()
    coverage.predictions = coverage.matched = 1
    coverage.lag_ms_sum = coverage.lag_ms_max = milliseconds
    coverage.lag_histogram.update(1.0)
    return coverage


@pytest.fixture
def beyond(planted: Planted) -> Planted:
    """Two devices as they should be; two more whose cells add up to what cannot be."""
    plant_hours(planted, {"a": 1.0, "b": 1.2}, hours=24, per_hour=20)
    for hour in range(2):
        planted.put("many", huge(COUNT_MAX), start=START + 3_600 * hour, width=3_600)
        late = long_lag(2**62)
        planted.put("late", stats_of([1.0] * 30), start=START + 3_600 * hour, coverage=late)
    planted.commit()
    return planted


# A baseline is of what people said, and of no cell.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "baseline"])
def test_what_cannot_be_counted_is_left_out_and_named(beyond: Planted, name: str) -> None:
    found = beyond.ask(name, **NEEDED.get(name, {}))
    said = [note for note in found.notes if note.startswith("left out, because their counts")]
    assert len(said) == 1
    if name in ("devices", "variance"):
        assert "device 'late'; device 'many'" in said[0]


def test_the_rest_is_answered(beyond: Planted) -> None:
    found = beyond.ask("segments", by=["device"])
    assert isinstance(found, SegmentsAnswer)
    assert {group.by["device"]: group.count for group in found.groups} == {"a": 480, "b": 480}
    assert found.total.count == 960
    devices = beyond.ask("devices")
    assert isinstance(devices, DevicesAnswer)
    counts = {each.device: (each.count, sum(each.versions.values())) for each in devices.devices}
    assert counts == {"a": (480, 480), "b": (480, 480)}
    with beyond.store.reading() as reading:
        groups = merged(reading, found.asked, histograms=True, lag_histograms=True)
    assert groups.left_out == ("device 'late'", "device 'many'")


def test_a_sum_that_sql_cannot_hold_is_left_out_too(planted: Planted) -> None:
    planted.put("fine", stats_of([1.0] * 30))
    for window in range(1_025):  # 2^53 each: above 2^63 together
        planted.put("many", huge(COUNT_MAX), start=START + 60 * window)
    planted.commit()
    found = planted.ask("variance")
    assert "device 'many'" in found.notes[-1]
    assert found.to_pandas()["count"].tolist() == [30]


def test_groups_that_are_too_many_together_lose_the_largest(planted: Planted) -> None:
    for number, device in enumerate("abc"):
        planted.put(device, huge(2 ** (51 + number)))
    planted.commit()
    with planted.store.reading() as reading:
        found = merged(reading, planted.ask("variance").asked)
    assert found.left_out == ("device 'c'",)
    assert found.total().count == 2**51 + 2**52


def test_an_attribute_that_is_called_like_a_field_keeps_its_value(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    planted.put("a", stats_of([1.0] * 30))
    planted.say("a", count="seven", by_count="eight")
    planted.commit()
    found = planted.ask("variance", by=["count", "by_count"])
    row = found.to_pandas().iloc[0]
    assert (row["by_by_count"], row["by_count"], row["count"]) == ("seven", "eight", 30)
    assert found.to_arrow().column_names == found.columns()
    show(found, Format.CSV)
    (written,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (written["by_by_count"], written["by_count"], written["count"]) == (
        "seven",
        "eight",
        "30",
    )


def test_compare_in_csv_has_a_row_of_the_whole(
    planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    scales = {"a": 1.0, "b": 2.0, "c": 3.0}
    for version in ("v1", "v2"):
        plant_hours(planted, scales, hours=2, series=Series("pump", version), seed=int(version[1]))
    planted.commit()
    found = planted.ask("compare", **NEEDED["compare"])
    show(found, Format.CSV)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["count_a"], row["count_b"], row["worse"]) == ("360", "360", "")
    assert float(row["ratio"]) == found.to_json()["ratio"]
    assert found.to_pandas().shape == (1, len(found.columns()))


def test_a_version_that_no_device_runs_any_more_is_said_so(planted: Planted) -> None:
    for minute, version in enumerate(("old", "new", "new")):
        planted.put("a", stats_of([1.0]), start=START + 60 * minute, series=Series("m", version))
    planted.commit()
    said = " ".join(planted.ask("devices").sentences())
    assert "Versions: new on 1 devices; no device runs old any more" in said


def test_versions_side_by_side_both_run(planted: Planted) -> None:
    for version in ("v1", "v2"):
        plant_hours(planted, {"a": 1.0, "b": 1.0}, hours=5, series=Series("pump", version))
    planted.commit()
    found = planted.ask("devices")
    assert isinstance(found, DevicesAnswer)
    assert [(mix.version, mix.devices) for mix in found.versions] == [("v1", 2), ("v2", 2)]
    assert "Versions: v1 on 2, v2 on 2 devices" in [*found.sentences()]


def test_rolling_is_at_least_a_step(planted: Planted) -> None:
    plant_hours(planted, {"a": 1.0}, hours=5)
    planted.commit()
    assert planted.ask("trend", step="1h", rolling="1h").cells_found
    for given in ({"step": "2h", "rolling": "1h"}, {"rolling": "10m"}):
        with pytest.raises(UsageError, match="narrower than a step of"):
            planted.ask("trend", **given)


def test_a_source_that_is_empty_is_no_folder() -> None:
    with pytest.raises(UsageError, match="from '': wanted the path of a store"):
        ask("", "devices")


@pytest.mark.parametrize("name", ["compare", "gate", "drift"])
def test_what_is_missing_is_named_as_a_parameter(planted: Planted, name: str) -> None:
    with pytest.raises(SettingsError) as raised:
        planted.ask(name)
    assert "--" not in str(raised.value)
