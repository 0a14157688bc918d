"""May a version go out: is it surely not worse than a limit allows, in all and in each segment?"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgemse.errors import SettingsError
from edgemse.fleet import charts, looks
from edgemse.fleet.answers import Answer, text
from edgemse.fleet.asked import Asked, Option
from edgemse.fleet.compare import OPTIONS, Compared, estimates, versions_of
from edgemse.fleet.labelled import LabelsCompared, labels_compared, notes_of
from edgemse.fleet.looks import Rules, rules
from edgemse.fleet.questions import Question
from edgemse.fleet.refusing import refused_notes
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

    from edgemse.fleet.holding import Held

__all__ = ["FAIL", "NOT_ENOUGH", "PASS", "QUESTION", "Check", "GateAnswer", "ask"]

PASS, FAIL, NOT_ENOUGH = "pass", "fail", "not enough data"
LABELS = "labels of "
BASELINE = "baseline"
UNITS = ("windows", "devices")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One ratio held to the limit."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "against": "against",
        "verdict": "verdict",
        "ratio": "ratio",
        "limit": "limit",
        "low": "low",
        "high": "high",
        "rmse": "RMSE",
        "reference_rmse": "its RMSE",
    }

    by: Mapping[str, str]
    """The segment; empty for all."""
    against: str
    """ "version V", "baseline" or "limit"; or "labels of version V", "labels of others": did as
    many labels come? Then the ratio is of the shares of predictions that have theirs."""
    rmse: float
    """Of the version, over all samples; NaN against another version."""
    reference_rmse: float
    """Of the baseline, or the limit itself; NaN against another version."""
    ratio: float
    """RMSE to RMSE. Against another version each device counts the same."""
    low: float
    """One-sided 95 % lower bound of the ratio; with looks, one that holds for all of them."""
    high: float
    """The upper bound."""
    limit: float
    """Of the ratio: 1 against a limit of the RMSE. Of labels it is the least, not the most."""
    verdict: str
    """ "pass": high is at most the limit; "fail": surely above it, with Holm over the checks;
    "not enough data": neither."""
    method: str
    """How the bounds were made: "paired", "unpaired", "windows" (these devices only), "devices",
    or "" where there is not enough data."""


@dataclass(frozen=True, kw_only=True)
class GateAnswer(Answer):
    """A verdict on a version, and what it rests on."""

    ROWS: ClassVar[str] = "checks"
    HEADINGS: ClassVar[Mapping[str, str]] = Check.HEADINGS
    WORDS: ClassVar[Collection[str]] = ("against", "verdict")
    IF_KNOWN: ClassVar[frozenset[str]] = frozenset({"rmse", "reference_rmse"})

    verdict: str
    """ "fail" if any check fails, "pass" if all pass, else "not enough data"."""
    checks: tuple[Check, ...]

    def sentences(self) -> Iterator[str]:
        """Yield the verdict, and the checks that fail."""
        looks, look = (self.asked.options[name] for name in ("looks", "look"))
        planned = f" (look {look} of {looks})" if look is not None else ""
        yield f"verdict: {self.verdict}{planned}"
        for check in self.checks:
            if check.verdict == FAIL:
                yield (
                    f"fails in {_name(check)}: {text(check.ratio)} times the RMSE of"
                    f" {check.against}, at least {text(check.low)}; {text(check.limit)} is allowed"
                )

    def plot(self) -> plotly.Figure:
        """Return the ratios with their bounds; checks that fail are red."""
        return charts.dots(
            f"RMSE, to what it is held against: {self.verdict}",
            [f"{_name(check)}, {check.against}" for check in self.checks],
            [check.ratio for check in self.checks],
            low=[check.low for check in self.checks],
            high=[check.high for check in self.checks],
            marked=[check.verdict == FAIL for check in self.checks],
            unit="ratio",
        )

    def _line(self, row: Check, by: Sequence[str], now: float | None) -> list[str]:
        names = {name: row.by.get(name, "" if row.by else "all") for name in by}
        cells = super()._line(row, (), now)
        return [*names.values(), *cells]


def _name(check: Check) -> str:
    return ", ".join(check.by.values()) or "all"


def ask(reading: Reading, asked: Asked) -> GateAnswer:
    """Hold the RMSE of a version to a limit, in all and, with --by, in each segment.

    Version b against version a (--a, --b, --max-ratio), against its own offline baseline (--against
    baseline, --max-ratio), or against a figure (--max-rmse); several at once are one verdict.

    Passes only what is surely below the limit: an interval that holds the limit is not enough data.
    """
    from edgemse.fleet.arms import holm

    given = asked.options
    ratio, most = given["max_ratio"], given["max_rmse"]
    relative = given["a"] is not None or given["against"] is not None
    if relative and ratio is None:
        raise SettingsError("gate: wanted max-ratio, such as 1.05")
    if not relative and (most is None or ratio is not None):
        raise SettingsError(
            "gate: wanted what to hold the version against: a and b, against baseline, or max-rmse"
        )
    allowed = rules(asked)
    if allowed.open and not (given["a"] is not None and given["against"] is None and most is None):
        raise SettingsError("gate: looks open are of a against b only; wanted looks K with look k")
    held: list[Held] = []
    missing: list[str] = []
    notes: list[str] = []
    if given["a"] is not None:
        found = estimates(reading, asked, allowed)
        held += _against_version(asked, found)
        notes += refused_notes(versions_of(asked, found[()]))
    if given["against"] is not None or most is not None:
        from edgemse.fleet.holding import against_figures

        figures, missing, more = against_figures(reading, asked)
        held += figures
        notes += [note for note in more if note not in notes]
    above = holm([allowed.above(each.estimate, math.log(each.limit)) for each in held])
    checks = [_check(each, p, allowed) for each, p in zip(held, above, strict=True)]
    version = given["b"] if given["b"] is not None else asked.where.get("version")
    labels = labels_compared(reading, asked, version, given["a"])
    came = [*_label_checks(asked, labels)]
    verdicts = {check.verdict for check in (*checks, *came)}
    verdict = FAIL if FAIL in verdicts else NOT_ENOUGH if NOT_ENOUGH in verdicts else PASS
    said = (*notes_of(labels, version, given["a"]), *_notes(checks), *notes)
    return GateAnswer(
        asked=asked, verdict=verdict, checks=(*checks, *came), notes=(*missing, *said)
    )


def _against_version(asked: Asked, found: Mapping[tuple[str, ...], Compared]) -> Iterator[Held]:
    from edgemse.fleet.holding import Held

    for key, each in found.items():
        by = dict(zip(asked.by, key, strict=bool(key))) if key else {}
        name = f"version {asked.options['a']}"
        yield Held(by, name, each.estimate, asked.options["max_ratio"])


def _label_checks(
    asked: Asked, labels: Mapping[tuple[str, ...], LabelsCompared]
) -> Iterator[Check]:
    """Yield a check of each segment (and of all) in which it is known how many labels came."""
    a = asked.options["a"]
    for key, each in labels.items():
        if each.comparable is None:
            continue
        nothing = dict.fromkeys(("rmse", "reference_rmse", "low", "high"), math.nan)
        yield Check(
            by=dict(zip(asked.by, key, strict=bool(key))) if key else {},
            against=LABELS + (f"version {a}" if a is not None else "others"),
            ratio=each.b.share / each.a.share if each.a.share else math.nan,
            limit=each.least,
            verdict=PASS if each.comparable else NOT_ENOUGH,
            method="",
            **nothing,
        )


def _check(held: Held, p: float, allowed: Rules) -> Check:
    low, high = allowed.bounds(held.estimate)
    if p < allowed.one_sided:
        verdict = FAIL
    elif high <= held.limit:
        verdict = PASS
    else:
        verdict = NOT_ENOUGH
    return Check(
        by=held.by,
        against=held.against,
        rmse=held.rmse,
        reference_rmse=held.reference,
        ratio=held.estimate.ratio,
        low=low,
        high=high,
        limit=held.limit,
        verdict=verdict,
        method=held.estimate.method,
    )


def _notes(checks: Sequence[Check]) -> Iterator[str]:
    open_checks = [check for check in checks if check.verdict == NOT_ENOUGH]
    if open_checks:
        yield (
            f"{len(open_checks)} of {len(checks)} checks cannot tell whether the ratio is above the"
            " limit: wait for more windows or devices, or allow more"
        )


def _limit(given: str) -> float:
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not 0.01 <= limit <= 100:
        raise SettingsError(f"max-ratio {given!r:.40}: wanted a number such as 1.05")
    return limit


def _most(given: str) -> float:
    try:
        most = float(given)
    except ValueError:
        most = math.nan
    if not 1e-150 <= most <= 1e150:
        raise SettingsError(f"max-rmse {given!r:.40}: wanted a number above 0, such as 0.5")
    return most


def _unit(given: str) -> str:
    if given not in UNITS:
        raise SettingsError(f"unit {given!r:.40}: wanted {' or '.join(UNITS)}")
    return given


def _against(given: str) -> str:
    if given != BASELINE:
        raise SettingsError(f"against {given!r:.40}: wanted {BASELINE}, or --a V for a version")
    return given


QUESTION = Question(
    "gate",
    ask,
    GateAnswer,
    by=(),
    options=(
        *OPTIONS,
        Option("against", "Hold it against its own baseline.", _against, metavar=BASELINE),
        Option("max_ratio", "How much worse it may be: RMSE to RMSE.", _limit, metavar="RATIO"),
        Option("max_rmse", "Hold it against a figure: the RMSE allowed.", _most, metavar="RMSE"),
        Option(
            "unit",
            "Against a baseline or a figure: speak of these devices, or of others like them.",
            _unit,
            UNITS[0],
            "windows|devices",
        ),
        *looks.OPTIONS,
    ),
)
