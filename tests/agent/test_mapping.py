"""Local topics to lines: filters, paths, and payloads as Zigbee2MQTT, Tasmota and others write."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from edgemse_agent.intake.filters import TopicFilter, cover
from edgemse_agent.intake.mapping import Mapped, Mapping
from edgemse_agent.intake.paths import ABSENT, JsonPath
from edgemse_agent.intake.rules import MqttRule
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine
from edgemse_agent.settings import read
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgemse.errors import SettingsError

ROOM = {"topic": "home/{room}/t", "segment": "{room}"}
PAIR = {"topic": "model/out", "y_true": ".true", "y_pred": ".pred"}


def mapped(rule: dict[str, Any], payload: object, topic: str = "") -> Mapped:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    (found,) = Mapping([MqttRule(**rule)]).apply(topic or rule["topic"], data)
    return found


@pytest.mark.parametrize(
    ("text", "topic", "pieces"),
    [
        ("a/b", "a/b", {}),
        ("a/{x}/c", "a/b/c", {"x": "b"}),
        ("+/{x}", "a/", {"x": ""}),
        ("a/#", "a", {}),
        ("a/#", "a/b/c", {}),
        ("{x}/#", "a/b", {"x": "a"}),
        ("#", "a/b", {}),
        ("#", "$SYS/x", None),
        ("{x}/y", "$SYS/y", None),
        ("$SYS/{x}", "$SYS/y", {"x": "y"}),
        ("a/+", "a", None),
        ("a/+", "a/b/c", None),
        ("a", "b", None),
    ],
)
def test_a_filter_names_the_pieces_of_a_topic(
    text: str, topic: str, pieces: dict[str, str] | None
) -> None:
    assert TopicFilter.parse(text).match(topic) == pieces


@pytest.mark.parametrize(
    "text", ["", "a/#/b", "a#", "a+/b", "{x}/{x}", "{X}", "a{x}", "$share/g/a"]
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="topic"):
        TopicFilter.parse(text)


LEVELS = st.lists(st.sampled_from(["a", "b", "+", "$s"]), min_size=1, max_size=3)
FILTERS = st.builds(
    lambda levels, rest: TopicFilter.parse("/".join([*levels, "#"] if rest else levels)),
    LEVELS,
    st.booleans(),
)
TOPICS = st.lists(st.sampled_from(["a", "b", "$s"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=1_000)
@example([TopicFilter.parse("+/a"), TopicFilter.parse("$s/a")], "$s/a")
@given(st.lists(FILTERS, max_size=5), TOPICS)
def test_every_topic_is_subscribed_to_once(filters: list[TopicFilter], topic: str) -> None:
    chosen = [TopicFilter.parse(text) for text in cover(filters)]
    hits = [each for each in chosen if each.match(topic) is not None]
    assert len(hits) <= 1
    if any(each.match(topic) is not None for each in filters):
        assert len(hits) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (".", {"a": [{"b": 1}, 2], "c d": None}),
        (".a", [{"b": 1}, 2]),
        (".a[0].b", 1),
        (".a.[1]", 2),
        (".c d", None),
        (".a[2]", ABSENT),
        (".a.b", ABSENT),
        (".x.y", ABSENT),
        ("[0]", ABSENT),
    ],
)
def test_a_path_finds_what_stands_there(text: str, found: object) -> None:
    assert JsonPath.parse(text).find({"a": [{"b": 1}, 2], "c d": None}) == found


@pytest.mark.parametrize("text", ["", "a", "..", ".a.", ".a[b]", ".a[-1]", ".{x}", ".a[0"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="path"):
        JsonPath.parse(text)


def test_the_word_without_its_dot_is_hinted_at() -> None:
    with pytest.raises(SettingsError, match=r"\.temperature\?"):
        JsonPath.parse("temperature")


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ({"t": 21.5}, 21.5),
        ({"t": "21.5"}, 21.5),
        ({"t": " 21 "}, 21.0),
        ({"t": "ON"}, 1.0),
        ({"t": True}, 5.0),
    ],
)
def test_numbers_are_read_as_they_are_written(payload: object, value: float) -> None:
    rule = {"topic": "z", "value": ".t", "measure": "x", "words": {"ON": 1.0, "true": 5.0}}
    assert mapped(rule, payload).line == {"value": value, "measure": "x"}


@pytest.mark.parametrize("payload", [b"21.5", b' "21.5"', b"21.5\n"])
def test_a_payload_may_be_a_plain_number(payload: bytes) -> None:
    found = mapped({"topic": "esphome/t", "value": ".", "measure": "x"}, payload)
    assert found.line == {"value": 21.5, "measure": "x"}


def test_a_key_that_stands_twice_costs_only_what_leads_through_it() -> None:
    payload = b'{"u": {"t": 1}, "t": 2, "u": {"t": 3}}'
    assert mapped({"topic": "z", "value": ".t", "measure": "x"}, payload).line is not None
    found = mapped({"topic": "z", "value": ".u.t", "measure": "x"}, payload)
    assert found.wrong == "value: a key of .u.t stands twice; wanted each once"


@pytest.mark.parametrize(
    "payload",
    [
        b"unavailable",
        b'"unknown"',
        b"",
        b'{"t": null}',
        b'{"t": "Unavailable"}',
        b'{"u": 1}',
        b"nan",
        b"NaN",
    ],
)
def test_no_value_is_no_fault(payload: bytes) -> None:
    found = mapped({"topic": "ha/t", "value": ".t", "measure": "x"}, payload)
    assert found.line is found.said is None
    assert found.absent
    assert not found.wrong
    assert found.missing == (payload == b'{"u": 1}')


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b'{"t": "21,5"}', "got '21,5' at .t, wanted a number"),
        (b'{"t": "1_000"}', "got '1_000'"),
        (b'{"t": true}', "got 'true'"),
        (b'{"t": {"u": 1}}', "got an object"),
        (b'{"t": [1]}', "got a list"),
        (b'{"t": 1', "not JSON"),
        (b"\xff", "not UTF-8"),
        (b'{"t": 1' + b"0" * 400 + b"}", "too many digits"),
        (b'"' + b"x" * 70_000 + b'"', "wanted at most 65536"),
        (b"[" * 30_000, "not JSON"),
        (b'{"t": 1, "t": 1}', "a key of .t stands twice"),
        (b'{"t": 1, "\\u0074": 2, "t": 3}', "a key of .t stands twice"),
    ],
)
def test_what_cannot_be_read_is_told(payload: bytes, told: str) -> None:
    found = mapped({"topic": "z", "value": ".t", "measure": "x"}, payload)
    assert told in found.wrong
    assert found.line is None


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_payload_does_more_than_be_refused(payload: bytes) -> None:
    rule = MqttRule("z", y_true=".a[0]", y_pred=".b", ts=".c", segment="{.d}", features={"f": ".e"})
    (found,) = Mapping([rule]).apply("z", payload)
    assert bool(found.line) + bool(found.absent) + bool(found.wrong) == 1


def test_units_change_what_is_measured_and_nothing_else() -> None:
    rule = PAIR | {"scale": 5 / 9, "offset": -160 / 9, "latency": ".ms", "weight": ".w"}
    line = mapped(rule, {"true": 212, "pred": 32, "ms": 3, "w": 2}).line
    assert line is not None
    assert line["y_true"] == pytest.approx(100, abs=1e-12)
    assert line["y_pred"] == pytest.approx(0, abs=1e-12)
    assert (line["latency"], line["weight"]) == (3, 2)


def test_names_are_made_of_topic_and_payload() -> None:
    rule = PAIR | {
        "topic": "site/{hall}/{machine}/out",
        "model": "{.meta.model}",
        "version": "{.meta.version}",
        "segment": "hall {hall}",
        "output": "{machine}",
        "loss": "huber(delta=1)",
    }
    payload = {"true": 1, "pred": 2, "meta": {"model": "m", "version": 3}}
    found = mapped(rule, payload, "site/7/press/out")
    where = ("m", "3", "press", "hall 7")
    assert found.said == SampleLine(where, 1.0, 2.0, 1.0, None, "", "loss:huber(delta=1)")


@pytest.mark.parametrize(("unit", "ts"), [("ms", 1_767_225_600_000), ("", "2026-01-01T00:00:00Z")])
def test_a_time_has_its_unit(unit: str, ts: object) -> None:
    found = mapped(PAIR | {"ts": ".ts", "ts_unit": unit}, {"true": 1, "pred": 2, "ts": ts})
    assert found.said is not None
    assert found.said.time == 1_767_225_600.0


def test_halves_are_joined_by_id() -> None:
    prediction = {"topic": "p", "y_pred": ".y", "id": "{.id}", "lower": ".lo", "upper": ".hi"}
    found = mapped(prediction, {"y": 2, "id": 7, "lo": 1, "hi": 3})
    none = (None, None, None, None)
    assert found.said == PredictionLine("7", none, 2.0, 1.0, None, "", (1.0, 3.0))
    label = {"topic": "l/{id}", "y_true": ".", "id": "{id}"}
    assert mapped(label, 2.5, "l/7").said == LabelLine("7", none, 2.5, None)


@pytest.mark.parametrize("way", [{"id": "{x}"}, {"join": "{x}"}])
def test_nothing_is_joined_by_nothing(way: dict[str, str]) -> None:
    found = mapped({"topic": "a/{x}", "y_true": "."} | way, 1, "a/")
    assert "got an empty text" in found.wrong


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (PAIR | {"segment": "{hall}"}, "wanted a {piece} of the topic"),
        (PAIR | {"segment": "a{b"}, "a brace without"),
        (PAIR | {"segment": "{a b}"}, "neither a piece nor a path"),
        (PAIR | {"model": "a\nb"}, "U+000A"),
        (PAIR | {"y_true": "true"}, "y_true: path 'true'"),
        (PAIR | {"id": "{.id}"}, "nothing to be joined"),
        (PAIR | {"loss": "hubris"}, "names no loss"),
        (PAIR | {"lower": ".lo"}, "wanted both"),
        (PAIR | {"ts_unit": "ms"}, "without ts"),
        (PAIR | {"value": ".v", "measure": "m"}, "y_true, of y_pred or of both"),
        (PAIR | {"features": {"f": "x"}}, "features.f: path"),
        ({"topic": "a"}, "y_true, of y_pred or of both"),
        ({"topic": "a", "value": ".v"}, "wanted both"),
        ({"topic": "a", "value": ".v", "measure": "loss:brier"}, "say loss beside"),
        ({"topic": "a", "value": ".v", "measure": "m", "latency": ".l"}, "beside value alone"),
        ({"topic": "a", "y_true": ".v"}, "wanted one of id and join"),
        ({"topic": "a", "y_true": ".v", "id": "1", "weight": ".w"}, "beside y_true alone"),
        ({"topic": "a", "y_true": ".v", "id": "1", "join": "j"}, "wanted one of id and join"),
        ({"topic": "a", "y_true": ".v", "join": "j", "within_seconds": 5.0}, "within_seconds"),
        ({"topic": "a", "y_pred": ".v", "join": "j"}, "within_seconds"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as error:
        MqttRule(**wrong)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[mqtt]]\ntopic = "a"\ny_true = "."\njoin = "j"', "no rule with a join for y_pred"),
        ('[[mqtt]]\ntopic = "a"\ncolour = 1', "mqtt: number 1: unknown key 'colour'"),
        ('[[mqtt]]\ntopic = "a"', "mqtt: number 1: wanted the path"),
        ('[mqtt_broker]\naddress = "b:1"', "without any [[mqtt]] rule"),
        (
            '[[mqtt]]\ntopic = "a"\nvalue = "."\nmeasure = "m"\n[mqtt_broker]\nprefix = "x"',
            "with a prefix",
        ),
        (
            '[[mqtt]]\ntopic = "a"\ny_pred = "."\njoin = "j"\nwithin_seconds = 7200\n'
            '[[mqtt]]\ntopic = "b"\ny_true = "."\njoin = "j"',
            "age_max_seconds, 3600",
        ),
    ],
)
def test_the_file_is_checked_as_a_whole(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "agent.toml").write_text(f'device = "pi"\n{text}\n')
    with pytest.raises(SettingsError) as error:
        read(tmp_path / "agent.toml")
    assert told in str(error.value)


PAGE = (Path(__file__).parent.parent.parent / "docs" / "local-topics.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```\n.*?```console\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("rules", "session"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_the_page_are_what_comes_out(
    tmp_path: Path, rules: str, session: str
) -> None:
    (tmp_path / "agent.toml").write_text(f'device = "pi"\n{rules}')
    mapping = Mapping(read(tmp_path / "agent.toml").mqtt)
    said = session.replace("\\\n", " ").splitlines()
    assert len(said) >= 2
    for command, answer in zip(said[::2], said[1::2], strict=True):
        topic, payload = shlex.split(command)[-2:]
        (found,) = mapping.apply(topic, payload.encode())
        assert json.dumps(found.to_json()) == answer


def test_every_key_of_a_rule_is_explained_on_its_page() -> None:
    table = PAGE[PAGE.index("## The keys of a rule") : PAGE.index("A **path**")]
    assert [f.name for f in fields(MqttRule) if f"`{f.name}`" not in table] == []
