"""Waiting for a condition instead of sleeping for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 0.02


def eventually(condition: Callable[[], T], seconds: float = 20.0) -> T:
    """Return the condition's first true value; fail if none comes in time."""
    end = time.monotonic() + seconds
    pause = Event()
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        pause.wait(PAUSE_SECONDS)
    return found
