"""Fixtures of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.broker import Mosquitto, mosquitto_binary


@pytest.fixture
def needs_mosquitto() -> None:
    if mosquitto_binary() is None:
        if os.environ.get("CI"):
            pytest.fail("no mosquitto on PATH; CI must have it")
        pytest.skip("no mosquitto on PATH")


@pytest.fixture
def broker(needs_mosquitto: None, tmp_path: Path) -> Iterator[Mosquitto]:
    """A running Mosquitto that lets everybody in."""
    directory = tmp_path / "broker"
    directory.mkdir()
    mosquitto = Mosquitto(directory)
    mosquitto.start()
    yield mosquitto
    mosquitto.stop()
