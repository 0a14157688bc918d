"""Since when a device has said of itself what it says."""

from __future__ import annotations

from collections.abc import Mapping

from edgemse.times import HOUR_SECONDS

__all__ = ["changed"]


def changed(
    known: Mapping[str, tuple[str, int | None]],
    current: Mapping[str, str],
    wall_seconds: float | None,
) -> dict[str, tuple[str, int | None]]:
    """Return value and since of what is said otherwise now than is known.

    A first value holds for all earlier windows; a change counts from the next whole UTC hour, or,
    while nobody knows the time (None), from when the collector hears of it. What is said no more is
    empty from then on.
    """
    hour = None if wall_seconds is None else int(-(-wall_seconds // HOUR_SECONDS))
    since = None if hour is None else hour * HOUR_SECONDS
    wanted = dict.fromkeys(known, "") | dict(current)
    found = {n: (v, since) for n, v in wanted.items() if n in known and known[n][0] != v}
    return found | {n: (v, 0) for n, v in wanted.items() if n not in known}
