"""Which texts are names: of devices, models, versions, outputs, segments, measures and attributes.

Names travel into topics, databases, tables on a terminal and web pages. What would move a cursor,
turn the direction of writing or end a line there is no name anywhere.
"""

from __future__ import annotations

import unicodedata

__all__ = ["NAME_CHARACTERS_MAX", "counted", "shown", "wrong_with"]

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
        if _moves(character):
            return f"the character U+{ord(character):04X}"
    return ""


def shown(text: str) -> str:
    r"""Return a text of others' as a terminal may have it: what could be no name is escaped.

    JSON has the same escapes, so that what stands in its strings stays what it was.

    >>> shown("red\x1b[31m"), shown("hall 3/Müller")
    ('red\\u001b[31m', 'hall 3/Müller')
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{ord(each):04x}" if _moves(each) else each for each in text)


def counted(number: int, noun: str, *, many: str = "") -> str:
    """Return how many there are of what, in words; `many` where the plural is not with an s.

    >>> counted(1, "row"), counted(2000, "row"), counted(0, "entry", many="entries")
    ('1 row', '2,000 rows', '0 entries')
    """
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def _moves(character: str) -> bool:
    return character in _BIDI or unicodedata.category(character) in _CATEGORIES
