"""Times and durations as people and files write them: the one parser for all of edgemse.

A number says by its digits what it is: 4 are a year, 8 a date, 14 a date and a time, 10 or 11
seconds since 1970. Nothing else is guessed: what may be milliseconds, an Excel day number or a date
with the day first is an error that says so.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from edgemse.errors import SettingsError

__all__ = [
    "DAY_SECONDS",
    "HOUR_SECONDS",
    "PLAUSIBLE_SECONDS",
    "UNITS",
    "ago",
    "duration",
    "instant",
    "seconds_of",
    "unit_of",
]

HOUR_SECONDS = 3_600
"""A change of an attribute counts from the next whole UTC hour: no rollup has two values."""
DAY_SECONDS = 86_400

PLAUSIBLE_SECONDS = (31_536_000, 2**33)
"""1971 to 2242. A cell's window ends there; and whatever is read in too small a unit (seconds for
milliseconds, days for seconds), or measured by a clock that nobody set, falls into 1970."""

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""How many of each unit make a second."""

_UNIT_OF_DIGITS = {10: "s", 11: "s", 13: "ms", 16: "us", 19: "ns"}
"""Digits of a time since 1970 in each unit, from 2001 to 2286 (11: to 5138)."""
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_EXCEL_DIGITS = 5
"""Days since 1900, as spreadsheets store a date: 1927 to 2173."""

_DURATIONS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(s|min|m|h|d|w)?")
_AGO = re.compile(r"([0-9.]+ ?[a-z]+)(?: ago)?")
_NUMBER = re.compile(r"([0-9]{1,20})(?:[.,]([0-9]{1,30}))?")
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}/[0-9]{2}/[0-9]{2}|[0-9]{8}"
    r"|[0-9]{4}-?W[0-9]{2}(?:-?[1-7])?)"
    r"(?:[Tt ]([0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?)?"
    r"|[0-9]{4}(?:[0-9]{2}(?:[.,][0-9]+)?)?)"
    r" ?([Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_DAY_FIRST = re.compile(r"[0-9]{1,2}([./-])[0-9]{1,2}\1([0-9]{4}|[0-9]{2})\b.*")
_STAMP_DIGITS = 14
_FAST = (10**9, PLAUSIBLE_SECONDS[1])
"""Numbers that can be nothing but seconds since 1970: ten digits, before 2242."""

_WANTED = "wanted ISO 8601, for example 2026-01-31T12:00Z, or seconds since 1970 (10 digits)"


def ago(seconds: float) -> str:
    """Return how long ago something was, in its largest unit; "" if it is yet to come.

    >>> ago(0.4), ago(59), ago(200), ago(7_300), ago(90_000), ago(-2)
    ('now', '59 s ago', '3 min ago', '2 h ago', '1 d ago', '')
    """
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= unit:
            return f"{int(seconds // unit):,} {name} ago"
    return "now" if seconds > -1 else ""


def instant(text: str, *, now: float | None = None, unit: str | None = None) -> float:
    """Return the seconds since 1970-01-01 UTC of a time as text; without a zone it is UTC.

    Args:
        text: ISO 8601; a year, `2026`, or month, `2026-09`, for its beginning; `20260921`,
            `20260921141320`; seconds since 1970 with 10 or 11 digits, with or without a fraction.
        now: UTC seconds. Where it is given, `7d`, `1h` and `30d ago` are taken too.
        unit: of UNITS: what a bare number counts since 1970, whatever its digits.

    Raises:
        SettingsError: with what was got and what was wanted. An empty text is an error too.

    >>> instant("1970-01-02"), instant("1970-01-01T01:00:00+01:00"), instant("1790000000.5")
    (86400.0, 0.0, 1790000000.5)
    >>> instant("2026") == instant("20260101") == instant("2026-01-01 00:00:00 UTC")
    True
    >>> instant("7d", now=1_790_000_000.0)
    1789395200.0
    >>> instant("1790000000123", unit="ms")
    1790000000.123
    >>> instant("1790000000123")
    Traceback (most recent call last):
    ...
    edgemse.errors.SettingsError: time '1790000000123': 13 digits, milliseconds since 1970?; ...
    """
    stripped = text.strip()
    number = _NUMBER.fullmatch(stripped)
    if number is not None:
        return _of_number(text, number[1], number[2] or "", unit)
    if now is not None:
        ago = _AGO.fullmatch(stripped)
        if ago is not None:
            return now - duration(ago[1])
    iso = _ISO.fullmatch(stripped)
    try:
        if iso is not None:
            return _of_iso(*iso.groups())
        if _MONTH.fullmatch(stripped):
            return _of_iso(f"{stripped}-01", None, None)
    except (ValueError, OverflowError):  # the 31st of September, 25:00
        raise _error(text, "no such date or time") from None
    if _DAY_FIRST.fullmatch(stripped):
        raise _error(text, "which is the day and which the month?")
    raise _error(text)


def duration(text: str) -> float:
    """Return the seconds of `90s`, `5m` or `5min`, `1.5h`, `1d`, `2w`; a bare number is seconds.

    Raises SettingsError for anything else, an empty text and negative durations included.

    >>> duration("90"), duration("5min"), duration("1.5 h"), duration("1d")
    (90.0, 300.0, 5400.0, 86400.0)
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SettingsError(
            f"duration {text!r:.80}: wanted a number and s, m, h, d or w, as in 90s"
        )
    return float(match[1]) * _DURATIONS[match[2] or ""]


def seconds_of(value: float | str, *, unit: str | None = None) -> float:
    """Return the seconds since 1970-01-01 UTC of a sample's time, a number or a text.

    Numbers follow the rule of digits as texts do (20260921 is a date). What does not fall into
    PLAUSIBLE_SECONDS is refused: SettingsError, as for NaN, infinities and an empty text.

    >>> seconds_of(1_790_000_000.25), seconds_of(20260921), seconds_of("2026-09-21T14:13:20Z")
    (1790000000.25, 1789948800.0, 1790000000.0)
    """
    if not isinstance(value, str):
        if unit in (None, "s") and _FAST[0] <= value < _FAST[1]:
            return float(value)
        if not 0 <= value < 10**20:  # NaN too
            whole = isinstance(value, int)  # one of a million digits is not worth showing
            raise _error("a huge number" if whole and abs(value) > 10**30 else repr(value))
        value = repr(value) if value < 10**15 else str(int(value))  # never with an exponent
    seconds = instant(value, unit=unit)
    low, high = PLAUSIBLE_SECONDS
    if not low <= seconds < high:
        raise _error(value, f"that is {_year(seconds)}", "wanted one of 1971 to March 2242")
    return seconds


def unit_of(text: str) -> str | None:
    """Return the unit of UNITS that a bare number of so many digits counts since 1970, or None.

    >>> unit_of("1790000000123"), unit_of("1790000000"), unit_of("46286.59"), unit_of("noon")
    ('ms', 's', None, None)
    """
    number = _NUMBER.fullmatch(text.strip())
    return None if number is None else _UNIT_OF_DIGITS.get(len(number[1]))


def _of_number(text: str, whole: str, fraction: str, unit: str | None) -> float:
    digits = len(whole)
    if unit is None and not fraction.strip("0"):
        try:
            if digits == 4:
                return _of_iso(f"{whole}0101", None, None)
            if digits == 8:
                return _of_iso(whole, None, None)
            if digits == _STAMP_DIGITS:
                return _of_iso(whole[:8], whole[8:], None)
        except ValueError:
            raise _error(text, f"{digits} digits, but no such date") from None
    if unit is None and _UNIT_OF_DIGITS.get(digits) != "s":
        raise _error(text, _guess(digits))
    # Whole numbers are divided, so that 19 digits are rounded once and not twice.
    parts: int = 10 ** len(fraction) * UNITS[unit or "s"]
    return int(whole + fraction) / parts


def _guess(digits: int) -> str:
    if digits in _UNIT_OF_DIGITS:
        return f"{digits} digits, {_UNIT_NAMES[_UNIT_OF_DIGITS[digits]]} since 1970?"
    if digits == _EXCEL_DIGITS:
        return "a spreadsheet's day number?"
    return f"{digits} digits" if digits > 1 else "1 digit"


def _of_iso(date: str, time: str | None, zone: str | None) -> float:
    if zone is None or zone in ("Z", "z", "UTC", "GMT"):
        zone = "+00:00"
    return datetime.fromisoformat(f"{date.replace('/', '-')}T{time or '00'}{zone}").timestamp()


def _year(seconds: float) -> str:
    try:
        return str((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).year)
    except OverflowError:
        return "beyond the calendar"


def _error(text: str, why: str = "", wanted: str = _WANTED) -> SettingsError:
    return SettingsError(f"time {text!r:.80}: {why}{'; ' if why else ''}{wanted}")
