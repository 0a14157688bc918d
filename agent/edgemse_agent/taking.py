"""From lines to what they change: samples and predictions into cells and pairs.

A line goes the short way (`usual`, compiled) or the long one (`take`): both do the same with a line
that both can take.
"""

from __future__ import annotations

from typing import NamedTuple

from edgemse.cells import Series
from edgemse.counters import Counters
from edgemse.growing import Growing
from edgemse.stats.measures import follow_loss
from edgemse_agent.calendar import Calendar
from edgemse_agent.entries import Label, Prediction, Where
from edgemse_agent.intake.usual import UsualLines
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine
from edgemse_agent.pairing import Pairing

__all__ = ["Taken", "Taking"]


class Taken(NamedTuple):
    """How many lines went the short way, and where the rest begins."""

    lines: int
    at: int


class Taking:
    """Takes lines for an agent; `default` is the series of what a line does not name."""

    def __init__(
        self,
        growing: Growing,
        pairing: Pairing,
        counters: Counters,
        calendar: Calendar,
        default: Series,
    ) -> None:
        self._growing, self._pairing, self._counters = growing, pairing, counters
        self._calendar, self._default = calendar, default
        self._short = UsualLines(pairing, default)

    def follow(self, default: Series) -> None:
        """Go on with another default."""
        self._default = default
        self._short.follow(default)

    def usual(self, data: bytes, at: int, number: int, elapsed: float) -> Taken:
        """Work off usual lines from there on; `number` is the next one's, -1 outside a session.

        One time is all of theirs that do not say it: they came together. While the clock is outside
        what windows can be in none goes this way, since each such line is counted.
        """
        if self._calendar.bounded:
            return Taken(0, at)
        time = self._calendar.possible_now()
        at = self._short.take(data, at, number, time, elapsed)
        self._counters.count("samples", self._short.samples)
        return Taken(self._short.lines, at)

    def take(self, line: SampleLine | PredictionLine | LabelLine, elapsed: float) -> bool:
        """Take one line; False for a prediction whose id is taken."""
        time = self._now() if line.time is None else self._calendar.of_line(line.time)
        if isinstance(line, SampleLine):
            self._sample(line, time)
            return True
        if isinstance(line, LabelLine):
            self._pairing.label(line.id, Label(line.y_true, time, line.where), elapsed)
            return True
        prediction = Prediction(line.y_pred, line.weight, time, line.loss, line.interval)
        series = self._named(line.where)
        if not self._pairing.predict(line.id, series, prediction, elapsed):
            return False
        self._growing.follow(series, time, line.beside, line.weight)
        return True

    def _now(self) -> float:
        """Return the time, or the nearest one that a window can have (counted)."""
        self._counters.count("times_bounded", int(self._calendar.bounded))
        return self._calendar.possible_now()

    def _sample(self, line: SampleLine, time: float) -> None:
        series = self._named(line.where)
        if line.measure:
            series = series._replace(measure=line.measure)
        if self._growing.sample(series, time, line.y_true, line.y_pred, line.weight):
            self._counters.count("samples")
        if line.loss:
            loss = follow_loss(line.loss).value(line.y_true, line.y_pred)
            series = series._replace(measure=line.loss)
            self._growing.sample(series, time, 0.0, loss, line.weight)
        self._growing.follow(series, time, line.beside, line.weight)

    def _named(self, where: Where) -> Series:
        model, version, output, segment = where
        default = self._default
        return Series(
            default.model if model is None else model,
            default.version if version is None else version,
            output or "",
            segment or "",
        )
