"""The windows of two versions, of devices that ran both: others are not told from the version."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from edgemse.fleet.arms import Arm
from edgemse.fleet.asked import Asked
from edgemse.fleet.windows import SQUARES, WINDOWS_MAX, Numbers, Windows, usual_step, windows_of
from edgemse.stores.base import Reading

__all__ = ["ran_both", "windows_of_both"]

Key: TypeAlias = tuple[str, ...]


def ran_both(a: Arm, b: Arm) -> set[str]:
    """Return the devices that have samples of both versions."""
    return _measured(a) & _measured(b)


def _measured(arm: Arm) -> set[str]:
    return {name for name, stats in arm.items() if stats.count}


def windows_of_both(
    reading: Reading,
    asked: Asked,
    sides: Sequence[Asked],
    parts: Mapping[Key, tuple[Arm, Arm]],
    summed: str = SQUARES,
) -> Iterator[Mapping[Key, Windows]]:
    """Yield each version's steps, of all cells by the key () and of each segment by its own.

    Only those of devices that ran both versions there: windows of other devices would differ by
    their devices, and no window could show it. A key that no device shares is left out. `summed` is
    SQL as of windows_of.
    """
    step = usual_step(reading, asked, WINDOWS_MAX)
    shared = {key: ran_both(a, b) for key, (a, b) in parts.items()}
    same = all(shared[key] == _measured(a) | _measured(b) for key, (a, b) in parts.items())
    for side in sides:
        if not step or not shared[()]:
            yield {}
        elif same:
            whole = windows_of(reading, replace(side, by=()), 1, step, summed)[1]
            yield {**(windows_of(reading, side, 1, step, summed)[1] if side.by else {}), **whole}
        else:
            yield _chosen(reading, side, step, shared, summed)


def _chosen(
    reading: Reading, side: Asked, step: int, shared: Mapping[Key, Collection[str]], summed: str
) -> Mapping[Key, Windows]:
    by_device = replace(side, by=("device", *side.by))
    found = windows_of(reading, by_device, 1, step, summed, sorted(shared[()]))[1]
    chosen = {
        key: [
            each
            for (device, *segment), each in found.items()
            if device in devices and key in ((), tuple(segment))
        ]
        for key, devices in shared.items()
    }
    return {key: _merged(series) for key, series in chosen.items() if series}


def _merged(series: Sequence[Windows]) -> Windows:
    """Return the steps of several devices as those of one."""
    start, place = np.unique(np.concatenate([each.start for each in series]), return_inverse=True)

    def summed(name: str) -> Numbers:
        found = np.zeros(len(start))
        np.add.at(found, place, np.concatenate([getattr(each, name) for each in series]))
        return found

    return Windows(start, *(summed(name) for name in ("count", "weight", "squares", "errors")))
