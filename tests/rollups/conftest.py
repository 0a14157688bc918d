from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engines import Factory

from edgemse.stores import Store


@pytest.fixture
def store(engine: Factory, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each engine."""
    store = engine(tmp_path, time.time)
    yield store
    store.close()
