"""Fixtures of all tests; where CI is set, a test that is skipped is a failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.broker import Mosquitto, mosquitto_binary
from support.engines import ENGINES, Factory, duckdb_file, postgres_schemas
from support.postgres import Postgres, postgres_folder

StartBroker = Callable[..., Mosquitto]

INTEGRATIONS = Path(__file__).with_name("integrations")

_skipped: list[str] = []


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave tests/integrations to those who name it (`make test-integrations`): heavy peers."""
    if collection_path != INTEGRATIONS:
        return None
    return not any(INTEGRATIONS.name in Path(given).parts for given in config.args) or None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped and os.environ.get("CI"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
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
