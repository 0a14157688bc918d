"""A key that stands twice in one JSON object: parsers keep the last one, and say nothing."""

from __future__ import annotations

import json
import re

__all__ = ["repeated"]

_TEXTS = re.compile(rb'"([^"\\]*)"([ \t\r\n]*:)?')


def repeated(data: bytes) -> str:
    """Return a key that an object of the JSON has twice, or "" if none has; it must be JSON.

    >>> repeated(b'{"y_true": 1, "y_true": 2}'), repeated(b'{"a": {"a": 1}, "b": "a"}')
    ('y_true', '')
    """
    keys = [text for text, colon in _TEXTS.findall(data) if colon]
    if len(keys) == len(set(keys)) and b"\\" not in data:
        return ""
    found: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(data, object_pairs_hook=look)
    return found[0] if found else ""
