"""`edgemse rollup`, the collector's job, and what both say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from support.cells import START, batch, cell

from edgemse.cli import entry
from edgemse.rollups.job import Rolling
from edgemse.stores import open_store

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `edgemse` with arguments; return its exit code and what it prints."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["edgemse", *map(str, arguments)])
        code = entry.main()
        return code, "".join(capsys.readouterr())

    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The store of two hours of a device."""
    path = tmp_path / "fleet.duckdb"
    store = open_store(path)
    store.commit(batch(cell(), cell(2), cell(3, start=START + 3_600)))
    store.close()
    return path


def test_a_store_is_rolled_up_by_hand(command: Command, path: Path) -> None:
    code, said = command("rollup", "--store", path, "--dry-run")
    assert (code, said) == (
        0,
        "2 hours are to be rolled up, 0 series of hours or days anew; 0 rows are there\n",
    )
    code, said = command("rollup", "--store", path)
    assert (code, said) == (
        0,
        "3 hours and days begun with, 3 rows made; 3 rows are there, 0 hours are left\n",
    )
    assert command("rollup", "--store", path)[1].startswith("0 hours and days begun with, 0 rows")


def test_a_store_that_is_not_there_is_not_made(command: Command, tmp_path: Path) -> None:
    code, said = command("rollup", "--store", tmp_path / "none.duckdb")
    assert code
    assert "does not exist" in said
    assert not [*tmp_path.iterdir()]


def test_the_job_says_how_far_behind_it_is(path: Path) -> None:
    store = open_store(path)
    now = START + 10_000.0
    rolling = Rolling(store, lambda: now)
    stopped = Event()
    stopped.set()
    rolling.run(stopped)
    seen = rolling.counters.snapshot()
    assert (seen["rollup_dirty_hours"], seen["rollup_lag_seconds"]) == (2, 6_400)
    rolling.run(Event())
    assert rolling.counters.snapshot() == {
        "rollup_rows": 2,  # the day is not over
        "rollup_rows_made": 2,
        "rollup_steps_overtaken": 0,
        "rollup_dirty_hours": 0,
        "rollup_lag_seconds": 0,
    }
    store.close()
