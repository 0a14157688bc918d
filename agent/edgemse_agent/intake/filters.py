"""MQTT topic filters whose wildcards may have names, and which of them to subscribe to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from edgemse.errors import SettingsError

__all__ = ["TopicFilter", "cover"]

TOPIC_BYTES_MAX = 65_535
"""MQTT 5.0, 1.5.4: the length of a text is two bytes."""
_PIECE = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


class TopicFilter(NamedTuple):
    """A filter's levels, and the name of each that has one (None: it has none)."""

    levels: tuple[str, ...]
    names: tuple[str | None, ...]

    @classmethod
    def parse(cls, text: str) -> TopicFilter:
        """Return the filter of a text in which a level may be +, {name} or, at its end, #.

        Raises SettingsError.

        >>> TopicFilter.parse("zigbee2mqtt/{room}/climate").match("zigbee2mqtt/kitchen/climate")
        {'room': 'kitchen'}
        """
        levels, names = [], []
        parts = text.split("/")
        for place, level in enumerate(parts, 1):
            piece = _PIECE.fullmatch(level)
            if piece is not None:
                levels.append("+")
                names.append(piece[1])
                continue
            wild = set(level) & set("+#") and level not in ("+", "#")
            if wild or (level == "#" and place < len(parts)) or set(level) & set("{}\0"):
                raise SettingsError(
                    f"topic {text!r:.200}: level {level!r:.80}; wanted a name, + or {{piece}} for"
                    " any name, or # at the end for the rest"
                )
            levels.append(level)
            names.append(None)
        if not text or len(text.encode()) > TOPIC_BYTES_MAX or parts[0] == "$share":
            raise SettingsError(f"topic {text!r:.200}: wanted an MQTT topic filter, not shared")
        known = [name for name in names if name is not None]
        if len(set(known)) < len(known):
            raise SettingsError(f"topic {text!r:.200}: a piece is named twice")
        return cls(tuple(levels), tuple(names))

    def __str__(self) -> str:
        return "/".join(self.levels)

    def match(self, topic: str) -> dict[str, str] | None:
        """Return what the named pieces stand for in a topic, or None if it is another topic."""
        given = topic.split("/")
        rest = self.levels[-1] == "#"
        wanted = self.levels[:-1] if rest else self.levels
        if len(given) < len(wanted) or (len(given) > len(wanted) and not rest):
            return None
        if given[0].startswith("$") and self.levels[0] in ("+", "#"):
            return None  # MQTT 5.0, 4.7.2
        pieces = {}
        for level, got, name in zip(wanted, given, self.names, strict=False):
            if level not in ("+", got):
                return None
            if name is not None:
                pieces[name] = got
        return pieces


def cover(filters: Iterable[TopicFilter]) -> list[str]:
    """Return filters to subscribe to that match all that these do, no two of which overlap.

    A broker may deliver a message once for each subscription that matches it (MQTT 5.0, 3.3.4), and
    twice is one sample too many.

    >>> cover(map(TopicFilter.parse, ["home/+/t", "home/kitchen/+", "home/hall/t", "car/#"]))
    ['home/+/+', 'car/#']
    """
    found: list[tuple[str, ...]] = []
    for each in filters:
        levels = each.levels
        while (other := next((f for f in found if _meet(f, levels)), None)) is not None:
            found.remove(other)
            levels = _widened(other, levels)
        found.append(levels)
    return ["/".join(levels) for levels in found]


def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether some topic matches both: a wildcard at the front matches no $SYS."""
    if one[0] != other[0] and (one[0] + other[0]).strip("+#").startswith("$"):
        return False
    for a, b in zip(one, other, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    longer = max(one, other, key=len)
    shorter = min(len(one), len(other))
    return len(longer) == shorter or (longer[shorter] == "#" and len(longer) == shorter + 1)


def _widened(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Return a filter that matches what either does, of two that meet."""
    levels: list[str] = []
    for a, b in zip(one, other, strict=False):
        if "#" in (a, b):
            return (*levels, "#")
        levels.append(a if a == b else "+")
    return (*levels, *(("#",) if len(one) != len(other) else ()))
