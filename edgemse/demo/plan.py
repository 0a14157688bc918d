"""What a demo does when, and which devices take part."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgemse.demo.device import AHEAD_STEPS, STEP_SECONDS
from edgemse.demo.planted import LATE_STEPS
from edgemse.demo.signals import Signal

__all__ = ["Device", "Plan", "devices"]

OUTAGE_SECONDS_MAX = 4.0
SILENT_AT = 0.25
"""Of the time: in a minute the fleet is then three windows ahead in the end, which is silent."""
LATE_FROM, SILENT_FROM = 2, 3
"""Devices from which one is late, one falls silent."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of a demo, and its times in seconds since every process was up."""

    seconds: float = 60.0
    devices: int = 8
    broker: str = "amqtt"
    http: str | None = None
    stay: bool = False

    @property
    def outage(self) -> tuple[float, float]:
        """When the broker is stopped, and when it is started again."""
        middle = self.seconds / 2
        return middle, middle + min(OUTAGE_SECONDS_MAX, 0.15 * self.seconds)

    @property
    def silence(self) -> float:
        """When one device falls silent."""
        return SILENT_AT * self.seconds

    @property
    def last_forecast(self) -> float:
        """When the models make their last forecasts: what is left is for these to be labelled."""
        return self.seconds - AHEAD_STEPS * STEP_SECONDS


class Device(NamedTuple):
    """A device's name, the signal that it forecasts, and what is the matter with it."""

    name: str
    signal: Signal
    late_steps: int = 0
    silent: bool = False
    """It falls silent some time."""

    def command(self, agent_socket: Path, samples: Path) -> list[str]:
        """Return the command that runs its models."""
        return [
            *(sys.executable, "-P", "-m", "edgemse.demo.device"),
            *(self.name, self.signal.name, str(agent_socket), str(samples)),
            str(self.late_steps),
        ]


def devices(count: int, offered: Sequence[Signal]) -> list[Device]:
    """Return so many devices; past the signals that the machine offers, several follow one.

    Of two or more the first has late labels; of three or more the last falls silent.
    """
    found = []
    for number in range(count):
        again, place = divmod(number, len(offered))
        name = offered[place].name + (f"-{again + 1}" if again else "")
        late = LATE_STEPS if number == 0 and count >= LATE_FROM else 0
        silent = number == count - 1 and count >= SILENT_FROM
        found.append(Device(name, offered[place], late, silent))
    return found
