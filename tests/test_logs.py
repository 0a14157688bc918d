"""A flood of log lines becomes a few, and says so."""

from __future__ import annotations

import logging

from edgemse.logs import KINDS_MAX, Ration


def lines_of(ration: Ration, message: str, *arguments: object, times: int = 1) -> list[str]:
    """Return what passes of a message that is logged so many times."""
    passed = []
    for _ in range(times):
        record = logging.LogRecord("x", logging.WARNING, "f", 1, message, arguments, None)
        if ration.filter(record):
            passed.append(record.getMessage())
    return passed


def test_a_flood_is_held_back_and_counted() -> None:
    time = [0.0]
    ration = Ration(lines=3, seconds=60, now=lambda: time[0])
    got = lines_of(ration, "lost %s%%", "5", times=1_000)
    assert got == ["lost 5%", "lost 5%", "lost 5% (more like this are held back for 60 s)"]
    time[0] = 59.0
    assert lines_of(ration, "lost %s%%", "other") == []
    time[0] = 60.0
    assert lines_of(ration, "lost %s%%", 6) == ["lost 6% (998 more like this were held back)"]
    assert lines_of(ration, "lost %s%%", 7) == ["lost 7%"]


def test_kinds_are_counted_apart_and_bounded() -> None:
    ration = Ration(lines=1, seconds=60, now=lambda: 0.0)
    assert len(lines_of(ration, "a")) == len(lines_of(ration, "b")) == 1
    assert lines_of(ration, "a", times=10) == []
    for number in range(5 * KINDS_MAX):
        assert len(lines_of(ration, f"kind {number}")) == 1
    assert len(ration._seen) <= KINDS_MAX
