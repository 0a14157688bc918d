"""What a Monitor refuses at the call, because the agent would refuse it for ever."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from operator import index

from edgemse.measures import Numbers, numbers_beside
from edgemse.names import NAME_CHARACTERS_MAX, wrong_with
from edgemse.times import PLAUSIBLE_SECONDS

__all__ = [
    "as_double",
    "checked_beside",
    "checked_id",
    "checked_names",
    "checked_number",
    "checked_time",
    "line_time",
    "plausible",
]

ID_BOUND = 10 ** (NAME_CHARACTERS_MAX - 1)
"""An id is a name: with its sign a whole number below this has characters enough."""
SECONDS_MIN = 1_000_000_000.0
"""September 2001: a number below it could be a date (20260921), so a line writes it as a text."""
_FINER = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
"""How many of each make a second."""


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
        number = None if isinstance(key, bool) else index(key)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"id: got {key!r:.80}, wanted a str or an int")
    if not -ID_BOUND < number < ID_BOUND:
        raise ValueError(f"id: got a number of more than {NAME_CHARACTERS_MAX - 1} digits")
    return number


def as_double(value: float) -> float:
    """Return the number as a float; one that no float64 holds as the largest of its sign.

    That is refused as out of range likewise. Raises TypeError where it is no number.

    >>> as_double(2), as_double(-(10**400))
    (2.0, -1.7976931348623157e+308)
    """
    try:
        return math.ldexp(value, 0)  # float() would take texts
    except OverflowError:
        return sys.float_info.max if value > 0 else -sys.float_info.max


def checked_number(name: str, value: float, *, above: float = -math.inf) -> float:
    """Return the number as a float (numpy's are some), or raise; NaN only where any will do."""
    try:
        number = None if isinstance(value, str | bytes | bytearray) else float(value)
    except (TypeError, ValueError):
        number = None
    except OverflowError:
        raise ValueError(f"{name}: got a whole number beyond the largest double") from None
    if number is None:
        raise TypeError(f"{name}: got {value!r:.80}, wanted a number")
    if above > -math.inf and not above < number < math.inf:
        raise ValueError(f"{name}: got {number!r}, wanted a number above {above:g}")
    return number


def checked_beside(latency: float | None, features: Mapping[str, float] | None) -> Numbers:
    """Return the measures of latency and features, or raise TypeError or ValueError."""
    if latency is None and features is None:
        return ()
    if features is not None:
        if not isinstance(features, Mapping):
            raise TypeError(f"features: got {features!r:.80}, wanted numbers by name")
        checked_names(**{f"features {name!r:.80}": name for name in features})
        features = {name: checked_number(name, value) for name, value in features.items()}
    if latency is not None:
        latency = checked_number("latency", latency)
    return numbers_beside(latency, features)


def plausible(ts: float) -> bool:
    """Tell whether the time can be seconds since 1970 that an agent takes."""
    low, high = PLAUSIBLE_SECONDS
    return low <= ts < high


def checked_time(ts: float) -> float:
    """Return the time, or raise unless it can be seconds since 1970.

    >>> checked_time(1_767_225_600_000)
    Traceback (most recent call last):
    ...
    ValueError: ts: got 1767225600000, wanted seconds since 1970, of 1971 to 2242 (milliseconds?)
    """
    try:
        possible = plausible(ts)
    except TypeError:
        raise TypeError(f"ts: got {ts!r:.80}, wanted seconds since 1970") from None
    if not possible:
        got = as_double(ts)
        fine = (f" ({name}?)" for name, parts in _FINER.items() if plausible(got / parts))
        wanted = f"wanted seconds since 1970, of 1971 to 2242{next(fine, '')}"
        raise ValueError(f"ts: got {got:.17g}, {wanted}")
    return ts


def line_time(ts: float) -> float | str:
    """Return a time as a line to the agent says it: seconds since 1970, or ISO 8601.

    >>> line_time(1_767_225_600), line_time(623_233_641.5)
    (1767225600.0, '1989-10-01T08:27:21.500000+00:00')
    """
    return float(ts) if ts >= SECONDS_MIN else datetime.fromtimestamp(ts, UTC).isoformat()
