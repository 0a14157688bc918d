"""[[mqtt]]: what a message on a local topic means, as it stands in agent.toml."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from edgemse.errors import SettingsError
from edgemse.measures import check_measure
from edgemse.names import wrong_with
from edgemse.settings import between, one_of
from edgemse.stats.measures import follow_loss
from edgemse.times import UNITS
from edgemse_agent.intake.filters import TopicFilter
from edgemse_agent.intake.paths import JsonPath

__all__ = ["NAMES", "NUMBERS", "MqttRule", "check_joins", "parts_of"]

NUMBERS = ("y_true", "y_pred", "value", "lower", "upper", "latency", "weight")
"""Keys that hold the path of a number."""
SCALED = frozenset({"y_true", "y_pred", "value", "lower", "upper"})
"""Those that are in the unit that scale and offset change."""
NAMES = ("model", "version", "output", "segment", "measure", "id", "join")
"""Keys that hold a text in which {piece} and {.path} are filled in."""
BESIDE = ("lower", "upper", "latency", "weight", "features", "loss")
_HOLE = re.compile(r"\{([^{}]*)\}")
_PIECE = re.compile(r"[a-z_][a-z0-9_]*")
WITHIN_SECONDS_MAX = 86_400.0


@dataclass(frozen=True, slots=True)
class MqttRule:
    """One [[mqtt]] table: a topic filter, and what its messages are."""

    topic: str
    y_true: str = ""
    y_pred: str = ""
    value: str = ""
    measure: str = ""
    lower: str = ""
    upper: str = ""
    latency: str = ""
    weight: str = ""
    features: dict[str, str] = field(default_factory=dict)
    loss: str = ""
    id: str = ""
    join: str = ""
    within_seconds: float = field(default=0.0, metadata=between(0, WITHIN_SECONDS_MAX))
    model: str = ""
    version: str = ""
    output: str = ""
    segment: str = ""
    ts: str = ""
    ts_unit: str = field(default="", metadata=one_of("", *UNITS))
    scale: float = field(default=1.0, metadata=between(-1e30, 1e30))
    offset: float = field(default=0.0, metadata=between(-1e30, 1e30))
    words: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = TopicFilter.parse(self.topic)
        pieces = {name for name in where.names if name is not None}
        for key in (*NUMBERS, "ts"):
            if getattr(self, key):
                _named(key, getattr(self, key))
        for name, path in self.features.items():
            _named(f"features.{name}", path)
        for key in NAMES:
            for part in parts_of(getattr(self, key)):
                if isinstance(part, JsonPath):
                    continue
                if wrong_with(part):
                    raise SettingsError(f"{key}: {wrong_with(part)}")
                if part.startswith("{") and part[1:-1] not in pieces:
                    raise SettingsError(
                        f"{key}: got {part}, wanted a {{piece}} of the topic {self.topic!r} or a"
                        " {.path} into the payload"
                    )
        self._check_meaning()

    def _check_meaning(self) -> None:
        """Raise SettingsError unless the keys make one kind of line."""
        pair = bool(self.y_true) + bool(self.y_pred)
        if bool(self.value) == bool(pair):
            raise SettingsError(
                "wanted the path of y_true, of y_pred or of both, or of a value with its measure"
            )
        if bool(self.value) != bool(self.measure):
            raise SettingsError("value and measure: wanted both, a path and a name")
        if pair == 1 and bool(self.id) == bool(self.join):
            alone, other = ("y_true", "y_pred") if self.y_true else ("y_pred", "y_true")
            raise SettingsError(
                f"{alone} without {other}: wanted one of id and join, to find the other by"
            )
        if pair != 1 and (self.id or self.join):
            raise SettingsError("id or join: of no use here, there is nothing to be joined")
        if bool(self.within_seconds) != bool(self.join and self.y_pred):
            raise SettingsError(
                "within_seconds: wanted beside join and y_pred, how far off y_true may be"
            )
        self._check_beside()
        if self.ts_unit and not self.ts:
            raise SettingsError(f"ts_unit {self.ts_unit!r} without ts, the path of a time")

    def _check_beside(self) -> None:
        """Raise SettingsError for what a prediction carries where there is none."""
        taken = {"y_pred": BESIDE, "value": ("weight",), "y_true": ()}
        kind = next(key for key in taken if getattr(self, key))
        wrong = [key for key in BESIDE if getattr(self, key) and key not in taken[kind]]
        if wrong:
            raise SettingsError(f"{wrong[0]}: beside {kind} alone; wanted beside y_pred")
        if bool(self.lower) != bool(self.upper):
            raise SettingsError("lower and upper: wanted both, the ends of an interval")
        try:
            if self.loss:
                follow_loss(self.loss)
            if self.measure and "{" not in self.measure:
                check_measure(self.measure)
        except ValueError as error:
            raise SettingsError(str(error)) from None


def parts_of(text: str) -> list[str | JsonPath]:
    """Return the parts of a name: plain text, `{piece}` as it stands, or the path of {.path}.

    >>> parts_of("room {room}, {.unit}")
    ['room ', '{room}', ', ', JsonPath(text='.unit', steps=('unit',))]
    """
    parts: list[str | JsonPath] = []
    for place, part in enumerate(_HOLE.split(text)):
        if place % 2 == 0:
            if set(part) & set("{}"):
                raise SettingsError(f"name {text!r:.200}: a brace without its other one")
            parts += [part] if part else []
        elif part.startswith("."):
            parts.append(JsonPath.parse(part))
        elif _PIECE.fullmatch(part):
            parts.append(f"{{{part}}}")
        else:
            raise SettingsError(f"name {text!r:.200}: {{{part}}} is neither a piece nor a path")
    return parts


def check_joins(rules: Iterable[MqttRule]) -> None:
    """Raise SettingsError if rules join by time and one of the two sides has no rule at all."""
    joins = [rule for rule in rules if rule.join]
    if joins and (all(r.y_true for r in joins) or all(r.y_pred for r in joins)):
        missing = "y_pred" if joins[0].y_true else "y_true"
        raise SettingsError(
            f"mqtt: join {joins[0].join!r} has no rule with a join for {missing}; wanted both sides"
        )


def _named(key: str, path: str) -> None:
    try:
        JsonPath.parse(path)
    except SettingsError as error:
        raise SettingsError(f"{key}: {error}") from None
