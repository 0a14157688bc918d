from __future__ import annotations

import csv
import json
import math
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
from support.broker import Mosquitto, free_port
from support.cells import cell, offered
from support.processes import edgemse

from edgemse.cli import entry, extras
from edgemse.stores import Batch, open_store


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["edgemse", *map(str, arguments)])
        try:
            code: Any = entry.main()
        except SystemExit as end:
            code = end.code or 0
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    rng = random.Random(1)
    path = tmp_path / "samples.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["device", "y", "p", "w"])
        for number in range(300):
            y = rng.gauss(20, 5)
            writer.writerow([f"d{number % 3}", y, y + rng.gauss(0, 1), 1 + number % 2])
        writer.writerow(["d0", "", 1, 1])
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.duckdb"
    store = open_store(path)
    store.commit(Batch(cells=offered(*((f"pi-{n % 3}", cell(n)) for n in range(9)))))
    store.close()
    return path


def test_evaluate_measures_each_group(run: Run, samples: Path) -> None:
    options = ("--y-true", "y", "--y-pred", "p", "--by", "device", "--format", "json")
    done = run("evaluate", samples, *options)
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    with samples.open() as file:
        rows = [row for row in csv.DictReader(file) if row["y"]]
    squares: dict[str, list[float]] = {}
    for row in rows:
        squares.setdefault(row["device"], []).append((float(row["p"]) - float(row["y"])) ** 2)
    for group in report["groups"]:
        mine = squares[group["by"]["device"]]
        assert group["count"] == len(mine) == 100
        assert group["mse"] == pytest.approx(math.fsum(mine) / len(mine), rel=1e-13)
    total = report["total"]
    assert (total["by"], total["count"], total["nonfinite"]) == ({}, 300, 1)
    keys = [
        "by",
        "count",
        "mse",
        "rmse",
        "bias",
        "error_variance",
        "mae",
        "r2",
        "mse_standard_error",
        "nonfinite",
        "abs_p50",
        "abs_p95",
        "abs_p99",
    ]
    assert [*total] == keys == [*report["groups"][0]][: len(keys)]
    assert report["variance"]["devices"] == 3
    assert report["variance"]["anova"]["df_within"] == 297


def test_evaluate_takes_parquet_weights_and_many_files(
    run: Run, samples: Path, tmp_path: Path
) -> None:
    parquet = tmp_path / "samples.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT * FROM '{samples}') TO '{parquet}'")
    options = ("--y-true", "y", "--y-pred", "p", "--weight", "w", "--format", "json")
    one, other, both = (
        json.loads(run("evaluate", *files, *options).out)["total"]
        for files in ([samples], [parquet], [samples, parquet])
    )
    assert one == other
    assert both["count"] == 600
    assert both["mse"] == pytest.approx(one["mse"], rel=1e-15)


def test_evaluate_shows_a_table(run: Run, samples: Path) -> None:
    done = run("evaluate", samples, "--y-true", "y", "--y-pred", "p", "--by", "device")
    assert done.code == 0
    assert "RMSE" in done.out
    assert "d2" in done.out
    assert "ANOVA" in done.out
    assert "total" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("{samples}", "--y-true", "nope", "--y-pred", "p"), 67, "the file has device, y, p, w"),
        (("{samples}", "--y-true", "device", "--y-pred", "p"), 65, "line 2: column 'device'"),
        (("/nowhere/a.csv", "--y-true", "y", "--y-pred", "p"), 66, "cannot be read"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, samples: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = run("evaluate", *(each.format(samples=samples) for each in arguments))
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert done.err.startswith("edgemse: ")
    assert message in done.err


def test_a_negative_weight_and_a_value_beyond_measure_are_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    options = ("--y-true", "y", "--y-pred", "p", "--weight", "w", "--format", "json")
    path.write_text("y,p,w\n1,2,1\n1,3,-2\n")
    done = run("evaluate", path, *options)
    wanted = "column 'w': got -2.0, wanted a weight of 0 or more"
    assert (done.code, done.out, done.err) == (65, "", f"edgemse: {path}: line 3: {wanted}\n")
    path.write_text("y,p,w\n1,2,1\n1e80,2,1\n1,2,1e80\n1,2,1\n")
    done = run("evaluate", path, *options)
    assert (done.code, json.loads(done.out)["total"]["count"]) == (0, 2)
    (note,) = json.loads(done.out)["notes"]
    assert note.startswith("samples left out")
    assert note.endswith(": 2")


def test_fleet_reads_a_store(run: Run, store: Path) -> None:
    done = run("fleet", "variance", "--from", store, "--format", "json")
    report = json.loads(done.out)
    assert [group["by"]["device"] for group in report["groups"]] == ["pi-0", "pi-1", "pi-2"]
    assert report["total"]["count"] == 180
    done = run("fleet", "variance", "--from", store, "--by", "model", "--until", "2025-01-01")
    assert done.code == 0
    assert "no cell" in done.err
    done = run("fleet", "devices", "--from", store)
    assert (done.code, done.out.count("pi-")) == (0, 3)
    done = run("fleet", "devices", "--from", store, "--format", "json")
    assert json.loads(done.out)["devices"][0]["count"] == 60


def test_fleet_says_what_is_wrong_with_a_source(run: Run, store: Path, tmp_path: Path) -> None:
    port = free_port()
    for source, code, message in (
        (tmp_path / "none.duckdb", 72, "does not exist"),
        (f"http://127.0.0.1:{port}", 72, "no collector answers"),
        ("mysql://host/db", 74, "wanted the path of a DuckDB file"),
    ):
        done = run("fleet", "variance", "--from", source)
        assert (done.code, done.err.count("\n")) == (code, 1)
        assert message in done.err
    assert run("fleet", "variance", "--from", store, "--by", "colour").code == 67
    assert run("fleet", "variance", "--from", store, "--since", "noon").code == 78
    with duckdb.connect(str(store)) as connection:
        connection.execute("INSERT INTO schema_versions VALUES (99, 0)")
    done = run("fleet", "devices", "--from", store)
    assert (done.code, done.err.count("\n")) == (70, 1)


def test_an_interrupted_command_exits_as_shells_expect(
    run: Run, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgemse.cli.evaluate.read_samples", interrupted)
    assert run("evaluate", samples, "--y-true", "y", "--y-pred", "p") == (130, "", "")


def test_missing_packages_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "edgemse.cli.app", None)
    monkeypatch.setattr(extras, "OPTIONAL", frozenset({"edgemse"}))
    done = run("--version")
    assert (done.code, done.err.count("\n")) == (69, 1)
    assert "pip install 'edgemse[collector]'" in done.err


@pytest.mark.parametrize(
    ("words", "found"), [("edgemse fl", "fleet"), ("edgemse fleet vari", "variance")]
)
def test_the_shell_completes_commands(words: str, found: str) -> None:
    asked = {"_EDGEMSE_COMPLETE": "complete_bash", "COMP_WORDS": words}
    done = edgemse(env=os.environ | asked | {"COMP_CWORD": str(words.count(" "))})
    assert (done.stdout.split(), done.stderr) == ([found], "")


def test_wrong_use_of_the_collector(tmp_path: Path) -> None:
    store, port = tmp_path / "fleet.duckdb", free_port()
    config = tmp_path / "collector.toml"
    for text, message in (
        ("store = 1", "store: got 1, wanted a string"),
        ("colour = 1", "unknown key 'colour'"),
        ('[broker]\nprotocol = "4"', "protocol: got '4', wanted one of 5, 3.1.1"),
        ('[broker]\naddress = "x:y"', "wanted HOST:PORT"),
        ('worker = "a/b"', "worker"),
        ("store = ", "not TOML"),
    ):
        config.write_text(text)
        given = () if text.startswith("store") else ("--store", store)
        done = edgemse("collector", *given, "--http", "127.0.0.1:0", "--config", config)
        assert (done.returncode, done.stderr.count("\n")) == (78, 1), done
        assert message in done.stderr
        assert str(config) in done.stderr
    done = edgemse("collector")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    done = edgemse(
        "collector", "--store", store, "--broker", f"127.0.0.1:{port}", "--http", "127.0.0.1:0"
    )
    assert (done.returncode, done.stderr.count("\n")) == (69, 1)
    assert f"127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_wrong_password_is_said_so(
    protocol: str, start_broker: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = start_broker({"ann": "right"})
    (tmp_path / "password").write_text("wrong\n")
    (tmp_path / "password").chmod(0o600)
    options = ("--username", "ann", "--password-file", tmp_path / "password")
    where = ("--store", tmp_path / "fleet.duckdb", "--broker", broker.address)
    done = edgemse("collector", *where, *options, "--http", "127.0.0.1:0", "--protocol", protocol)
    assert (done.returncode, done.stderr.count("\n")) == (77, 1), done
    assert "password" in done.stderr
