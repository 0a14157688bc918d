"""Fixtures of all tests; where CI is set, a test that is skipped is a failure.

Every run ends with the files that took longest, so that growth is seen.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.broker import Mosquitto, mosquitto_binary
from support.engines import ENGINES, Factory, duckdb_file, postgres_schemas
from support.forks import end_server
from support.postgres import Postgres, postgres_folder

StartBroker = Callable[..., Mosquitto]

SLOWEST_FILES = 10
"""How many are told at the end of a run."""

IN_MEMORY = Path("/dev/shm")
IN_MEMORY_BYTES = 4 << 30
"""What the tests' folders may come to; where less is free they stay on the disk."""

INTEGRATIONS = Path(__file__).with_name("integrations")

_skipped: list[str] = []
_seconds: defaultdict[str, float] = defaultdict(float)
"""What each file's tests took, what their fixtures took included."""


def pytest_configure() -> None:
    """Have temporary folders in memory: databases say fsync so often that disks set the pace.

    What is written outlives a process that is killed in either place, and no test cuts the power.
    And no test is as wide as whoever runs it: xdist's workers have a terminal's width, 80.
    """
    os.environ.pop("COLUMNS", None)
    if "TMPDIR" in os.environ or not IN_MEMORY.is_dir():
        return
    runs_programs = not os.statvfs(IN_MEMORY).f_flag & os.ST_NOEXEC  # what tests compile
    room = shutil.disk_usage(IN_MEMORY).free > IN_MEMORY_BYTES
    if room and runs_programs and os.access(IN_MEMORY, os.W_OK):
        os.environ["TMPDIR"] = str(IN_MEMORY)
        tempfile.tempdir = None  # it is looked up again


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave tests/integrations to those who name it (`make test-integrations`): heavy peers."""
    if collection_path != INTEGRATIONS:
        return None
    return not any(INTEGRATIONS.name in Path(given).parts for given in config.args) or None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[report.location[0]] += report.duration
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    end_server()
    if _skipped and os.environ.get("CI"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.section(f"slowest {SLOWEST_FILES} files of {len(_seconds)}")
    slowest = sorted(_seconds.items(), key=lambda item: -item[1])
    for name, seconds in slowest[:SLOWEST_FILES]:
        terminalreporter.line(f"{seconds:7.1f} s  {name}")
    if _skipped and os.environ.get("CI"):
        terminalreporter.section("skipped, and CI must skip nothing")
        for name in _skipped:
            terminalreporter.line(name)


@pytest.fixture(scope="session")
def needs_mosquitto() -> None:
    if mosquitto_binary() is None:
        pytest.skip("no mosquitto on PATH")


@pytest.fixture
def start_broker(needs_mosquitto: None, tmp_path: Path) -> Iterator[StartBroker]:
    """A function that starts a Mosquitto as told; all of them end with the test."""
    started: list[Mosquitto] = []

    def start(*how: Any, **more: Any) -> Mosquitto:
        directory = tmp_path / f"broker-{len(started)}"
        directory.mkdir()
        started.append(Mosquitto(directory, *how, **more))
        started[-1].start()
        return started[-1]

    yield start
    for mosquitto in started:
        mosquitto.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL for all tests that do not kill it."""
    with running_postgres() as server:
        yield server


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server, or skip: where CI is set, that is a failure."""
    if postgres_folder() is None:
        pytest.skip("no PostgreSQL server in /usr/lib/postgresql or on PATH")
    server = Postgres()
    try:
        server.start()
        server.prepare()
        yield server
    finally:
        server.close()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A running PostgreSQL that the test may kill."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Factory:
    """What makes the store of a test: the test runs once for each engine."""
    if request.param == "duckdb":
        return duckdb_file
    return postgres_schemas(request.getfixturevalue("postgres"))


@pytest.fixture
def broker(start_broker: StartBroker) -> Mosquitto:
    """A running Mosquitto that lets everybody in."""
    return start_broker()
