"""One device's model process: it reads a live signal, forecasts it, and labels its forecasts.

`python -m edgemse.demo.device DEVICE SIGNAL SOCKET FOLDER LATE_STEPS` runs until its standard input
ends, then labels the forecasts that are still open and waits until the agent has all of it. The
agent is another process: this one knows nothing of it but its socket.
"""

from __future__ import annotations

import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from edgemse.demo.models import Model, versions
from edgemse.demo.planted import FAULTY_SEGMENT, fault_of, segment_of, sensor
from edgemse.demo.signals import Meter, Signal, Standardiser, signals
from edgemse.demo.truth import TruthFile, truth_path
from edgemse.monitor import Monitor

__all__ = ["AHEAD_STEPS", "MODEL", "STEP_SECONDS", "Forecaster", "follow", "main"]

MODEL = "forecast"
STEP_SECONDS = 0.1
AHEAD_STEPS = 20
"""How far ahead the models look, in steps: two seconds."""


class _Forecast(NamedTuple):
    step: int
    y_pred: float


class _Label(NamedTuple):
    due: int
    """The step at which it is told."""
    step: int
    y_true: float
    y_pred: float


class Forecaster:
    """One model version at work: tells its monitor of each forecast, and of each label later.

    `late`: labels are told so many steps after they are known. `fault`: so much too high are the
    forecasts for the yard.
    """

    def __init__(
        self,
        model: Model,
        monitor: Monitor,
        truth: TruthFile,
        ahead: int,
        *,
        late: int = 0,
        fault: float = 0.0,
    ) -> None:
        self._model, self._monitor, self._truth = model, monitor, truth
        self._ahead, self._late, self._fault = ahead, late, fault
        self._open: deque[_Forecast] = deque(maxlen=ahead)
        self._held: deque[_Label] = deque()

    @property
    def waiting(self) -> int:
        """Forecasts whose label has not come, or was not told."""
        return len(self._open) + len(self._held)

    def take(self, step: int, reading: float, *, forecasting: bool) -> None:
        """Take the reading of a step: it labels the forecast for it, and leads to the next.

        Once nothing more is forecast and the last label is known, none is held back any more.
        """
        if self._open and self._open[0].step == step:
            y_pred = self._open.popleft().y_pred
            self._held.append(_Label(step + self._late, step, reading, y_pred))
        y_pred = self._model.forecast(reading)
        if forecasting:
            segment = segment_of(step)
            y_pred += self._fault if segment == FAULTY_SEGMENT else 0.0
            self._open.append(_Forecast(step + self._ahead, y_pred))
            self._monitor.predict(step + self._ahead, y_pred, segment)
        last = not (forecasting or self._open)
        while self._held and (last or self._held[0].due <= step):
            label = self._held.popleft()
            self._monitor.label(label.step, label.y_true)
            self._truth.add(label.y_true, label.y_pred)


def follow(
    read: Callable[[], float],
    forecasters: Iterable[Forecaster],
    stopped: Callable[[], bool],
    noise: Callable[[], float] = lambda: 0.0,
) -> int:
    """Take readings until stopped, then until every forecast is labelled; return how many steps.

    `stopped` waits for the next step and says whether no more forecasts are wanted; `noise` is
    added to each standardised reading.
    """
    forecasters = tuple(forecasters)
    standardise = Standardiser()
    step, forecasting = 0, True
    while forecasting or any(forecaster.waiting for forecaster in forecasters):
        forecasting = not stopped() and forecasting
        reading = standardise(read()) + noise()
        for forecaster in forecasters:
            forecaster.take(step, reading, forecasting=forecasting)
        step += 1
    return step


def main() -> None:
    """Run one device's models; the arguments are in the module's description."""
    device, name, socket, folder, late = sys.argv[1:]
    signal = next(signal for signal in signals() if signal.name == name)
    with ExitStack() as stack:
        forecasters = []
        for version, model in versions(AHEAD_STEPS).items():
            truth = stack.enter_context(TruthFile(truth_path(Path(folder), device, version)))
            monitor = stack.enter_context(Monitor(socket, MODEL, version))
            wrong = fault_of(version)
            forecasters.append(
                Forecaster(model, monitor, truth, AHEAD_STEPS, late=int(late), fault=wrong)
            )
        follow(_reader(signal), forecasters, _Pace(), sensor(device))


def _reader(signal: Signal) -> Callable[[], float]:
    meter = Meter(signal, time.monotonic())
    return lambda: meter.read(time.monotonic())


class _Pace:
    """Waits for the next step, and hears meanwhile whether standard input has ended."""

    def __init__(self) -> None:
        self._next = time.monotonic()
        self._ended = False

    def __call__(self) -> bool:
        now = time.monotonic()
        self._next = max(now, self._next + STEP_SECONDS)  # what was missed is not made up for
        watched = [] if self._ended else [sys.stdin]
        while (wait := self._next - time.monotonic()) > 0:
            if select.select(watched, [], [], wait)[0]:
                self._ended, watched = True, []
        return self._ended


if __name__ == "__main__":
    main()
