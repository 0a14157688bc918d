from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from support.fleet import Done, Planted, Run

from edgemse.cli import entry


@pytest.fixture
def planted() -> Iterator[Planted]:
    """An empty store in memory."""
    planted = Planted()
    yield planted
    planted.store.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `edgemse fleet` with arguments, in this process."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["edgemse", "fleet", *map(str, arguments)])
        return Done(entry.main(), *capsys.readouterr())

    return run
