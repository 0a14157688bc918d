from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.fleet import Planted, Run, needed, plant_hours

from edgemse.cli import entry
from edgemse.fleet.questions import NAMES


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fleet") / "fleet.duckdb"
    planted = Planted(path)
    plant_hours(planted, {"[red]pi-1": 1.0, "pi-2": 2.0}, hours=12, per_hour=10)
    planted.say("pi-2", site="north")
    planted.commit()
    planted.store.close()
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_question_is_a_command(run: Run, store: Path, name: str) -> None:
    table = run(name, "--from", store, *needed(name, store.parent))
    # A gate's exit code is its verdict: twelve windows of one version are not enough data.
    said = table.err.startswith("edgemse: gate: not enough data; ")
    assert (table.code, bool(table.err), said) == ((2, True, True) if name == "gate" else (0, 0, 0))
    found = json.loads(
        run(name, "--from", store, *needed(name, store.parent), "--format", "json").out
    )
    printed = run(name, "--from", store, *needed(name, store.parent), "--format", "csv").out
    rows = csv.DictReader(io.StringIO(printed))
    assert rows.fieldnames
    of_cells = "count" in rows.fieldnames and name != "baseline"
    assert not of_cells or sum(int(row["count"]) for row in rows) == 240
    assert found["asked"]["options"].keys() >= set()
    helped = run(name, "--help")
    for option in ("--from", "--where", "--model", "--since", "--format"):
        assert option in helped.out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_no_cell_is_said_in_one_line_and_an_error_of_a_gate_only(
    run: Run, store: Path, name: str, form: str
) -> None:
    done = run(
        name,
        "--from",
        store,
        "--model",
        "fan",
        *needed(name, store.parent),
        "--format",
        form,
    )
    lines = [line for line in done.err.splitlines() if "no cell: nothing is model fan" in line]
    assert (done.code, len(lines)) == (2 if name == "gate" else 0, 1)
    if form == "json":
        assert json.loads(done.out)["cells_found"] is False


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--by", "colour"), 67, "no column 'colour'; wanted one of device, model"),
        (("--where", "site"), 78, "wanted NAME=VALUE"),
        (("--since", "noon"), 78, "ISO 8601"),
        (("--since", "2026-02", "--until", "2026-01"), 78, "before until"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    run: Run, store: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    done = run("variance", "--from", store, *options)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert message in done.err


def test_options_choose(run: Run, store: Path) -> None:
    def count(*options: str) -> Any:
        done = run("variance", "--from", store, "--format", "json", *options)
        return json.loads(done.out)["total"]["count"]

    assert count("--device", "pi-2") == 120
    assert count("--where", "site=north", "--where", "hour_of_day=3") == 10
    assert count("--since", "2026-01-01T06:00Z", "--until", "2026-01-01T08:00Z") == 40
    done = run("variance", "--from", store, "--by", "site", "--by", "weekday", "--format", "csv")
    assert done.out.splitlines()[0].startswith("site,weekday,count,mse,rmse")


def test_names_are_printed_as_they_are(run: Run, store: Path) -> None:
    assert "[red]pi-1" in run("devices", "--from", store).out


def test_what_is_made_of_a_file_of_objectives(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["edgemse", "objectives", *map(str, arguments)])
        return entry.main(), capsys.readouterr().out

    _, file = needed("objectives", store.parent)
    assert run("prometheus", "--objectives", file)[1].startswith("groups:\n")
    code, text = run("metrics", "--from", store, "--objectives", file)
    assert code == 0
    assert 'edgemse_objective_absent{objective="close"} ' in text
    assert run("suggest", "--from", store, "--objectives", file)[0] == 0
    assert run("prometheus", "--objectives", store.parent / "none.toml") == (78, "")
