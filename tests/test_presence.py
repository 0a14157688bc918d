"""Births and last wills: round trips, what a stranger may send, and which of them counts."""

from __future__ import annotations

import pytest

from edgemse.errors import WireError
from edgemse.presence import (
    Attribute,
    Presence,
    counts,
    decode_presence,
    encode_presence,
    new_run,
)

BIRTH = Presence(
    True, "edgemse 0.1.0", "00ff", attributes={"site": Attribute("north", 1_767_225_600)}
)


def test_a_presence_comes_back_as_it_went() -> None:
    assert decode_presence(encode_presence(BIRTH)) == BIRTH
    collector = Presence(True, "edgemse 0.1.0", "00ff", store="a1", spread_seconds=50.0)
    assert decode_presence(encode_presence(collector)) == collector


def test_a_bare_attribute_does_not_know_since_when() -> None:
    data = b'{"online": true, "software": "x", "run": "1", "attributes": {"site": "north"}}'
    assert decode_presence(data).attributes == {"site": Attribute("north", None)}


def test_keys_of_a_later_version_are_ignored() -> None:
    data = b'{"online": true, "software": "x", "run": "1", "mood": "good"}'
    assert decode_presence(data) == Presence(True, "x", "1")


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b'{"online": 1}', b'{"online": true, "software": "x"}', b"\xff"]
)
def test_junk_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(WireError, match="not a presence"):
        decode_presence(data)


def test_the_will_of_an_earlier_run_does_not_count() -> None:
    will = Presence(False, "edgemse 0.1.0", "00ff")
    assert counts(None, will)
    assert counts("00ff", will)
    assert not counts("ee", will)
    assert counts("ee", BIRTH)


def test_runs_are_drawn_apart() -> None:
    assert len({new_run() for _ in range(100)}) == 100
