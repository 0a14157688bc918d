"""Lines: what each says, and that nothing a stranger writes does more than be refused."""

from __future__ import annotations

import base64
import json
import math

import pytest
from edgemse_agent.lines import (
    LabelLine,
    MonitorHello,
    PredictionLine,
    Request,
    SampleLine,
    SessionHello,
    parse,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemse import ErrorStats
from edgemse.cells import SealedCell

NONE = (None, None, None, None)
CELL = {
    "producer": "00" * 16,
    "sequence": 3,
    "revision": 2,
    "final": True,
    "series": ["m", "1", "", "s"],
    "window": [1_767_225_600, 60],
    "state": base64.b64encode(ErrorStats().to_bytes()).decode(),
}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"y_true": 1, "y_pred": 2.5}', SampleLine(NONE, 1.0, 2.5, 1.0, None)),
        (
            '{"y_true": 1, "y_pred": 2, "weight": 3, "ts": 1767225600, "model": "m",'
            ' "segment": "s"}',
            SampleLine(("m", None, None, "s"), 1.0, 2.0, 3.0, 1_767_225_600.0),
        ),
        ('{"id": 7, "y_pred": 2}', PredictionLine("7", NONE, 2.0, 1.0, None)),
        ('{"id": "7", "y_true": 2}', LabelLine("7", NONE, 2.0, None)),
        ('{"id": 7, "y_true": 1, "y_pred": 2}', SampleLine(NONE, 1.0, 2.0, 1.0, None)),
        (
            '{"y_true": 1, "y_pred": 2, "ts": "2026-01-01T00:00:00"}',
            SampleLine(NONE, 1.0, 2.0, 1.0, 1_767_225_600.0),
        ),
        (
            '{"y_true": 1, "y_pred": 2, "ts": "2026-01-01T02:00:00+02:00"}',
            SampleLine(NONE, 1.0, 2.0, 1.0, 1_767_225_600.0),
        ),
        ('{"session": "s", "from": 4}', SessionHello("s", 4)),
        ('{"session": "s"}', SessionHello("s", 0)),
        ('{"producer": "' + "ab" * 16 + '"}', MonitorHello(b"\xab" * 16)),
        ('{"request": "status"}', Request("status")),
        (
            '{"y_true": 1, "y_pred": 2, "version": 2, "segment": 3}',
            SampleLine((None, "2", None, "3"), 1.0, 2.0, 1.0, None),
        ),
        (
            '{"y_true": 1, "y_pred": 2, "loss": "huber(delta=1.0)"}',
            SampleLine(NONE, 1.0, 2.0, 1.0, None, "", "loss:huber(delta=1)"),
        ),
        (
            '{"id": 1, "y_pred": 2, "loss": "brier"}',
            PredictionLine("1", NONE, 2.0, 1.0, None, "loss:brier"),
        ),
        (
            '{"measure": "latency", "value": 0.2, "segment": "s"}',
            SampleLine((None, None, None, "s"), 0.0, 0.2, 1.0, None, "latency"),
        ),
        (
            '{"y_true": 1, "y_pred": 2, "latency": 0.2, "features": {"t": 21, "load": 1.5}}',
            SampleLine(
                NONE,
                *(1.0, 2.0, 1.0, None, "", ""),
                (("latency", 0.2), ("feature:t", 21.0), ("feature:load", 1.5)),
            ),
        ),
        (
            '{"y_true": 2, "y_pred": 2, "lower": 1.5, "upper": 2}',
            SampleLine(
                NONE,
                *(2.0, 2.0, 1.0, None, "", ""),
                (("interval:covered", 1.0), ("interval:width", 0.5)),
            ),
        ),
        (
            '{"id": 1, "y_pred": 2, "lower": 1, "upper": 3, "latency": 0.5}',
            PredictionLine("1", NONE, 2.0, 1.0, None, "", (1.0, 3.0), (("latency", 0.5),)),
        ),
    ],
)
def test_a_line_is_understood(line: str, message: object) -> None:
    assert parse(line.encode()).line == message


def test_python_s_nan_is_taken() -> None:
    line = parse(b'{"y_true": NaN, "y_pred": -Infinity}').line
    assert isinstance(line, SampleLine)
    assert math.isnan(line.y_true)
    assert line.y_pred == -math.inf


@pytest.mark.parametrize(
    ("line", "key", "n"),
    [
        ('{"y_true": 1, "y_pred": 2, "y_pred": 3, "n": 4}', "y_pred", 4),
        ('{"y_true": 1, "y_pred" : null, "y_pred": 3}', "y_pred", None),
        (r'{"y_true": 1, "y_pred": 2, "y\u005ftrue": 3}', "y_true", None),
        ('{"y_true": 1, "y_pred": 2, "features": {"t": 1, "t": 2}, "n": 4}', "t", 4),
        ('{"id": "a", "y_pred": 2, "n": 4, "n": 5}', "n", None),
        ('{"y_true": NaN, "y_true": 1, "y_pred": 2, "n": 4}', "y_true", 4),
        ('{"session": "s", "from": 1, "from": 2}', "from", None),
        (json.dumps(CELL)[:-1] + ', "revision": 9}', "revision", None),
    ],
)
def test_a_key_that_stands_twice_is_refused_by_its_name(line: str, key: str, n: int | None) -> None:
    found = parse(line.encode())
    assert (found.line, found.n) == (None, n)
    assert found.wrong == f"the key {key!r} stands twice; wanted each once"


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "y_true\\":", "y_true": 1}',
        '{"y_true": 1, "y_pred": 2, "features": {"y_true": 1, ":y_pred": 2}}',
        '{"id": "id", "model": "id", "y_pred": 1, "ts": "2026-01-01T00:00:00Z"}',
    ],
)
def test_a_text_or_a_table_within_is_no_key_twice(line: str) -> None:
    assert parse(line.encode()).wrong == ""


def test_a_cell_is_opened_and_checked() -> None:
    cell = parse(json.dumps(CELL).encode()).line
    assert isinstance(cell, SealedCell)
    assert (cell.identity.sequence, cell.revision, cell.final) == (3, 2, True)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "not JSON"),
        ("[1]", "wanted one object a line"),
        (f'{{"y_true": 1{"0" * 400}, "y_pred": 2}}', "y_true: got more digits than a float64"),
        (f'{{"y_true": 1{"0" * 5000}, "y_pred": 2}}', "y_true: got more digits than a float64"),
        ("{}", "neither y_true and y_pred together"),
        ('{"y_true": 1}', "nor an id"),
        ('{"id": 1}', "neither y_pred nor y_true"),
        ('{"y_true": "1", "y_pred": 2}', "y_true: got text, wanted a number"),
        ('{"y_true": 1, "y_pred": 2, "colour": 3}', "unknown key 'colour'"),
        ('{"y_true": 1, "y_pred": 2, "weight": 0}', "weight 0.0: wanted a number above 0"),
        ('{"y_true": 1, "y_pred": 2, "weight": NaN}', "wanted a number above 0"),
        ('{"id": 1, "y_true": 1, "weight": 2}', "a label with a weight"),
        ('{"y_true": 1, "y_pred": 2, "ts": "noon"}', "wanted ISO 8601"),
        ('{"y_true": 1, "y_pred": 2, "ts": 1767225600000}', "milliseconds"),
        ('{"producer": "ab"}', "wanted 32 hexadecimal digits"),
        ('{"request": "stop"}', "Invalid enum value 'stop'"),
        (json.dumps(CELL | {"state": "!"}), "cell 3"),
        (json.dumps(CELL | {"state": "AAAA"}), "cell 3"),
        (json.dumps(CELL | {"window": [1, 60]}), "window [1, +60)"),
        (json.dumps(CELL | {"series": ["m", "1", "", 3]}), "series"),
        ('{"y_true": 1, "y_pred": 2, "loss": "hubris"}', "names no loss"),
        ('{"measure": "latency"}', "measure and value: wanted both"),
        ('{"measure": "interval:width", "value": 1}', "say lower and upper"),
        ('{"measure": "latency", "value": 1, "features": {"t": 1}}', "lines of their own"),
        ('{"y_true": 1, "y_pred": 2, "lower": 1}', "wanted both ends"),
        ('{"y_true": 1, "y_pred": 2, "lower": 2, "upper": 1}', "is above upper"),
        ('{"y_true": 1, "y_pred": 2, "features": {"": 1}}', "features: got an empty name"),
        ('{"y_true": 1, "y_pred": 2, "features": {"t": "21"}}', "features[...]: got text"),
        ('{"id": 1, "y_true": 1, "latency": 2}', "they belong to the prediction"),
        ('{"id": 1, "y_true": 1, "lower": 1, "upper": 2}', "they belong to the prediction"),
        ('{"measure": "latency", "value": 1, "y_true": 1}', "lines of their own"),
        ('{"measure": "loss:brier", "value": 1}', "say loss beside y_true and y_pred"),
        ('{"y_true": 1, "y_pred": 2, "segment": "\\ud800"}', "segment: the character U+D800"),
        ('{"y_true": NaN, "y_pred": 2, "segment": "\\ud800"}', "segment: the character U+D800"),
        ('{"y_true": 1, "y_pred": 2, "model": "\\u001b[2J"}', "model: the character U+001B"),
        ('{"y_true": 1, "y_pred": 2, "model": ""}', "model: got an empty name"),
        ('{"id": "\\udcff", "y_pred": 2}', "the character U+DCFF"),
        ('{"y_true": 1, "y_pred": 2, "ts": 5}', "1 digit"),
        ("x" * 70_000, "wanted at most 65536"),
    ],
)
def test_a_bad_line_is_told_exactly(line: str, told: str) -> None:
    parsed = parse(line.encode())
    assert parsed.line is None
    assert told in parsed.wrong


@pytest.mark.parametrize(
    "line",
    [
        '{"y_true": 1, "y_pred": 2, "n": 41}',
        '{"y_true": NaN, "y_pred": 2, "n": 41}',
        '{"y_true": "x", "n": 41}',
        '{"y_true": 1, "n" : 41}',
        '{"y_true": 1, "n": 41, "colour": 2}',
        'not JSON at all, but "n": 41',
    ],
)
def test_a_line_has_its_number_good_or_bad(line: str) -> None:
    assert parse(line.encode()).n == 41


def test_a_bad_cell_is_refused_by_name() -> None:
    parsed = parse(json.dumps(CELL | {"window": [1, 60]}).encode())
    assert parsed.refused == (3, 2)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(
                        ["y_true", "y_pred", "id", "ts", "session", "producer", "state"]
                    ),
                    inner,
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_whatever_comes_is_understood_or_told(line: bytes) -> None:
    parsed = parse(line)
    assert (parsed.line is None) == bool(parsed.wrong)
