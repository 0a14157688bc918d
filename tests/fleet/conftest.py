from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.fleet import Planted


@pytest.fixture
def planted() -> Iterator[Planted]:
    """An empty store in memory."""
    planted = Planted()
    yield planted
    planted.store.close()
