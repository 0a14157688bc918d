"""Topics: names that MQTT gives a meaning are escaped, and come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemse.errors import SettingsError
from edgemse.topics import Topics, checked_device, device_in, escape, unescape


@given(st.text())
def test_a_name_survives_a_topic(name: str) -> None:
    level = escape(name)
    assert unescape(level) == name
    assert not set("/+#\0$") & set(level)


def test_a_topic_says_whose_it_is() -> None:
    assert Topics().report("hall 3/a") == "edgemse/v1/hall 3%2Fa/report"
    assert device_in("hall 3%2Fa") == "hall 3/a"
    with pytest.raises(SettingsError, match="device name 'collector'"):
        device_in("collector")


@pytest.mark.parametrize("level", ["%67ood", "a%2fb", "%FF", "%", "%2"])
def test_a_name_in_another_spelling_is_nobodys(level: str) -> None:
    with pytest.raises(SettingsError, match="another spelling is nobody's"):
        device_in(level)


def test_a_series_of_the_fleet_has_a_topic_whatever_its_names() -> None:
    topic = Topics().fleet("pump/a", "2", "", "", "loss:huber(delta=1)")
    assert topic == "edgemse/v1/fleet/pump%2Fa/2/%/%/loss:huber(delta=1)"


def test_no_two_kinds_of_message_share_a_topic() -> None:
    topics = Topics()
    of_a_device = (topics.report, topics.ack, topics.presence, topics.label, topics.config)
    names = [kind("d") for kind in (*of_a_device, topics.label_ack, topics.group_config)]
    names += [topics.collector("d"), topics.alert("d"), topics.fleet("d", "", "", "", "")]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("prefix", ["", "a/", "/a", "a/+", "#"])
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="topic prefix"):
        Topics(prefix)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "collector",
        "fleet",
        "alert",
        "group",
        "x" * 257,
        "a\0b",
        "a\x1b[2J",
        "\u202ea",
        *"\0\a\ud800",
    ],
)
def test_a_device_cannot_be_called_that(name: str) -> None:
    with pytest.raises(SettingsError, match="device name"):
        checked_device(name)
