"""May a version go out: is it surely not worse than a limit allows, in all and in each segment?"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgemse.errors import SettingsError
from edgemse.fleet import charts
from edgemse.fleet.answers import Answer
from edgemse.fleet.asked import Asked, Option
from edgemse.fleet.compare import OPTIONS, estimates
from edgemse.fleet.questions import Question
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    import plotly.graph_objects as plotly

    from edgemse.fleet.compare import Compared

__all__ = ["FAIL", "NOT_ENOUGH", "PASS", "QUESTION", "Check", "GateAnswer", "ask"]

PASS, FAIL, NOT_ENOUGH = "pass", "fail", "not enough data"
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Check:
    """One ratio held to the limit."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "verdict": "verdict",
        "ratio": "RMSE b to a",
        "limit": "limit",
        "low": "low",
        "high": "high",
    }

    by: Mapping[str, str]
    """The segment; empty for all."""
    ratio: float
    low: float
    """One-sided 95 % lower bound of the ratio."""
    high: float
    """One-sided 95 % upper bound of the ratio."""
    limit: float
    verdict: str
    """ "pass": high is at most the limit; "fail": surely above it, with Holm over the checks;
    "not enough data": neither."""


@dataclass(frozen=True, kw_only=True)
class GateAnswer(Answer):
    """A verdict on version b, and what it rests on."""

    ROWS: ClassVar[str] = "checks"
    HEADINGS: ClassVar[Mapping[str, str]] = Check.HEADINGS
    WORDS: ClassVar[Collection[str]] = ("verdict",)

    verdict: str
    """ "fail" if any check fails, "pass" if all pass, else "not enough data"."""
    checks: tuple[Check, ...]

    def sentences(self) -> Iterator[str]:
        """Yield the verdict."""
        yield f"verdict: {self.verdict}"

    def plot(self) -> plotly.Figure:
        """Return the ratios with their bounds; checks that fail are red."""
        return charts.dots(
            f"RMSE, b to a: {self.verdict}",
            [", ".join(check.by.values()) or "all" for check in self.checks],
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


def ask(reading: Reading, asked: Asked) -> GateAnswer:
    """Hold the RMSE of version b against that of version a, in all and, with --by, each segment.

    Passes only what is surely below the limit: an interval that holds the limit is not enough data.
    """
    from edgemse.fleet.arms import holm

    limit = asked.options["max_ratio"]
    if limit is None:
        raise SettingsError("gate: wanted --max-ratio R, such as 1.05")
    found = estimates(reading, asked)
    above = holm([each.estimate.above(math.log(limit)) for each in found.values()])
    checks = tuple(
        _check(dict(zip(asked.by, key, strict=bool(key))) if key else {}, each, limit, p)
        for (key, each), p in zip(found.items(), above, strict=True)
    )
    verdicts = {check.verdict for check in checks}
    verdict = FAIL if FAIL in verdicts else NOT_ENOUGH if NOT_ENOUGH in verdicts else PASS
    return GateAnswer(asked=asked, verdict=verdict, checks=checks, notes=tuple(_notes(checks)))


def _check(by: Mapping[str, str], found: Compared, limit: float, p: float) -> Check:
    low, high = found.estimate.interval(1 - 2 * ALPHA)
    if p < ALPHA:
        verdict = FAIL
    elif high <= limit:
        verdict = PASS
    else:
        verdict = NOT_ENOUGH
    return Check(
        by=by,
        ratio=found.estimate.ratio,
        low=low,
        high=high,
        limit=limit,
        verdict=verdict,
    )


def _notes(checks: tuple[Check, ...]) -> Iterator[str]:
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


QUESTION = Question(
    "gate",
    ask,
    GateAnswer,
    by=(),
    options=(
        *OPTIONS,
        Option("max_ratio", "How much worse b may be: RMSE to RMSE.", _limit, metavar="RATIO"),
    ),
)
