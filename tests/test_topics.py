"""Topics: names that MQTT gives a meaning are escaped, and come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemse.errors import SettingsError
from edgemse.topics import Topics, checked_device, escape, unescape


@given(st.text())
def test_a_name_survives_a_topic(name: str) -> None:
    level = escape(name)
    assert unescape(level) == name
    assert not set("/+#\0$") & set(level)


def test_a_topic_says_whose_it_is() -> None:
    topics = Topics()
    assert topics.report("hall 3/a") == "edgemse/v1/hall 3%2Fa/report"
    assert topics.name_in(topics.report("hall 3/a"), "report") == "hall 3/a"
    assert topics.name_in(topics.report("d"), "ack") is None
    assert topics.name_in("other/v1/d/report", "report") is None
    assert topics.name_in(topics.collector("state"), "state") is None


@pytest.mark.parametrize("prefix", ["", "a/", "/a", "a/+", "#"])
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="topic prefix"):
        Topics(prefix)


@pytest.mark.parametrize("name", ["", "collector", "fleet", "alert", "x" * 257, "a\0b"])
def test_a_device_cannot_be_called_that(name: str) -> None:
    with pytest.raises(SettingsError, match="device name"):
        checked_device(name)
