"""Tables: whole columns, whole names; the order of rows and how many; what a script stops by."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.fleet import NOW, START, Planted, Run, needed, plant_hours, stats_of

from edgemse.cells import Window
from edgemse.errors import ColumnError, SettingsError
from edgemse.fleet.devices import DevicesAnswer
from edgemse.fleet.ordering import Order
from edgemse.fleet.questions import NAMES, find
from edgemse.stores import Batch, DeviceReport

LONG = "pump in the northern hall, line 3, station 7 (replaced in spring)"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "fleet.duckdb"
    planted = Planted(path)
    plant_hours(planted, {"pi-1": 1.0, "pi-2": 3.0, LONG: 2.0}, hours=12, per_hour=20)
    planted.put("gone", stats_of([5.0]), start=START - 86_400)
    planted.commit()
    now = int(time.time())
    reports = {"pi-1": now - 200, LONG: now - 7_300}
    planted.store.commit(
        Batch(reports=[DeviceReport(n, t * 1000, t * 1000, True, {}) for n, t in reports.items()])
    )
    planted.store.close()
    return path


@pytest.mark.parametrize("columns", [60, 80, 100, 120])
@pytest.mark.parametrize("name", NAMES)
def test_columns_are_whole_or_left_out_and_said(
    run: Run, store: Path, name: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    asked = (name, "--from", store, *needed(name, store.parent))
    by = () if find(name).by is None or name == "gate" else ("--by", "segment")
    whole = run(*asked, *by).out
    monkeypatch.setenv("COLUMNS", str(columns))
    cut = run(*asked, *by).out
    assert "…" not in whole + cut
    headings = whole.splitlines()[0].rstrip()
    shown = cut.splitlines()[0].rstrip()
    widest = LONG if name == "devices" else ""
    assert len(shown) <= max(columns, len(widest))
    assert ("left out for want of width: " in cut) == (len(headings) > columns)
    assert "left out for want of width" not in whole
    if len(headings) > columns:
        said = " ".join(cut.split("want of width: ")[1].split()).partition("; a wider")[0]
        names = [each.strip() for each in headings.split("  ") if each.strip()]
        assert names[-len(said.split(", ")) :] == said.split(", ")


@pytest.mark.parametrize("columns", ["20", "80", "100"])
def test_names_are_never_cut(
    run: Run, store: Path, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = run("devices", "--from", store).out.splitlines()
    assert [line.partition("  ")[0] for line in lines[2:6]] == ["gone", "pi-1", "pi-2", LONG]


def test_a_pipe_gets_full_width_and_sentences_in_one_line(run: Run, store: Path) -> None:
    out = run("devices", "--from", store).out.splitlines()
    assert out[0].split("  ")[-1].strip() == "conflicting"
    assert out[-1].startswith("One sample has over 50 % of the squared error of gone: ")
    assert out[-1].endswith("rather than a bad device")


def test_times_are_told_as_how_long_ago(run: Run, store: Path) -> None:
    lines = {
        line.partition("  ")[0]: line for line in run("devices", "--from", store).out.split("\n")
    }
    # Three, or more where tests before this one took their time.
    assert re.search(r" \d min ago ", lines["pi-1"])
    assert " 2 h ago " in lines[LONG]
    assert " never " in lines["pi-2"]
    found = json.loads(run("devices", "--from", store, "--format", "json").out)
    assert found["devices"][1]["last_report"].endswith("Z")


def devices(run: Run, store: Path, *options: str) -> list[str]:
    done = run("devices", "--from", store, "--format", "csv", *options)
    return [row["device"] for row in csv.DictReader(io.StringIO(done.out))]


def test_rows_are_sorted_and_what_is_not_known_comes_last(run: Run, store: Path) -> None:
    assert devices(run, store, "--sort", "rmse") == ["gone", "pi-2", LONG, "pi-1"]
    assert devices(run, store, "--sort", "-rmse") == ["pi-1", LONG, "pi-2", "gone"]
    assert devices(run, store, "--sort", "-device") == [LONG, "pi-2", "pi-1", "gone"]
    assert devices(run, store, "--sort", "silent")[0] == "gone"
    assert devices(run, store, "--sort", "last_report") == [LONG, "pi-1", "gone", "pi-2"]
    assert devices(run, store, "--sort", "-last_report") == ["pi-1", LONG, "gone", "pi-2"]
    assert devices(run, store, "--sort", "Last report") == [LONG, "pi-1", "gone", "pi-2"]
    done = run("devices", "--from", store, "--sort", "colour")
    assert (done.code, done.out) == (67, "")
    assert "sort 'colour': no such column; wanted one of device, online" in done.err


def test_a_limit_says_what_it_leaves_out(run: Run, store: Path) -> None:
    note = "2 of 4 devices are here: the limit leaves out 2"
    table = run("devices", "--from", store, "--sort", "rmse", "--limit", "2")
    assert f"Note: {note}" in table.out
    assert "1 of 4 devices are silent: gone" in table.out  # of all, not of those shown
    assert "pi-1" not in table.out
    printed = run("devices", "--from", store, "--limit", "2", "--format", "csv")
    assert (len(printed.out.splitlines()), printed.err) == (3, f"edgemse: {note}\n")
    found = json.loads(run("devices", "--from", store, "--limit", "2", "--format", "json").out)
    assert (len(found["devices"]), found["notes"][-1]) == (2, note)
    assert "Note: " not in run("devices", "--from", store, "--limit", "4").out
    total = json.loads(run("variance", "--from", store, "--limit", "1", "--format", "json").out)
    assert (len(total["groups"]), total["total"]["count"]) == (1, 721)
    for wrong in ("0", "-1", "many", "1.5", "²"):
        done = run("devices", "--from", store, "--limit", wrong)
        assert (done.code, done.err.count("\n")) == (78, 1)
        assert "wanted a number of rows, 1 or more" in done.err


def test_silent_devices_have_an_exit_code_for_who_asks_for_it(run: Run, store: Path) -> None:
    assert run("devices", "--from", store).code == 0
    done = run("devices", "--from", store, "--exit-code", "--limit", "1", "--sort", "-silent")
    assert (done.code, done.err) == (86, "edgemse: 1 of 4 devices are silent: gone\n")
    assert run("devices", "--from", store, "--exit-code", "--device", "pi-1").code == 0
    assert run("variance", "--from", store, "--exit-code").code == 64


def test_drift_has_one_too(run: Run, tmp_path: Path) -> None:
    planted = Planted(tmp_path / "fleet.duckdb")
    plant_hours(planted, {"same": 1.0, "worse": 1.0}, hours=48, per_hour=20)
    held = len(planted.placed)
    plant_hours(planted, {"same": 1.0, "worse": 3.0}, hours=48, per_hour=20, seed=2)
    later = [
        (device, replace(cell, window=Window(cell.window.start + 48 * 3_600, 3_600)))
        for device, cell in planted.placed[held:]
    ]
    planted.placed[held:] = later
    planted.commit()
    planted.store.close()
    asked = ("drift", "--from", tmp_path / "fleet.duckdb", "--reference", "2026-01-01/2026-01-03")
    assert run(*asked).code == 0
    done = run(*asked, "--exit-code")
    assert (done.code, done.err) == (86, "edgemse: 1 of 2 drift: worse\n")


def test_out_of_range_samples_are_shown(planted: Planted) -> None:
    stats = stats_of([1.0, 2.0])
    stats.update(0.0, 2.0**201)
    planted.put("pi-1", stats)
    planted.commit()
    found = planted.ask("devices")
    assert isinstance(found, DevicesAnswer)
    assert [(each.count, each.out_of_range) for each in found.devices] == [(2, 1)]
    table = found.table(NOW)
    assert table.rows[0][list(table.headings).index("out of range")] == "1"


def test_an_order_is_read_and_kept(planted: Planted) -> None:
    plant_hours(planted, {"a": 1.0, "b": 2.0}, hours=3)
    planted.commit()
    found = planted.ask("variance")
    assert repr(Order.parse({}).of(found)) == repr(found)
    assert planted.ask("variance", sort="rmse", limit=1).records()[0]["device"] == "b"
    turned = Order.parse({"sort": ["-device"]}).of(found)
    assert [record["device"] for record in turned.records()] == ["b", "a"]
    with pytest.raises(SettingsError, match="limit: given 2 times"):
        Order.parse({"limit": ["1", "2"]})
    with pytest.raises(ColumnError, match="wanted one of device, count, mse"):
        Order(sort="by").of(found)
