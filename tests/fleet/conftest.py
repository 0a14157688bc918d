from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engines import Factory
from support.fleet import Done, Planted, Run

from edgemse.cli import entry


@pytest.fixture
def planted(engine: Factory, tmp_path: Path) -> Iterator[Planted]:
    """An empty store of each engine."""
    planted = Planted(store=engine(tmp_path, time.time))
    yield planted
    planted.store.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `edgemse fleet` with arguments, in this process."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["edgemse", "fleet", *map(str, arguments)])
        return Done(entry.main(), *capsys.readouterr())

    return run
