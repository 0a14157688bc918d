"""A message on a local topic to a line, as a client of the socket would have written it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from edgemse.errors import LineError, SettingsError
from edgemse.names import wrong_with
from edgemse.times import seconds_of
from edgemse_agent.intake.filters import TopicFilter
from edgemse_agent.intake.paths import ABSENT, TWICE, JsonPath, object_of
from edgemse_agent.intake.rules import NAMES, NUMBERS, SCALED, MqttRule, parts_of
from edgemse_agent.lines import (
    LINE_BYTES_MAX,
    LabelLine,
    PredictionLine,
    SampleLine,
    sample_of,
)

__all__ = ["Mapped", "Mapping"]

NO_VALUE = frozenset({"", "unavailable", "unknown", "none", "null", "nan", "-"})
"""What Home Assistant, ESPHome and others write where there is no number, in small letters."""
KEYS_SHOWN_MAX = 20


class Mapped(NamedTuple):
    """What a rule made of a message: a line, or why there is none.

    `absent` says that the message has no value (a missing key, null, "unavailable"), which is no
    fault, `wrong` that it is at fault. `join` is what both sides of a join by time have in common.
    """

    rule: int
    """Its place in agent.toml, from 1."""
    line: dict[str, Any] | None = None
    said: SampleLine | PredictionLine | LabelLine | None = None
    """The line, read; a side of a join has no id of its own yet."""
    absent: str = ""
    wrong: str = ""
    join: str = ""
    missing: bool = False
    """Whether it is absent because there is no such key: a path may be misspelt."""

    def to_json(self) -> dict[str, object]:
        """Return the rule's number, and the line or why there is none."""
        said = {"line": self.line, "join": self.join, "absent": self.absent, "wrong": self.wrong}
        return {"rule": self.rule} | {key: value for key, value in said.items() if value}


class _NoValueError(Exception):
    def __init__(self, why: str, *, missing: bool = False) -> None:
        super().__init__(why)
        self.missing = missing


class _Rule:
    """A rule with its paths read."""

    def __init__(self, number: int, rule: MqttRule) -> None:
        self.number, self.rule = number, rule
        self.filter = TopicFilter.parse(rule.topic)
        self._numbers = [(k, JsonPath.parse(p)) for k in NUMBERS if (p := getattr(rule, k))]
        self._features = [(name, JsonPath.parse(path)) for name, path in rule.features.items()]
        self._names = [(key, parts) for key in NAMES if (parts := parts_of(getattr(rule, key)))]
        self._ts = JsonPath.parse(rule.ts) if rule.ts else None

    def apply(self, pieces: dict[str, str], document: object) -> Mapped:
        try:
            line: dict[str, Any] = {}
            for key, path in self._numbers:
                line[key] = self._number(key, path, document)
            if self._features:
                found = {n: self._number(f"features.{n}", p, document) for n, p in self._features}
                line["features"] = found
            for key, parts in self._names:
                line[key] = _filled(key, parts, pieces, document)
                if not line[key] and key in ("id", "join"):
                    raise LineError(f"{key}: got an empty text, which would join all with all")
            if self.rule.loss:
                line["loss"] = self.rule.loss
            if self._ts is not None:
                line["ts"] = self._time(self._ts, document)
            join = line.pop("join", "")
            if wrong_with(join):
                raise LineError(f"join: {wrong_with(join)}")
            said = sample_of(line | {"id": "join"} if join else line)
        except _NoValueError as none:
            return Mapped(self.number, absent=str(none), missing=none.missing)
        except LineError as error:
            return Mapped(self.number, wrong=str(error))
        return Mapped(self.number, line, said, join=join)

    def _number(self, key: str, path: JsonPath, document: object) -> float:
        """Return the number there, in the unit that is counted."""
        found = _found(key, path, document)
        if isinstance(found, str | bool):
            text = str(found).lower() if isinstance(found, bool) else found.strip()
            if text in self.rule.words:
                return self.rule.words[text]
            if isinstance(found, str) and text.lower() in NO_VALUE:
                raise _NoValueError(f"{key}: {text!r}")
            found = text
        try:
            number = _float(found)
        except OverflowError:
            raise LineError(f"{key}: a number of too many digits at {path.text}") from None
        except ValueError:
            raise LineError(
                f"{key}: got {_kind(found)} at {path.text}, wanted a number, or a text in words"
            ) from None
        return number * self.rule.scale + self.rule.offset if key in SCALED else number

    def _time(self, path: JsonPath, document: object) -> float:
        found = _found("ts", path, document)
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise LineError(f"ts: got {_kind(found)} at {path.text}, wanted a time")
        try:
            return seconds_of(found, unit=self.rule.ts_unit or None)
        except SettingsError as error:
            raise LineError(f"ts: {error}") from None


class Mapping:
    """All rules of an agent.

    >>> mapping = Mapping([MqttRule("z/{room}", value=".t", measure="t", segment="{room}")])
    >>> mapping.apply("z/hall", b'{"t": "21.5"}')[0].line
    {'value': 21.5, 'segment': 'hall', 'measure': 't'}
    """

    def __init__(self, rules: Iterable[MqttRule]) -> None:
        self._rules = [_Rule(number, rule) for number, rule in enumerate(rules, 1)]

    @property
    def filters(self) -> list[TopicFilter]:
        """The rules' topic filters, in their order."""
        return [each.filter for each in self._rules]

    def rule(self, number: int) -> MqttRule:
        """Return the rule of that number, from 1."""
        return self._rules[number - 1].rule

    def apply(self, topic: str, payload: bytes) -> list[Mapped]:
        """Return what each rule whose filter matches makes of the message, in the rules' order."""
        hits = [(each, p) for each in self._rules if (p := each.filter.match(topic)) is not None]
        if not hits:
            return []
        try:
            document = _document(payload)
        except LineError as error:
            return [Mapped(each.number, wrong=str(error)) for each, _ in hits]
        return [each.apply(pieces, document) for each, pieces in hits]


def _document(payload: bytes) -> object:
    """Return the payload's JSON, or its text where it is none: ESPHome writes 21.5, or online."""
    if len(payload) > LINE_BYTES_MAX:
        raise LineError(f"{len(payload)} bytes; wanted at most {LINE_BYTES_MAX}")
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise LineError(f"byte {error.start} is not UTF-8; wanted JSON or a number") from None
    if text.strip() == "NaN":  # as JavaScript writes it; Python's JSON takes it for a number
        return text.strip()
    try:
        return json.loads(text, object_pairs_hook=object_of)
    except (ValueError, RecursionError) as error:
        if text.lstrip()[:1] in ("{", "["):
            raise LineError(f"not JSON: {error}") from None
        return text.strip()


def _found(key: str, path: JsonPath, document: object) -> object:
    found = path.find(document)
    if found is TWICE:
        raise LineError(f"{key}: a key of {path.text} stands twice; wanted each once")
    if found is ABSENT and isinstance(document, str) and document.lower() in NO_VALUE:
        raise _NoValueError(f"{key}: {document!r}")  # instead of an object
    if found is ABSENT:
        keys = list(document)[:KEYS_SHOWN_MAX] if isinstance(document, dict) else None
        has = f"the keys {', '.join(keys)}" if keys else _kind(document)
        raise _NoValueError(f"{key}: nothing at {path.text}; the payload has {has}", missing=True)
    if found is None:
        raise _NoValueError(f"{key}: null")
    return found


def _float(found: object) -> float:
    """Return the number, or raise ValueError: 1_000 is none, though Python reads it."""
    if not isinstance(found, str | int | float) or (isinstance(found, str) and "_" in found):
        raise ValueError
    return float(found)


def _filled(key: str, parts: list[str | JsonPath], pieces: dict[str, str], document: object) -> str:
    filled = []
    for part in parts:
        if isinstance(part, JsonPath):
            found = _found(key, part, document)
            if isinstance(found, bool | dict | list):
                raise LineError(f"{key}: got {_kind(found)} at {part.text}, wanted text")
            filled.append(str(found))
        else:
            filled.append(pieces[part[1:-1]] if part.startswith("{") else part)
    return "".join(filled)


def _kind(found: object) -> str:
    kinds = {dict: "an object", list: "a list", bool: "true or false"}
    return kinds.get(type(found), "nothing" if found is None else f"{found!r:.80}")
