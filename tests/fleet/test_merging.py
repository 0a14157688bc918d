from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cells import START, cell, filled

from edgemse.cells import Cell, Series
from edgemse.errors import ColumnError, SettingsError
from edgemse.fleet.devices import devices_report
from edgemse.fleet.figures import variance_report
from edgemse.fleet.merging import Groups, merged
from edgemse.fleet.selection import Filter, instant
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats, merge_all
from edgemse.stores import Batch, DeviceReport, DeviceState
from edgemse.stores.duckdb import DuckDBStore

FIGURES = (
    "mse",
    "bias",
    "error_variance",
    "skewness",
    "kurtosis",
    "mae",
    "r2",
    "correlation",
    "calibration_slope",
    "mse_standard_error",
    "weight",
    "effective_count",
)
EVERYTHING = Filter()
EXACT = ("count", "nonfinite", "out_of_range", "min_error", "max_error")


@pytest.fixture
def store() -> Iterator[DuckDBStore]:
    store = DuckDBStore(Path(":memory:"))
    yield store
    store.close()


def groups_of(store: DuckDBStore, by: Sequence[str], where: Filter = EVERYTHING) -> Groups:
    with store.reading() as query:
        return merged(query, by, where)


def assert_same(got: ErrorStats, want: ErrorStats, rel: float = 1e-12) -> None:
    for name in EXACT:
        assert getattr(got, name) == pytest.approx(getattr(want, name), abs=0, nan_ok=True), name
    # Skewness and the like may cancel to nothing: they are compared on the scale of 1.
    for name in FIGURES:
        wanted = getattr(want, name)
        assert getattr(got, name) == pytest.approx(wanted, rel=rel, abs=1e-11, nan_ok=True), name
    assert got.histogram.to_bytes() == want.histogram.to_bytes()


def cells_at(offset: float) -> list[Cell]:
    found = []
    for number in range(60):
        stats = filled(number, count=number % 7, offset=offset)
        if number % 5 == 0:
            stats.update(math.nan, 1.0)
            stats.update(1.0, 1e300)
        if number % 3 == 0:
            stats.update(1.0, 2.0 + offset, 0.25)
        series = Series(f"m{number % 2}", "v1", "", f"s{number % 3}")
        found.append(cell(number, device=f"pi-{number % 4}", series=series, stats=stats))
    return found


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12, -1e15])
@pytest.mark.parametrize("by", [[], ["device"], ["segment", "model"], ["device", "version"]])
def test_sql_merges_as_the_core_does(store: DuckDBStore, offset: float, by: list[str]) -> None:
    cells = cells_at(offset)
    store.commit(Batch(cells=cells))
    want: dict[tuple[str, ...], list[ErrorStats]] = {}
    for each in cells:
        names = {"device": each.device, **each.series._asdict()}
        want.setdefault(tuple(names[column] for column in by), []).append(each.stats)
    got = groups_of(store, by)
    assert list(got) == sorted(want)
    for key, stats in got.items():
        assert_same(stats, merge_all(want[key]))


floats = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 6))
samples = st.lists(st.tuples(floats, floats), max_size=12)


@settings(max_examples=30, deadline=None)
@given(st.lists(samples, min_size=1, max_size=6))
def test_any_split_into_cells_merges_to_the_same(parts: list[list[tuple[float, float]]]) -> None:
    store = DuckDBStore(Path(":memory:"))
    states = []
    for part in parts:
        states.append(ErrorStats())
        for y_true, y_pred in part:
            states[-1].update(y_true, y_pred)
    store.commit(Batch(cells=[cell(n, stats=each) for n, each in enumerate(states)]))
    got, want = groups_of(store, [])[()], merge_all(states)
    assert got.count == want.count
    assert got.mse == pytest.approx(want.mse, rel=1e-12, nan_ok=True)
    assert got.error_variance == pytest.approx(
        want.error_variance, rel=1e-12, abs=1e-24, nan_ok=True
    )
    store.close()


def test_cells_without_a_sample_merge_to_an_empty_group(store: DuckDBStore) -> None:
    refused = ErrorStats()
    refused.update(math.nan, 0.0)
    store.commit(Batch(cells=[cell(1, stats=ErrorStats()), cell(2, stats=refused)]))
    (total,) = groups_of(store, []).values()
    assert (total.count, total.nonfinite) == (0, 1)
    assert math.isnan(total.mse)
    assert groups_of(store, [], Filter(model="none")) == {}


def test_filters_choose_cells(store: DuckDBStore) -> None:
    store.commit(
        Batch(
            cells=[
                cell(1, start=START),
                cell(2, start=START + 60, series=Series("model", "v2")),
                cell(3, start=START + 120, series=Series("other", "v1")),
            ]
        )
    )

    def count(**where: object) -> int:
        groups = groups_of(store, [], Filter(**where))  # type: ignore[arg-type]
        return merge_all(groups.values()).count // 20

    assert count() == 3
    assert count(model="model") == 2
    assert count(version="v1") == 2
    assert count(model="model", version="v1") == 1
    assert count(since=START + 60) == 2
    assert count(until=START + 60) == 1
    assert count(since=START + 60.0, until=START + 120.0) == 1


def test_attributes_group_devices(store: DuckDBStore) -> None:
    sites = {"pi-1": "north", "pi-2": "south", "pi-3": "north"}
    states = [
        DeviceState(name, 1, True, "", "run", {"site": site, "it's": "x"})
        for name, site in sites.items()
    ]
    cells = [cell(n, device=f"pi-{n}") for n in (1, 2, 3, 4)]
    store.commit(Batch(cells=cells, states=states))
    counts = {key: stats.count for key, stats in groups_of(store, ["site"]).items()}
    assert counts == {("",): 20, ("north",): 40, ("south",): 20}
    assert set(groups_of(store, ["site", "device", "it's"])) == {
        ("north", "pi-1", "x"),
        ("south", "pi-2", "x"),
        ("north", "pi-3", "x"),
        ("", "pi-4", ""),
    }


@pytest.mark.parametrize("by", [["nope"], ["device; DROP TABLE cells"], ["device", "device"]])
def test_unknown_columns_are_refused(store: DuckDBStore, by: list[str]) -> None:
    with pytest.raises(ColumnError, match="wanted"):
        groups_of(store, by)
    assert groups_of(store, []) == {}


def test_the_devices_report(store: DuckDBStore) -> None:
    coverage = Coverage()
    coverage.predictions += 4
    coverage.expired += 1
    for lag in (1, 2, 3):
        coverage.match(lag)
    store.commit(
        Batch(
            cells=[cell(1, 0, coverage=coverage), cell(1, 1, start=START + 60), cell(2)],
            reports=[
                DeviceReport("pi-1", 1_767_225_600_000, 1_767_225_598_500, True, {}),
                DeviceReport("pi-9", 1_767_225_600_000, 0, False, {}),
            ],
            states=[DeviceState("pi-1", 1, True, "edgemse 1", "run", {})],
        )
    )
    with store.reading() as query:
        one, nine = devices_report(query, Filter())["devices"]
    assert one["last_report"] == "2026-01-01T00:00:00.000Z"
    assert (one["online"], one["clock"], one["clock_offset_seconds"]) == (
        True,
        "synchronised",
        -1.5,
    )
    assert (one["windows"], one["count"], one["coverage"], one["expired"]) == (2, 60, 0.75, 1)
    assert (nine["device"], nine["online"], nine["clock"]) == ("pi-9", None, "not synchronised")
    assert (nine["count"], nine["rmse"], nine["coverage"]) == (0, None, None)


def test_the_variance_report_has_no_nan(store: DuckDBStore) -> None:
    report = variance_report([], {(): ErrorStats()})
    assert report["total"]["mse"] is None
    assert report["variance"]["tau2"] is None
    assert report["variance"]["anova"]["f"] is None
    assert report["groups"][0]["by"] == {}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("2026-01-01", START),
        ("2026-01-01T00:00Z", START),
        ("2026-01-01 02:00:00+02:00", START),
        ("2026-01-01T00:00:00.5", START + 0.5),
    ],
)
def test_instants(text: str, seconds: float) -> None:
    assert instant(text) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "nan", "inf", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="ISO 8601"):
        instant(text)
