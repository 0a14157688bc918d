"""Replay: recorded samples through a real broker and collector; each counts once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.broker import Mosquitto
from support.processes import CollectorProcess, edgemse, total_of

HEADER = "device,time,version,y,p\n"
ROWS = "".join(
    f"d{n % 3},2026-01-01T{n // 60:02}:{n % 60:02}:00Z,v{n % 2},{n}.0,{n}.5\n" for n in range(300)
)


@pytest.fixture
def collector(broker: Mosquitto, tmp_path: Path) -> Iterator[CollectorProcess]:
    running = CollectorProcess(tmp_path / "fleet.duckdb", broker.address)
    running.start()
    yield running
    running.close()


def replay(broker: Mosquitto, path: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    columns = ("--device", "device", "--time", "time", "--y-true", "y", "--y-pred", "p")
    common = ("--broker", broker.address, *columns, "--format", "json")
    done = edgemse("replay", path, *common, *options)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_it_counts_once_however_often_it_is_run(
    broker: Mosquitto, collector: CollectorProcess, tmp_path: Path
) -> None:
    path = tmp_path / "samples.csv"
    path.write_text(HEADER + ROWS)
    for _ in range(2):
        code, said, error = replay(broker, path, "--version-column", "version")
        assert (code, error) == (0, "")
        assert (said["rows"], said["devices"], said["acknowledged"]) == (300, 3, True)
    found = total_of(collector.url, ("version",))
    assert {group["by"]["version"]: group["count"] for group in found["groups"]} == {
        "v0": 150,
        "v1": 150,
    }
    assert found["total"]["mse"] == 0.25


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("d0,2026-01-02T00:00Z,v0,1,x\n", "line 302: column 'p': got 'x'"),
        ("d0,2026-01-02T00:00Z,v0,1\n", "line 302: 4 cells, the header has 5 names"),
        (",2026-01-02T00:00Z,v0,1,2\n", "line 302: column 'device' is empty"),
        ("d0,17,v0,1,2\n", "line 302: column 'time'"),
    ],
)
def test_a_bad_row_sends_nothing_and_the_mended_file_counts_once(
    broker: Mosquitto, collector: CollectorProcess, tmp_path: Path, bad: str, told: str
) -> None:
    path = tmp_path / "samples.csv"
    path.write_text(HEADER + ROWS + bad)
    code, said, error = replay(broker, path)
    assert (code, said) == (65, {})
    assert told in error
    assert error.count("\n") == 1
    path.write_text(HEADER + ROWS)
    assert replay(broker, path)[0] == 0
    assert total_of(collector.url)["total"]["count"] == 300


def test_a_column_that_holds_no_times_stores_nothing_of_1970(
    broker: Mosquitto, collector: CollectorProcess, tmp_path: Path
) -> None:
    path = tmp_path / "samples.csv"
    path.write_text(HEADER + ROWS)
    code, _, error = replay(broker, path, "--time", "y")
    assert code == 65
    assert "column 'y'" in error
    assert total_of(collector.url)["total"]["count"] == 0


def test_labels_may_come_late(
    broker: Mosquitto, collector: CollectorProcess, tmp_path: Path
) -> None:
    path = tmp_path / "samples.csv"
    path.write_text(HEADER + ROWS)
    code, said, _ = replay(broker, path, "--label-delay", "90m", "--window", "5m")
    assert (code, said["rows"]) == (0, 300)
    assert total_of(collector.url)["total"]["count"] == 300


def test_what_is_refused_is_told_with_its_reason(
    broker: Mosquitto, collector: CollectorProcess, tmp_path: Path
) -> None:
    path = tmp_path / "samples.csv"
    path.write_text(HEADER + ROWS + "d0,2199-01-01T00:00Z,v0,1,2\n")
    code, said, error = replay(broker, path)
    assert (code, said["cells_refused"], said["acknowledged"]) == (75, 1, False)
    assert "the collector refused 1 cell: future: " in error
    assert total_of(collector.url)["total"]["count"] == 300
