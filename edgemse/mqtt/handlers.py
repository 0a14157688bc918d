"""One table from topic filters to what is done with their messages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from edgemse.logs import Ration

__all__ = ["Handler", "Handlers"]

log = logging.getLogger(__name__)
log.addFilter(Ration())

Handler = Callable[[str, bytes], None]
"""Takes what the filter's wildcards stand for (several levels joined by /, no wildcard: ""), as
it stands in the topic, and the payload. Runs in the connection's thread and must not block."""


class Handlers:
    """Calls, for each message, the one handler whose filter says most about its topic.

    Of two filters that both match, the one whose first difference is a name goes before the one
    that has + there, and + before #. So `a/collector/+` goes before `a/+/report`, whatever the
    order of the table.

    >>> heard = []
    >>> table = Handlers({"a/+/report": lambda who, payload: heard.append((who, payload))})
    >>> table("a/pump-7/report", b"x")
    True
    >>> heard
    [('pump-7', b'x')]
    """

    def __init__(self, table: Mapping[str, Handler]) -> None:
        self.failed = 0
        """Messages whose handler raised: each was dropped, and logged."""
        self.unasked = 0
        """Messages that no filter matches, or whose topic is not UTF-8."""
        levels = [(_unshared(name).split("/"), handler) for name, handler in table.items()]
        self._table = sorted(levels, key=lambda row: [_openness(level) for level in row[0]])

    def __call__(self, topic: str, payload: bytes) -> bool:
        """Hand a message to its handler; False if there is none or it raised."""
        levels = topic.split("/")
        for wanted, handler in self._table:
            rest = _matched(wanted, levels)
            if rest is None:
                continue
            try:
                handler(rest, payload)
            except Exception:
                # The next message may be a good one, and a retained one would come again for ever.
                self.failed += 1
                log.exception("a message of %d bytes on %r was dropped", len(payload), topic[:200])
                return False
            return True
        self.unasked += 1
        return False


def _unshared(name: str) -> str:
    """Return the filter inside a shared subscription: $share/<group>/<filter>."""
    return name.split("/", 2)[2] if name.startswith("$share/") else name


def _openness(level: str) -> int:
    return {"+": 1, "#": 2}.get(level, 0)


def _matched(wanted: list[str], levels: list[str]) -> str | None:
    """Return what the wildcards stand for, or None if the topic is another."""
    if levels[0].startswith("$") and _openness(wanted[0]):
        return None  # MQTT 5.0, 4.7.2: wildcards at the front leave a server's own topics out
    rest: list[str] = []
    for place, level in enumerate(wanted):
        if level == "#":
            return "/".join(rest + levels[place:])
        if place >= len(levels):
            return None
        if level == "+":
            rest.append(levels[place])
        elif level != levels[place]:
            return None
    return "/".join(rest) if len(wanted) == len(levels) else None
