"""What a Monitor refuses at the call, because the agent would refuse it for ever."""

from __future__ import annotations

import math
from operator import index

from edgemse.names import wrong_with
from edgemse.times import PLAUSIBLE_SECONDS

__all__ = ["checked_id", "checked_names", "checked_number", "checked_time"]


def checked_names(**names: str) -> None:
    """Raise TypeError or ValueError unless all of these can be names."""
    for key, name in names.items():
        if not isinstance(name, str):
            raise TypeError(f"{key}: got {name!r:.80}, wanted a str")
        wrong = wrong_with(name)
        if wrong:
            raise ValueError(f"{key}: {wrong}")


def checked_id(key: str | int) -> str | int:
    """Return the id as a str or an int (numpy's integers are some), or raise."""
    if isinstance(key, str):
        checked_names(id=key)
        return key
    try:
        return index(key)
    except TypeError:
        raise TypeError(f"id: got {key!r:.80}, wanted a str or an int") from None


def checked_number(name: str, value: float, *, above: float = -math.inf) -> float:
    """Return the number as a float (numpy's are some), or raise; NaN only where any will do."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: got {value!r:.80}, wanted a number") from None
    if above > -math.inf and not above < number < math.inf:
        raise ValueError(f"{name}: got {number!r}, wanted a number above {above:g}")
    return number


def checked_time(ts: float) -> float:
    """Return the time, or raise unless it can be seconds since 1970."""
    low, high = PLAUSIBLE_SECONDS
    try:
        plausible = low <= ts < high
    except TypeError:
        raise TypeError(f"ts: got {ts!r:.80}, wanted seconds since 1970") from None
    if not plausible:
        raise ValueError(f"ts: got {ts!r:.80}, wanted seconds since 1970 (milliseconds?)")
    return ts
