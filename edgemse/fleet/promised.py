"""The file of objectives: TOML to typed settings; what could never raise an alert is refused."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edgemse.errors import SettingsError
from edgemse.fleet.asked import BY_MAX, SHORTHANDS, Asked, Option
from edgemse.fleet.burning import PAGE, PAIRS, TICKET, factor
from edgemse.fleet.costs import OPTION as COST
from edgemse.names import wrong_with
from edgemse.settings import between, load, one_of

__all__ = ["KINDS", "OPTION", "Objective", "Objectives", "objectives_of", "read_objectives"]

KINDS = {
    "share": (("tolerance",), ("snap",)),
    "rmse": (("limit",), ("window_seconds", "samples_min", "per_device")),
    "cost": (("limit", "cost"), ("window_seconds", "samples_min", "per_device")),
    "coverage": (("labels_within_seconds",), ()),
}
"""Each kind with the keys that it must have, and those that it may have."""
OWN = {key for must, may in KINDS.values() for key in (*must, *may)}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What stands in a topic, a label and a file name alike."""
OBJECTIVES_MAX = 100
WIDTHS_SECONDS = (60, 300, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
"""Each divides a day."""
DAY_SECONDS = 86_400


def _named(text: str) -> str | None:
    return "a text of at least one character" if not text.strip() else _said(text)


def _said(text: str) -> str | None:
    wrong = wrong_with(text)
    return f"a text of one line, not one with {wrong}" if wrong else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is owed: a share `target` of what the kind counts is good, over `period_days`."""

    name: str
    kind: str = field(metadata=one_of(*KINDS))
    target: float = field(metadata=between(0.01, 0.999999))
    owner: str = field(metadata={"check": _named})
    period_days: int = field(default=28, metadata=between(7, 366))
    severity: str = field(default=PAGE, metadata=one_of(PAGE, TICKET))
    """`ticket`: nobody is woken, whatever burns."""
    runbook: str = field(default="", metadata={"check": _said})
    by: list[str] = field(default_factory=list)
    burn: list[str] = field(default_factory=lambda: [*PAIRS])
    absent_after_seconds: int = field(default=DAY_SECONDS, metadata=between(300, 366 * DAY_SECONDS))
    """A group without a sample for so long is absent."""
    held_by: str = ""
    """An objective of kind coverage: while it burns or is absent, this one raises nothing."""
    device: str | None = None
    model: str | None = None
    version: str | None = None
    output: str | None = None
    segment: str | None = None
    measure: str = ""
    where: dict[str, str] = field(default_factory=dict)
    tolerance: float | None = field(default=None, metadata=between(1e-60, 1e60))
    """share: good is abs(e) <= tolerance, in the error's unit."""
    snap: bool = False
    """share: take the nearest bound of a bucket, 2^(k/8), at which the count is exact."""
    limit: float | None = field(default=None, metadata=between(1e-60, 1e60))
    """rmse, cost: good is a window whose RMSE, or mean cost of a sample, is at most so much."""
    window_seconds: int = field(default=3_600, metadata=one_of(*WIDTHS_SECONDS))
    """rmse, cost: the width of a window."""
    samples_min: int = field(default=20, metadata=between(1, 1_000_000_000))
    """rmse, cost: a window with fewer samples is not judged."""
    per_device: bool = True
    """rmse, cost: each device has windows of its own; else a group's are of all its devices."""
    cost: str | None = None
    """cost: over=A,under=B."""
    labels_within_seconds: int | None = field(default=None, metadata=between(0, 90 * DAY_SECONDS))
    """coverage: good is a prediction with its label; windows younger than this are not asked."""

    def __post_init__(self) -> None:
        """Refuse what no burn can reach, and keys of another kind. Raises SettingsError."""
        if not NAME.fullmatch(self.name):
            raise SettingsError(
                f"name {self.name!r:.80}: wanted 1 to 64 letters, digits, '_', '.' and '-'"
            )
        if len(self.by) > BY_MAX - 1 or len({*self.by}) < len(self.by):
            raise SettingsError(f"{self.name}: by: wanted up to {BY_MAX - 1} columns, each once")
        if self.kind == "cost" and self.cost is not None:
            COST.parse(self.cost)
        self._check_selection()
        self._check_burn()

    @property
    def budget(self) -> float:
        """The share that may be bad."""
        return 1 - self.target

    @property
    def counted_tolerance(self) -> float:
        """The tolerance that is counted at: the nearest 2^(k/8) if it is to snap."""
        assert self.tolerance is not None
        return 2.0 ** (round(8 * math.log2(self.tolerance)) / 8) if self.snap else self.tolerance

    def selection(self) -> dict[str, str]:
        """Return the columns and attributes that a cell must have, with their values."""
        named = {name: getattr(self, name) for name in SHORTHANDS}
        return {name: value for name, value in named.items() if value is not None} | self.where

    def selected(self, asked: Asked) -> Asked | None:
        """Return what is asked, of this objective alone; None if the two exclude each other."""
        own = self.selection()
        given = {n: v for n, v in asked.where.items() if (n, v) != ("measure", "")}
        if any(own.get(name, value) != value for name, value in given.items()):
            return None
        return replace(asked, by=asked.by or tuple(self.by), where={**own, **given})

    def _check_selection(self) -> None:
        twice = {*self.where} & {name for name in SHORTHANDS if getattr(self, name) is not None}
        if twice:
            raise SettingsError(
                f"{self.name}: {', '.join(sorted(twice))}: given beside where and in it"
            )
        for text in (*self.selection().values(), *self.where, *self.by):
            if wrong_with(text):
                raise SettingsError(f"{self.name}: {text!r:.80}: {wrong_with(text)}; wanted a name")
        if self.kind != "share" and self.measure:
            raise SettingsError(
                f"{self.name}: measure: a {self.kind} is of the error; wanted no measure"
            )

    def _check_burn(self) -> None:
        for name in self.burn:
            if name not in PAIRS:
                raise SettingsError(
                    f"{self.name}: burn: got {name!r:.40}, wanted some of {', '.join(PAIRS)}"
                )
            most = factor(PAIRS[name], self.period_days)
            if most * self.budget >= 1:
                fitting = [
                    f'"{each.name}"'
                    for each in PAIRS.values()
                    if factor(each, self.period_days) * self.budget < 1
                ]
                raise SettingsError(
                    f"{self.name}: burn: {name} raises an alert above {most:g} times the budget;"
                    f" a target of {self.target:g} burns at most {1 / self.budget:.4g} times, so"
                    f" that it never would; say burn = [{', '.join(fitting)}], or a higher target"
                )
        if not self.burn or len({*self.burn}) < len(self.burn):
            raise SettingsError(f"{self.name}: burn: wanted at least one pair, each once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """The file: a table `[[objective]]` for each."""

    objective: list[Objective]

    def __post_init__(self) -> None:
        """Refuse none, too many, and two of one name. Raises SettingsError."""
        names = [each.name for each in self.objective]
        if not 1 <= len(names) <= OBJECTIVES_MAX:
            raise SettingsError(f"{len(names)} objectives; wanted 1 to {OBJECTIVES_MAX}")
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise SettingsError(f"two objectives are called {min(twice)!r}; wanted a name each")
        labels = [each.name for each in self.objective if each.kind == "coverage"]
        for each in self.objective:
            if each.held_by and (each.kind == "coverage" or each.held_by not in labels):
                known = f"; there are {', '.join(labels)}" if labels else ""
                raise SettingsError(
                    f"{each.name}: held_by: got {each.held_by!r:.80}, wanted another objective, of"
                    f" kind coverage{known}"
                )


def objectives_of(text: str, where: str = "objectives") -> tuple[Objective, ...]:
    """Return the objectives of a file's text, TOML or the JSON of the same tables.

    Raises SettingsError that names the key, what was got and what was wanted.
    """
    tables = _tables(text, where)
    found = load(Objectives, tables, where).objective
    for each, table in zip(found, tables["objective"], strict=True):
        _check_keys(each, table, f"{where}: {each.name}")
    return tuple(found)


def read_objectives(asked: Asked) -> tuple[Objective, ...]:
    """Return the objectives that a question is asked with. Raises SettingsError without any."""
    text = asked.options["objectives"]
    if text is None:
        raise SettingsError("objectives: wanted --objectives FILE; docs/objectives.md has one")
    return objectives_of(text)


def _tables(text: str, where: str) -> dict[str, Any]:
    try:
        return json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of either reader
        raise SettingsError(f"{where}: not TOML: {error}") from None


def _check_keys(objective: Objective, table: Mapping[str, Any], where: str) -> None:
    must, may = KINDS[objective.kind]
    for key in must:
        if key not in table:
            raise SettingsError(f"{where}: {key} is missing; {objective.kind} needs it")
    for key in OWN - {*must, *may}:
        if key in table:
            kinds = " or ".join(kind for kind, own in KINDS.items() if key in (*own[0], *own[1]))
            raise SettingsError(f"{where}: {key} is of kind {kinds}, not {objective.kind}")


def _checked(text: str) -> str:
    """Return the text as JSON without comments, so that it fits a URL, once it is sound."""
    objectives_of(text)
    return json.dumps(_tables(text, "objectives"), separators=(",", ":"), ensure_ascii=False)


OPTION = Option(
    "objectives",
    "The objectives, in TOML (docs/objectives.md).",
    _checked,
    metavar="FILE",
    file=True,
)
