"""`edgemse rollup` and `retention`, the collector's jobs, and what they say."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from support.cells import START, batch, cell
from support.rollups import counts, left, rolled

from edgemse.cli import entry
from edgemse.collector import CollectorSettings
from edgemse.errors import SettingsError
from edgemse.rollups.job import Rolling
from edgemse.settings import load
from edgemse.stores import open_store
from edgemse.stores.keep import Keep

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
    rolling = Rolling(store, now=lambda: now)
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
        "cells_absorbed": 0,
        "cells_dropped": 0,
        "retention_steps_overtaken": 0,
    }
    store.close()


def test_old_cells_are_let_go_by_hand(command: Command, path: Path) -> None:
    store = open_store(path)
    store.commit(batch(cell(9, 0, final=True), cell(9, 1, final=True)))
    store.close()
    days = ("--raw-days", "1", "--hourly-days", "7")
    assert command("retention", "--store", path, *days, "--dry-run") == (
        0,
        "2 cells are to go into hours or days, 0 for good\n",
    )
    assert command("retention", "--store", path, *days) == (
        0,
        "2 cells are in 1 of hours or days now, 0 are gone for good\n",
    )
    assert command("rollup", "--store", path, "--dry-run")[1].startswith("0 hours")


def test_a_retention_that_lets_nothing_go_is_refused(command: Command, path: Path) -> None:
    code, said = command("retention", "--store", path)
    assert code == SettingsError.exit_code
    assert "give --raw-days" in said
    assert command("retention", "--store", path, "--raw-days", 9, "--daily-days", 3)[0] == code


def test_the_job_lets_go_what_its_settings_say(path: Path) -> None:
    store = open_store(path)
    store.commit(batch(cell(9, 0, final=True), cell(9, 1, final=True)))
    rolling = Rolling(store, Keep(raw_days=1), lambda: START + 5 * 86_400.0)
    rolling.retain(Event())
    seen = rolling.counters.snapshot()
    assert (seen["cells_absorbed"], seen["cells_dropped"]) == (2, 0)
    assert seen["rollup_dirty_hours"] == 2
    store.close()


def test_retention_is_a_table_of_the_collectors_settings() -> None:
    values = {"store": "s", "retention": {"raw_days": 30, "hourly_days": 400}}
    assert load(CollectorSettings, values, "here").retention == Keep(30, 400)
    assert not load(CollectorSettings, {"store": "s"}, "here").retention
    with pytest.raises(SettingsError, match="hourly_days to be more"):
        load(CollectorSettings, {"store": "s", "retention": {"raw_days": 9, "hourly_days": 3}}, "x")


def test_a_run_of_the_job_lets_other_jobs_have_their_turn(path: Path) -> None:
    store = open_store(path)
    clock = itertools.count(0, 15)
    rolling = Rolling(store, now=lambda: START + 10_000.0, monotonic=lambda: float(next(clock)))
    rolling.run(Event())
    assert rolling.counters["rollup_rows_made"] == 0  # hours are begun with in one step
    rolling.run(Event())
    assert rolling.counters["rollup_rows_made"] == 2
    store.close()


def test_a_copy_goes_on_where_the_store_was(path: Path, tmp_path: Path) -> None:
    store = open_store(path)
    rolled(store)
    store.commit(batch(cell(5)))
    store.copy_to(tmp_path / "copy.duckdb")
    store.close()
    copy = open_store(tmp_path / "copy.duckdb")
    copy.commit(batch(cell(6), cell(7, start=START + 7_200)))
    assert rolled(copy).overtaken == 0
    assert left(copy).hours == left(copy).touched == 0
    assert counts(copy) == {"pi-1": 6 * 20}
    copy.close()
