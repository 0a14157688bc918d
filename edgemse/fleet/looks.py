"""Looking again and again at a comparison, without being fooled by the luckiest day."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgemse.errors import SettingsError, UsageError
from edgemse.fleet.answers import text
from edgemse.fleet.asked import Asked, Option

if TYPE_CHECKING:
    from edgemse.fleet.arms import Estimate

__all__ = ["ONE_LOOK", "OPTIONS", "Look", "Rules", "rules"]

ALPHA = 0.05
OPEN = "open"
LOOKS_MAX = 366
DEVICES_MIN = 6
"""Devices from which planned looks at a comparison by devices fool in 7 % or less; with five of
them in 7.5 %, with three in 9 % (simulated, versions that differ alike on all devices)."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What may be claimed at this look so that all looks together are wrong in 5 % at most."""

    looks: int | None
    """How many are planned; None: no end is planned."""
    look: int | None
    """Which of them this is."""
    level: float
    """The p-value that this look must come under; NaN without a planned end."""
    windows: int
    """Windows that it rests on; 0 where devices are the unit."""
    low: float
    """Interval of the ratio that holds at all looks at once."""
    high: float
    differs: bool | None
    """1 is outside of it; None: not enough data."""

    def sentences(self) -> Iterator[str]:
        """Yield what may be said today."""
        name = "open looks" if self.looks is None else f"look {self.look} of {self.looks}"
        if self.differs is None:
            yield f"{name}: not enough data yet"
        else:
            span = f"95 %: {text(self.low)} to {text(self.high)}, for all looks at once"
            found = "there is a difference" if self.differs else "nothing may be claimed yet"
            yield f"{name}: {found} ({span})"


@dataclass(frozen=True, slots=True)
class Rules:
    """How many devices, and which levels, looks ask for."""

    looks: int | None
    look: int | None
    devices_min: float
    """Devices of a version below which windows are the unit."""
    following_max: float
    """Autocorrelation of windows above which neighbours are taken together."""
    level: float
    """Two-sided; NaN where looks are open."""
    one_sided: float

    @property
    def open(self) -> bool:
        """Whether no end is planned."""
        return math.isnan(self.level)

    def above(self, estimate: Estimate, log_limit: float = 0.0) -> float:
        """Return the p-value of "the log ratio is at most that", for the levels of these looks."""
        if not self.open:
            return estimate.above(log_limit)
        from edgemse.fleet.looking import sequence

        shifted = replace(estimate, value=estimate.value - log_limit)
        p_value = sequence(shifted).p_value
        return p_value if shifted.value > 0 or math.isnan(p_value) else 1.0

    def bounds(self, estimate: Estimate) -> tuple[float, float]:
        """Return the one-sided bounds of the ratio that these looks allow (open ones: 97.5 %)."""
        if not self.open:
            return estimate.interval(1 - 2 * self.one_sided)
        from edgemse.fleet.looking import sequence

        held = sequence(estimate)
        return held.low, held.high

    def looked(self, estimate: Estimate) -> Look | None:
        """Return what this look may claim of all cells; None if it is the only one."""
        if self.look is None and not self.open:
            return None
        if self.open:
            from edgemse.fleet.looking import sequence

            held = sequence(estimate)
            low, high, p_value, allowed = held.low, held.high, held.p_value, ALPHA
        else:
            allowed, p_value = self.level, estimate.two_sided()
            low, high = estimate.interval(1 - allowed)
        return Look(
            looks=self.looks,
            look=self.look,
            level=self.level,
            windows=estimate.windows,
            low=low,
            high=high,
            differs=None if math.isnan(p_value) else p_value < allowed,
        )


ONE_LOOK = Rules(None, None, 0, 1.0, ALPHA, ALPHA)


def rules(asked: Asked) -> Rules:
    """Return how to compare so that what is claimed holds for all looks.

    Raises UsageError if `looks` and `look` do not fit each other.
    """
    looks, look = _wanted(asked)
    if looks is None:
        return ONE_LOOK
    from edgemse.fleet.looking import FOLLOWING_MAX, level

    if look is None:
        return Rules(None, None, math.inf, FOLLOWING_MAX, math.nan, ALPHA)
    one_sided = level(int(looks), look, 2 * ALPHA) / 2
    allowed = level(int(looks), look, ALPHA)
    return Rules(int(looks), look, DEVICES_MIN, FOLLOWING_MAX, allowed, one_sided)


def _wanted(asked: Asked) -> tuple[int | str | None, int | None]:
    """Return how many looks are planned (or "open", or None: one only), and which one this is."""
    looks, look = asked.options["looks"], asked.options["look"]
    if (looks in (None, OPEN)) != (look is None):
        raise UsageError(
            "looks: wanted looks K with look k, the k-th of K planned ones; or looks open alone"
        )
    if look is not None and look > looks:
        raise UsageError(f"look {look} of {looks}: wanted a look from 1 to {looks}")
    return looks, look


def _looks(given: str) -> int | str:
    if given == OPEN:
        return given
    return _whole("looks", given, 2, f"; or {OPEN}")


def _look(given: str) -> int:
    return _whole("look", given, 1, "")


def _whole(name: str, given: str, least: int, more: str) -> int:
    number = int(given) if given.isascii() and given.isdigit() and len(given) < 4 else 0
    if not least <= number <= LOOKS_MAX:
        raise SettingsError(f"{name} {given!r:.40}: wanted a number from {least} to 366{more}")
    return number


OPTIONS = (
    Option("looks", "How many looks are planned; or open: no end.", _looks, metavar="K|open"),
    Option("look", "Which of them this is.", _look, metavar="k"),
)
