"""Which texts are names: of devices, models, versions, outputs, segments, measures and attributes.

Names travel into topics, databases, tables on a terminal and web pages. What would move a cursor,
turn the direction of writing or end a line there is no name anywhere.
"""

from __future__ import annotations

import unicodedata

__all__ = ["NAME_CHARACTERS_MAX", "wrong_with"]

NAME_CHARACTERS_MAX = 256
_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Controls, lone surrogates, line and paragraph separators."""
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks, embeddings, overrides and isolates of UAX #9, The Unicode Bidirectional Algorithm."""


def wrong_with(name: str) -> str:
    r"""Return why the text cannot be a name, or "" if it can; an empty one can.

    >>> wrong_with("hall 3/Müller"), wrong_with("a" * 257)
    ('', '257 characters, wanted at most 256')
    >>> wrong_with("red\x1b[31m"), wrong_with("\ud800")
    ('the character U+001B', 'the character U+D800')
    """
    if len(name) > NAME_CHARACTERS_MAX:
        return f"{len(name)} characters, wanted at most {NAME_CHARACTERS_MAX}"
    if name.isascii() and name.isprintable():
        return ""
    for character in name:
        if character in _BIDI or unicodedata.category(character) in _CATEGORIES:
            return f"the character U+{ord(character):04X}"
    return ""
