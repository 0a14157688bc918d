"""Which versions are there, what were they made of, and do devices run them as they were made?"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgemse.fleet import charts
from edgemse.fleet.answers import Answer
from edgemse.fleet.asked import Asked, iso_time
from edgemse.fleet.merging import merged
from edgemse.fleet.questions import Question
from edgemse.fleet.said import FACTS, baselines_of
from edgemse.fleet.selection import select
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

__all__ = ["ATTRIBUTE", "QUESTION", "VersionRow", "VersionsAnswer", "ask"]

ATTRIBUTE = "preprocessing"
"""What devices call the checksum of the preprocessing that they run."""
NAMED_MAX = 5
SPANS = (
    "SELECT g1, g2, min(first_start_seconds), max(last_start_seconds + cell_width_seconds),"
    " count(DISTINCT device) FROM ({}) AS chosen GROUP BY g1, g2"
)
RUNNING = "SELECT DISTINCT g1, g2, g3, g4 FROM ({}) AS chosen WHERE count > 0 OR predictions > 0"
REPORTED = "SELECT 1 FROM attributes WHERE name = ? LIMIT 1"
REGISTERED = (
    "SELECT model, version, owner, git, training_data, preprocessing_sha, set_ms"
    " FROM model_versions"
)

Who = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    """One version of a model: where it ran, what it was made of, and what devices say of it."""

    model: str
    version: str
    first: str | None
    """When its first window starts, in ISO 8601; None: no cell."""
    last: str | None
    """When its last window ended."""
    devices: int
    """Devices that have cells of it."""
    count: int
    """Samples."""
    rmse: float
    baseline_rmse: float
    """Offline, of everything; NaN: no baseline is set."""
    owner: str
    """Empty, like what follows: nobody has said."""
    git: str
    """The hash of the model's commit."""
    training_data: str
    preprocessing_sha: str
    """The checksum of the preprocessing that it was trained with."""
    set_at: str | None
    """When what is said of it was set last, in ISO 8601; None: nothing is."""
    checksums: Mapping[str, int]
    """What devices report as `preprocessing` while they ran it: how many devices each."""
    unreported: int
    """Devices that report none."""
    mismatch: bool | None
    """Two checksums are reported, or one that is not the registered one; None: none is."""
    deviating: tuple[str, ...]
    """Devices that report another than the registered one, or, if none is, than most do."""


@dataclass(frozen=True, kw_only=True)
class VersionsAnswer(Answer):
    """The versions that the chosen cells are of, and those that are only registered, by name."""

    ROWS: ClassVar[str] = "versions"
    HEADINGS: ClassVar[Mapping[str, str]] = {
        "model": "model",
        "version": "version",
        "mismatch": "runs another",
        "devices": "devices",
        "count": "samples",
        "rmse": "RMSE",
        "baseline_rmse": "offline",
        "last": "last",
        "first": "first",
        "preprocessing_sha": "preprocessing",
        "training_data": "training data",
        "git": "git",
        "owner": "owner",
    }
    WORDS: ClassVar[Collection[str]] = ("model", "version", "mismatch", "last", "first", *FACTS)
    IF_KNOWN: ClassVar[frozenset[str]] = frozenset({*FACTS, "mismatch", "baseline_rmse"})

    versions: tuple[VersionRow, ...]

    def sentences(self) -> Iterator[str]:
        """Yield the versions that do not run as they were made."""
        for row in self.versions:
            if row.mismatch:
                yield _mismatch(row)

    def plot(self) -> plotly.Figure:
        """Return the versions' RMSE; those that do not run as they were made are red."""
        return charts.dots(
            "RMSE by version",
            [f"{row.model} {row.version}".strip() for row in self.versions],
            [row.rmse for row in self.versions],
            marked=[bool(row.mismatch) for row in self.versions],
        )


def _mismatch(row: VersionRow) -> str:
    said = ", ".join(
        f"{checksum} on {devices:,} device{'s' * (devices != 1)}"
        for checksum, devices in [*row.checksums.items()][:NAMED_MAX]
    )
    more = len(row.checksums) - NAMED_MAX
    said += f" and {more:,} more" if more > 0 else ""
    own = row.preprocessing_sha
    what = (
        f"does not run with its own preprocessing: registered with {own}"
        if own
        else "runs with several preprocessings: none is registered"
    )
    names = ", ".join(row.deviating[:NAMED_MAX])
    others = len(row.deviating) - NAMED_MAX
    names += f" and {others:,} more" if others > 0 else ""
    return f"{row.model} {row.version} {what}, reported are {said}; look at {names}"


def ask(reading: Reading, asked: Asked) -> VersionsAnswer:
    """List the versions: first and last cell, devices, samples, and what they were made of.

    Owner, git hash, training data and the checksum of the preprocessing are set with `edgemse fleet
    versions set`. A device reports the checksum that it really runs as its attribute
    `preprocessing`; a version that reports two, or not its own, is named.
    """
    who = ("model", "version")
    selection = select(reading, asked, by=who)
    rows = reading.rows(SPANS.format(selection.sql), selection.parameters)
    spans: dict[Who, tuple[int, int, int]] = {(row[0], row[1]): row[2:] for row in rows}
    states = merged(reading, asked, by=who, histograms=False).stats()
    facts = _registered(reading, asked)
    # Of a site, or a device, those without a cell there are not asked for.
    everywhere = asked.where.keys() <= {*who, "measure"}
    names = spans.keys() | facts.keys() if everywhere else spans.keys()
    reported = _reported(reading, asked)
    found = tuple(
        _row(
            reading,
            each,
            spans.get(each),
            states.get(each, ErrorStats()),
            facts.get(each, {}),
            reported.get(each, {}),
        )
        for each in sorted(names)
    )
    return VersionsAnswer(asked=asked, versions=found, notes=tuple(_notes(found)))


def _registered(reading: Reading, asked: Asked) -> dict[Who, Mapping[str, Any]]:
    """Return what is said of the versions asked for."""
    found: dict[Who, Mapping[str, Any]] = {}
    for row in reading.rows(REGISTERED).named():
        named = {"model": row["model"], "version": row["version"]}
        if all(named.get(name, value) == value for name, value in asked.where.items()):
            found[row["model"], row["version"]] = row
    return found


def _reported(reading: Reading, asked: Asked) -> dict[Who, dict[str, set[str]]]:
    """Return by version, and by checksum ('' is none), the devices that report it."""
    if not len(reading.rows(REPORTED, (ATTRIBUTE,))):
        return {}
    selection = select(reading, asked, by=("model", "version", "device", ATTRIBUTE))
    found: dict[Who, dict[str, set[str]]] = {}
    for model, version, device, checksum in reading.rows(
        RUNNING.format(selection.sql), selection.parameters
    ):
        found.setdefault((model, version), {}).setdefault(checksum, set()).add(device)
    return found


def _row(
    reading: Reading,
    who: Who,
    span: tuple[int, int, int] | None,
    stats: ErrorStats,
    facts: Mapping[str, Any],
    reported: Mapping[str, set[str]],
) -> VersionRow:
    base = baselines_of(reading, *who).find({})
    known = {checksum: devices for checksum, devices in reported.items() if checksum}
    order = sorted(known, key=lambda checksum: (-len(known[checksum]), checksum))
    own = facts.get("preprocessing_sha", "")
    right = own or (order[0] if order else "")
    wrong = {name for checksum in order if checksum != right for name in known[checksum]}
    said = set().union(*known.values())
    return VersionRow(
        model=who[0],
        version=who[1],
        first=None if span is None else iso_time(span[0]),
        last=None if span is None else iso_time(span[1]),
        devices=0 if span is None else span[2],
        count=stats.count,
        rmse=stats.rmse,
        baseline_rmse=math.nan if base is None else base.rmse,
        **{name: facts.get(name, "") for name in FACTS},
        set_at=iso_time(facts["set_ms"] // 1000) if facts else None,
        checksums={checksum: len(known[checksum]) for checksum in order},
        unreported=len(reported.get("", set()) - said),
        mismatch=bool(wrong) if known else None,
        deviating=tuple(sorted(wrong)),
    )


def _notes(found: tuple[VersionRow, ...]) -> Iterator[str]:
    silent = [
        f"{row.model} {row.version}"
        for row in found
        if row.preprocessing_sha and row.count and not row.checksums
    ]
    if silent:
        more = f" and {len(silent) - NAMED_MAX:,} more" if len(silent) > NAMED_MAX else ""
        yield (
            f"no device that runs {', '.join(silent[:NAMED_MAX])}{more} reports the attribute"
            f" {ATTRIBUTE}: with what it runs is not known"
        )
    some = [row for row in found if row.checksums and row.unreported]
    if some:
        few = ", ".join(
            f"{row.unreported:,} of {row.model} {row.version}" for row in some[:NAMED_MAX]
        )
        more = f" and of {len(some) - NAMED_MAX:,} more versions" if len(some) > NAMED_MAX else ""
        yield f"devices that do not report the attribute {ATTRIBUTE}: {few}{more}"


QUESTION = Question("versions", ask, VersionsAnswer, by=None)
