from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemse.errors import SettingsError
from edgemse.times import PLAUSIBLE_SECONDS, duration, instant, seconds_of, unit_of

AT = 1_790_000_000.0
"""2026-09-21T14:13:20Z"""
DAY = AT - (14 * 60 + 13) * 60 - 20


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-09-21T14:13:20Z", AT),
        ("2026-09-21t14:13:20z", AT),
        (" 2026-09-21 14:13:20 ", AT),
        ("2026-09-21 14:13:20 UTC", AT),
        ("2026-09-21 14:13:20 +0000", AT),
        ("2026-09-21 16:13:20+02", AT),
        ("2026-09-21T09:43:20-04:30", AT),
        ("2026-09-21 14:13:20,125", AT + 0.125),
        ("2026-09-21T14:13:20.125000999Z", AT + 0.125),
        ("20260921T141320Z", AT),
        ("20260921141320", AT),
        ("2026/09/21 14:13", AT - 20),
        ("2026-09-21", DAY),
        ("20260921", DAY),
        ("2026-W39-1", DAY),
        ("2026-09", DAY - 20 * 86_400),
        ("2026", 1_767_225_600),
        ("1790000000", AT),
        ("1790000000.125", AT + 0.125),
        ("1790000000,125", AT + 0.125),
        ("01790000000", AT),
    ],
)
def test_what_a_time_may_look_like(text: str, seconds: float) -> None:
    assert instant(text) == seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "wanted ISO 8601"),
        ("noon", "wanted ISO 8601"),
        ("NaT", "wanted ISO 8601"),
        ("nan", "wanted ISO 8601"),
        ("-1", "wanted ISO 8601"),
        ("1.79e9", "wanted ISO 8601"),
        ("1_790_000_000", "wanted ISO 8601"),
        ("0x6AB0_2480", "wanted ISO 8601"),
        ("\u0662\u0660\u0662\u0666", "wanted ISO 8601"),
        ("2026-09-21-05:00", "wanted ISO 8601"),  # a date and its zone, not five o'clock
        ("7d", "wanted ISO 8601"),  # of what, without a now?
        ("0", "1 digit;"),
        ("978300760", "9 digits;"),
        ("2026.5", "4 digits;"),
        ("46286.592592592592", "day number"),
        ("1790000000123", "13 digits, milliseconds"),
        ("1790000000123456", "16 digits, microseconds"),
        ("1790000000123456789", "19 digits, nanoseconds"),
        ("20260931", "8 digits, but no such date"),
        ("20260921251320", "14 digits, but no such date"),
        ("2026-02-30", "no such date"),
        ("2026-13", "no such date"),
        ("21.09.2026 14:13:20", "which is the day"),
        ("09/10/2026 14:13", "which is the day"),
        ("1-2-26", "which is the day"),
    ],
)
def test_what_is_no_time_is_said(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as told:
        instant(text)
    assert repr(text) in str(told.value)


@pytest.mark.parametrize(
    ("text", "unit", "seconds"),
    [
        ("1790000000123", "ms", AT + 0.123),
        ("1790000000123456", "us", AT + 0.123456),
        ("1790000000123456789", "ns", 1_790_000_000_123_456_789 / 10**9),
        ("978300760", "s", 978_300_760),
        ("20260921", "s", 20_260_921),
        ("2026-09-21", "ms", DAY),
    ],
)
def test_a_unit_that_is_said(text: str, unit: str, seconds: float) -> None:
    assert instant(text, unit=unit) == seconds


def test_ago() -> None:
    for text in ("7d", "7d ago", "1w", "168 h ago"):
        assert instant(text, now=AT) == AT - 7 * 86_400
    for text in ("7", "d", "1.2.3d", "7d hence", "7 parsecs"):
        with pytest.raises(SettingsError):
            instant(text, now=AT)


def test_durations() -> None:
    known = {"90": 90, "90s": 90, "5m": 300, "5 min": 300, "1.5h": 5_400, "1d": 86_400, "0s": 0}
    assert {text: duration(text) for text in known} == known
    for text in ("", "h", "-1h", "1y", "1h30m", "1e3", "\u0661h", "9" * 400, "nan"):
        with pytest.raises(SettingsError, match="wanted a number and s, m, h, d or w"):
            duration(text)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        -1,
        -0.5,
        0,
        1e-5,
        12.5,
        46_286.59,
        1e12,
        1_790_000_000_123,
        1.79e18,
        2**33,
        10**20,
        10**30,
        10**4_000,
        1e300,
        "1970-01-01T00:00:05Z",
        "1969-12-31",
        "0001-01-01T00:00+05:00",
        "9999-12-31T23:59-05:00",
        "99999999999",
        "",
    ],
)
def test_a_sample_is_of_a_plausible_time(value: float | str) -> None:
    with pytest.raises(SettingsError, match=r"^time .*wanted"):
        seconds_of(value)


def test_numbers_follow_the_rule_of_digits() -> None:
    assert seconds_of(20_260_921) == seconds_of(20_260_921.0) == DAY
    assert seconds_of(20_260_921_141_320.0) == AT
    assert seconds_of(2026) == instant("2026")
    assert seconds_of(1_790_000_000_123, unit="ms") == AT + 0.123
    assert seconds_of(978_300_760, unit="s") == 978_300_760


@given(st.floats(10**9, PLAUSIBLE_SECONDS[1], exclude_max=True))
def test_a_number_and_its_text_are_one_time(value: float) -> None:
    assert seconds_of(value) == seconds_of(repr(value)) == value


@given(
    st.datetimes(datetime(1971, 1, 2), datetime(2242, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_iso_is_read_as_python_writes_it(naive: datetime, minutes: int) -> None:
    zone = timedelta(minutes=minutes)
    exact = (naive - datetime(1970, 1, 1) - zone) / timedelta(seconds=1)
    sign, rest = "-" if minutes < 0 else "+", abs(minutes)
    assert seconds_of(f"{naive.isoformat()}{sign}{rest // 60:02}:{rest % 60:02}") == exact
    assert seconds_of(str(naive)) == naive.replace(tzinfo=UTC).timestamp()


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        assert PLAUSIBLE_SECONDS[0] <= seconds_of(text) < PLAUSIBLE_SECONDS[1]
    except SettingsError as error:
        assert "wanted" in str(error)


def test_the_unit_that_digits_suggest() -> None:
    texts = ("1790000000", "1790000000123", "1790000000123456", "1790000000123456789", "2026", "x")
    assert [unit_of(text) for text in texts] == ["s", "ms", "us", "ns", None, None]
