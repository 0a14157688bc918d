"""Lives of a device whose power is cut, or whose disk is full or fails for a while."""

from __future__ import annotations

import base64
import math
import random
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from crash.again import Fleet, gone_on
from crash.books import Books
from crash.disk import Call, Disk, traced

DEVICE = Path(__file__).with_name("device.py")
STEPS = 250
CALLS_MAX = {"pwrite64": 700, "fdatasync": 120, "ftruncate": 6}
"""About so many calls a life of half the steps makes."""


def lived(
    folder: Path, seed: int, durable_seconds: float, steps: int, *careless: str
) -> list[Call]:
    """Let a device live in the folder, and return all that it did."""
    state = folder / "state"
    state.mkdir(parents=True)
    calls, errors = traced(
        [*_device(state, seed, durable_seconds, steps), *careless], state, folder / "calls"
    )
    (folder / "calls").unlink()
    assert any(call.fact == ["settled"] for call in calls[-1:]), errors
    return calls


def _device(state: Path, seed: int, durable_seconds: float, steps: int) -> list[str]:
    command = [sys.executable, str(DEVICE), str(state)]
    return [*command, str(seed), f"{durable_seconds:g}", str(steps)]


class Trouble(NamedTuple):
    """From the `first` call of that name on, so `many` of them fail with that error."""

    call: str
    error: str
    first: int
    many: int


def troubles(seed: int, count: int) -> list[Trouble]:
    """Return troubles by chance: a disk that is full, fails, or lets nobody write any more."""
    rng = random.Random(seed)
    return [
        Trouble(
            call := rng.choice(("pwrite64", "pwrite64", "fdatasync", "ftruncate")),
            rng.choice(("ENOSPC", "EIO", "EROFS")),
            rng.randrange(1, CALLS_MAX[call]),
            rng.choice((1, 3, 30, 300)),
        )
        for _ in range(count)
    ]


def troubled(folder: Path, seed: int, trouble: Trouble) -> str:
    """Let a device live through a trouble of its disk; return what is wrong then, or nothing."""
    state = folder / "state"
    state.mkdir(parents=True)
    last = trouble.first + trouble.many - 1
    failing = f"inject={trouble.call}:error={trouble.error}:when={trouble.first}..{last}"
    command = _device(state, seed, 5.0, STEPS // 2)
    calls, errors = traced(command, state, folder / "calls", "-e", failing)
    books = Books(call.fact for call in calls if call.name == "tell")
    shutil.rmtree(folder)
    if not books.settled:
        return f"it did not come to rest: {errors[-1_000:]}"
    fleet = Fleet()
    for report in books.took:
        fleet.take(base64.b64decode(report))
    return "; ".join(books.audit(fleet.arrived(), len(books.lines), math.inf))


def cut(calls: list[Call], moment: int, seed: int, folder: Path, durable_seconds: float) -> str:
    """Cut the power after so many calls; return what is wrong after that, or nothing."""
    disk, facts, rng = Disk(), [], random.Random(f"{seed} {moment}")
    for call in calls[:moment]:
        if call.name == "tell":
            facts.append(call.fact)
        else:
            disk.play(call)
    books = Books(facts)
    folder.mkdir()
    disk.power_cut(rng, folder)
    wrong = gone_on(folder, books, durable_seconds, rng)
    shutil.rmtree(folder)
    return "; ".join(wrong)


def cuts(
    folder: Path, seed: int, durable_seconds: float, count: int, *careless: str
) -> dict[int, str]:
    """Record a life and cut its power at so many moments; return what was wrong, by moment."""
    calls = lived(folder / "life", seed, durable_seconds, STEPS, *careless)
    rng = random.Random(seed)
    moments = [n for n, call in enumerate(calls) if call.name != "tell"]
    found = {}
    for moment in rng.sample(moments, min(count, len(moments))):
        wrong = cut(calls, moment, seed, folder / "cut", durable_seconds)
        if wrong:
            found[moment] = wrong
    return found
