"""What a question is about: groups, cells, a span of time; parsed once, for everybody who asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgemse import times
from edgemse.errors import SettingsError
from edgemse.stats.measures import LOSS_PREFIX, follow_loss

__all__ = ["BY_MAX", "COMMON", "SHORTHANDS", "Asked", "Option", "iso_time", "text_of"]

BY_MAX = 6
SHORTHANDS = ("device", "model", "version", "output", "segment", "measure")
"""Each is `where NAME=VALUE`, and a column of every cell."""
FILE_BYTES_MAX = 1_000_000
COMMON = ("by", "where", "since", "until")


@dataclass(frozen=True, slots=True)
class Option:
    """A parameter of one question: its name (with `_`), one line of help and how it is read."""

    name: str
    help: str
    parse: Callable[[str], Any]
    """Returns a value of JSON, or raises SettingsError; `str` of the value parses to it again."""
    default: Any = None
    metavar: str = "TEXT"
    many: bool = False
    """It may be repeated: what is asked has a tuple of values."""
    file: bool = False
    """The command line, and a Path, name a file whose text is the value; a URL has the text."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Group columns, the values that columns or attributes must have, and a span of windows.

    Windows start in [since, until), whole seconds since 1970-01-01 UTC; None: no bound. `where`
    always names the measure: '' is the error. `options` are the question's own, by name.
    """

    by: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=lambda: {"measure": ""})
    since: int | None = None
    until: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(
        cls,
        parameters: Mapping[str, Sequence[str]],
        *,
        now: float,
        by: Sequence[str] | None = (),
        options: Sequence[Option] = (),
    ) -> Asked:
        """Read what a command line or a URL gives.

        Args:
            parameters: each name with its values: `by`, `where` (NAME=VALUE), `since`, `until`,
                a column of SHORTHANDS, or an option's name.
            now: UTC seconds, from which `7d` counts back.
            by: what to group by unless asked; None: the question does not group.
            options: what else the question knows.

        Raises:
            SettingsError: a parameter that the question does not know, one that is given twice, a
                time that is none, or a span that ends before it begins.
        """
        known = {option.name: option for option in options}
        names = [n for n in (*COMMON, *SHORTHANDS, *known) if by is not None or n != "by"]
        for name, values in parameters.items():
            if name not in names:
                raise SettingsError(f"no parameter {name!r}; wanted one of {', '.join(names)}")
            many = name in ("by", "where") or (name in known and known[name].many)
            if not many and len(values) > 1:
                raise SettingsError(f"{name}: given {len(values)} times, wanted once")
        since = _second(parameters, "since", now)
        until = _second(parameters, "until", now)
        if since is not None and until is not None and since >= until:
            raise SettingsError(
                f"since {iso_time(since)}, until {iso_time(until)}: no window starts in between;"
                " wanted a time since that is before until"
            )
        given = {
            name: _value(option, parameters[name]) if parameters.get(name) else option.default
            for name, option in known.items()
        }
        return cls(_by(parameters, by), _where(parameters), since, until, given)

    def parameters(self) -> list[tuple[str, str]]:
        """Return names and values from which `parse` makes the same again, whenever it does."""
        found = [("by", column) for column in self.by]
        found += [("where", f"{name}={value}") for name, value in self.where.items()]
        bounds = {"since": self.since, "until": self.until}
        found += [(name, iso_time(time)) for name, time in bounds.items() if time is not None]
        for name, value in self.options.items():
            several = value if isinstance(value, tuple) else (value,)
            found += [(name, str(each)) for each in several if each is not None]
        return found

    def as_json(self) -> dict[str, Any]:
        """Return what an answer's JSON has under "asked"; times in ISO 8601."""
        return {
            "by": [*self.by],
            "where": {**self.where},
            "since": None if self.since is None else iso_time(self.since),
            "until": None if self.until is None else iso_time(self.until),
            "options": {n: [*v] if isinstance(v, tuple) else v for n, v in self.options.items()},
        }

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Asked:
        """Return the Asked whose `as_json` this is."""

        def seconds(name: str) -> int | None:
            return None if data[name] is None else int(times.instant(data[name]))

        return cls(
            tuple(data["by"]),
            dict(data["where"]),
            seconds("since"),
            seconds("until"),
            {n: tuple(v) if isinstance(v, list) else v for n, v in data["options"].items()},
        )

    def in_words(self) -> str:
        """Return what the cells must be, for people.

        >>> Asked(where={"model": "pump", "measure": ""}, since=0).in_words()
        'model pump, about the error, from 1970-01-01T00:00:00Z'
        """
        parts = [
            "about the error"
            if (name, value) == ("measure", "")
            else f"{name} {value or chr(39) * 2}"
            for name, value in self.where.items()
        ]
        if self.since is not None:
            parts.append(f"from {iso_time(self.since)}")
        if self.until is not None:
            parts.append(f"before {iso_time(self.until)}")
        return ", ".join(parts)


def text_of(path: Path) -> str:
    """Return the text of a file that an option names, or raise SettingsError."""
    try:
        with path.open("rb") as file:
            found = file.read(FILE_BYTES_MAX + 1)
        if len(found) > FILE_BYTES_MAX:
            raise SettingsError(f"{path}: larger than {FILE_BYTES_MAX:,} bytes")
        return found.decode()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8: {error}") from None


def iso_time(seconds: float) -> str:
    """Return seconds since 1970-01-01 UTC in ISO 8601, with Z; below a second in milliseconds.

    >>> iso_time(86_400), iso_time(0.5)
    ('1970-01-02T00:00:00Z', '1970-01-01T00:00:00.500Z')
    """
    precision = "seconds" if seconds == int(seconds) else "milliseconds"
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision)[:-6] + "Z"


def _second(parameters: Mapping[str, Sequence[str]], name: str, now: float) -> int | None:
    """Return the first whole second at or after a time: windows start at whole seconds."""
    if not parameters.get(name):
        return None
    seconds = times.instant(parameters[name][0], now=now)
    if not 0 <= seconds <= times.PLAUSIBLE_SECONDS[1]:
        raise SettingsError(f"{name} {parameters[name][0]!r}: wanted a time from 1970 to 2242")
    return math.ceil(seconds)


def _value(option: Option, given: Sequence[str]) -> Any:
    return tuple(map(option.parse, given)) if option.many else option.parse(given[0])


def _by(parameters: Mapping[str, Sequence[str]], default: Sequence[str] | None) -> tuple[str, ...]:
    by = tuple(parameters.get("by") or default or ())
    if len(by) > BY_MAX or len(set(by)) < len(by):
        raise SettingsError(f"grouping by {', '.join(by)}: wanted up to {BY_MAX}, each once")
    return by


def _where(parameters: Mapping[str, Sequence[str]]) -> dict[str, str]:
    where = {name: parameters[name][0] for name in SHORTHANDS if parameters.get(name)}
    for text in parameters.get("where", ()):
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SettingsError(f"where {text!r:.80}: wanted NAME=VALUE, such as site=north")
        if name in where:
            raise SettingsError(f"{name}: asked to be {where[name]!r} and {value!r}; wanted once")
        where[name] = value
    return {**where, "measure": _measure(where.get("measure", ""))}


def _measure(name: str) -> str:
    """A loss as its measure spells it; any other name, or a loss of a later version, as it is."""
    if not name.startswith(LOSS_PREFIX):
        return name
    try:
        return follow_loss(name).measure
    except ValueError:
        return name
