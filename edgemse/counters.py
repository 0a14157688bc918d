"""Counters and gauges: what happened, what is now, and what each bound has cost."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

__all__ = ["Counters", "Kind", "Meaning", "counter", "exposition", "gauge"]


class Kind(StrEnum):
    """How a number behaves, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"


class Meaning(NamedTuple):
    """What a number is: it only grows, or goes up and down; and one line for people."""

    kind: Kind
    help: str


def counter(help: str) -> Meaning:  # noqa: A002 - Prometheus' word
    """Return the meaning of a number that only grows."""
    return Meaning(Kind.COUNTER, help)


def gauge(help: str) -> Meaning:  # noqa: A002 - Prometheus' word
    """Return the meaning of a number that goes up and down."""
    return Meaning(Kind.GAUGE, help)


class Counters:
    """The numbers of one run of a process, by the names in `meanings`; all begin at 0.

    An unknown name, or `set` of a counter, is a bug: KeyError, AssertionError. Thread safety: each
    name is written by one thread and read by any.

    >>> seen = Counters({"lines": counter("lines taken"), "clients": gauge("connected now")})
    >>> seen.count("lines", 3)
    >>> seen.set("clients", 2)
    >>> seen["lines"], seen.snapshot()
    (3, {'lines': 3, 'clients': 2})
    """

    def __init__(self, meanings: Mapping[str, Meaning]) -> None:
        self.meanings = meanings
        self._values = dict.fromkeys(meanings, 0)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self._values[name] += by

    def set(self, name: str, value: int) -> None:
        """Say what a gauge is now."""
        assert self.meanings[name].kind is Kind.GAUGE, name
        self._values[name] = value

    def follow(self, name: str, total: int) -> None:
        """Say what a counter has come to that is kept elsewhere."""
        assert self.meanings[name].kind is Kind.COUNTER, name
        self._values[name] = total

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def snapshot(self) -> dict[str, int]:
        """Return every number by its name, zeros included."""
        return dict(self._values)

    def exposition(self, prefix: str) -> str:
        """Return Prometheus' text format 0.0.4: `<prefix>_<name>`, `_total` behind counters.

        Source: Prometheus, "Exposition formats", text-based format.
        """
        return _exposition(prefix, self.meanings, {"": self})


def exposition(prefix: str, label: str, counters: Mapping[str, Counters]) -> str:
    """Return the same of several counters with the same meanings, told apart by a label's value.

    >>> jobs = {"rollups": Counters({"runs": counter("Runs")})}
    >>> print(exposition("edgemse", "job", jobs), end="")
    # HELP edgemse_runs_total Runs
    # TYPE edgemse_runs_total counter
    edgemse_runs_total{job="rollups"} 0
    """
    meanings = next(iter(counters.values())).meanings if counters else {}
    labelled = {f'{{{label}="{_escaped(value)}"}}': each for value, each in counters.items()}
    return _exposition(prefix, meanings, labelled)


def _exposition(
    prefix: str, meanings: Mapping[str, Meaning], counters: Mapping[str, Counters]
) -> str:
    lines = []
    for name, (kind, text) in meanings.items():
        full = f"{prefix}_{name}" + ("_total" if kind is Kind.COUNTER else "")
        escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
        lines += [f"# HELP {full} {escaped}\n", f"# TYPE {full} {kind}\n"]
        lines += [f"{full}{labels} {each[name]}\n" for labels, each in counters.items()]
    return "".join(lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
