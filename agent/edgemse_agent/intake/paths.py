"""Where in a JSON document a value stands: `.temperature`, `.sensors[0].t`, `.` for all of it."""

from __future__ import annotations

import re
from typing import NamedTuple

from edgemse.errors import SettingsError

__all__ = ["ABSENT", "TWICE", "JsonPath", "object_of"]

_STEP = r"\.[^.\[\]{}]+|\.?\[[0-9]{1,6}\]"
_PATH = re.compile(rf"\.|(?:{_STEP})+")
_STEPS = re.compile(_STEP)


class _Absent:
    """What stands where there is nothing; JSON's null is something."""

    def __repr__(self) -> str:
        return "nothing"


class _Twice:
    """What a key leads to that stands twice in its object."""

    def __repr__(self) -> str:
        return "a key that stands twice"


ABSENT = _Absent()
TWICE = _Twice()


def object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the JSON object of these keys and values; a key that stands twice leads to TWICE.

    >>> object_of([("a", 1), ("b", 2), ("a", 1)])
    {'a': a key that stands twice, 'b': 2}
    """
    made: dict[str, object] = {}
    for key, value in pairs:
        made[key] = TWICE if key in made else value
    return made


class JsonPath(NamedTuple):
    """Keys and places to go through, from the document down."""

    text: str
    steps: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        """Return the path, or raise SettingsError.

        Keys follow a dot and hold anything but . [ ] { }; a whole number in brackets is a place in
        a list, from 0.

        >>> JsonPath.parse(".sensors[0].t").steps, JsonPath.parse(".").steps
        (('sensors', 0, 't'), ())
        """
        if _PATH.fullmatch(text) is None:
            hint = f" .{text}?" if _PATH.fullmatch(f".{text}") else ""
            raise SettingsError(
                f"path {text!r:.200}: wanted dots and [n], as in .sensors[0].t, or . alone for the"
                f" whole payload;{hint or ' no keys with brackets or braces'}"
            )
        steps = [] if text == "." else [step.lstrip(".") for step in _STEPS.findall(text)]
        return cls(text, tuple(int(s[1:-1]) if s.startswith("[") else s for s in steps))

    def find(self, document: object) -> object:
        """Return what stands there, ABSENT, or TWICE if a key on the way leads to that."""
        for step in self.steps:
            if isinstance(step, int):
                inside = isinstance(document, list) and step < len(document)
            else:
                inside = isinstance(document, dict) and step in document
            if not inside:
                return ABSENT
            document = document[step]  # type: ignore[index]  # it is one of the two
            if document is TWICE:
                break
        return document
