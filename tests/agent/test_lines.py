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
from edgemse.errors import LineError

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
            '{"y_true": 1, "y_pred": 2, "weight": 3, "ts": 10, "model": "m", "segment": "s"}',
            SampleLine(("m", None, None, "s"), 1.0, 2.0, 3.0, 10.0),
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
    ],
)
def test_a_line_is_understood(line: str, message: object) -> None:
    assert parse(line.encode()) == message


def test_python_s_nan_is_taken() -> None:
    line = parse(b'{"y_true": NaN, "y_pred": -Infinity}')
    assert isinstance(line, SampleLine)
    assert math.isnan(line.y_true)
    assert line.y_pred == -math.inf


def test_a_cell_is_opened_and_checked() -> None:
    cell = parse(json.dumps(CELL).encode())
    assert isinstance(cell, SealedCell)
    assert (cell.identity.sequence, cell.revision, cell.final) == (3, 2, True)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "not JSON"),
        ("[1]", "wanted one object a line"),
        ("{}", "neither y_true and y_pred together"),
        ('{"y_true": 1}', "nor an id"),
        ('{"id": 1}', "neither y_pred nor y_true"),
        ('{"y_true": "1", "y_pred": 2}', "Expected `float"),
        ('{"y_true": 1, "y_pred": 2, "colour": 3}', "colour"),
        ('{"y_true": 1, "y_pred": 2, "weight": 0}', "weight 0.0: wanted a number above 0"),
        ('{"y_true": 1, "y_pred": 2, "weight": NaN}', "wanted a number above 0"),
        ('{"id": 1, "y_true": 1, "weight": 2}', "a label with a weight"),
        ('{"y_true": 1, "y_pred": 2, "ts": "noon"}', "wanted seconds since 1970, or ISO 8601"),
        ('{"y_true": 1, "y_pred": 2, "ts": 1767225600000}', "milliseconds?"),
        ('{"producer": "ab"}', "wanted 32 hexadecimal digits"),
        ('{"request": "stop"}', "Invalid enum value 'stop'"),
        (json.dumps(CELL | {"state": "!"}), "cell 3"),
        (json.dumps(CELL | {"state": "AAAA"}), "cell 3"),
        (json.dumps(CELL | {"window": [1, 60]}), "window [1, +60)"),
        ("x" * 70_000, "wanted at most 65536"),
    ],
)
def test_a_bad_line_is_told_exactly(line: str, told: str) -> None:
    with pytest.raises(LineError) as caught:
        parse(line.encode())
    assert told in str(caught.value)


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
def test_whatever_comes_is_a_message_or_a_typed_error(line: bytes) -> None:
    try:
        parse(line)
    except LineError as error:
        assert str(error)
