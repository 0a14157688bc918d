"""What a demo does when, and which devices take part."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgemse.demo.device import AHEAD_STEPS, STEP_SECONDS
from edgemse.demo.signals import Signal

__all__ = ["Device", "Plan", "devices"]

OUTAGE_SECONDS_MAX = 4.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of a demo, and its times in seconds since every process was up."""

    seconds: float = 60.0
    devices: int = 8
    broker: str = "amqtt"
    http: str | None = None

    @property
    def outage(self) -> tuple[float, float]:
        """When the broker is stopped, and when it is started again."""
        middle = self.seconds / 2
        return middle, middle + min(OUTAGE_SECONDS_MAX, 0.15 * self.seconds)

    @property
    def last_forecast(self) -> float:
        """When the models make their last forecasts: what is left is for these to be labelled."""
        return self.seconds - AHEAD_STEPS * STEP_SECONDS


class Device(NamedTuple):
    """A device's name and the signal that it forecasts."""

    name: str
    signal: Signal

    def command(self, agent_socket: Path, samples: Path) -> list[str]:
        """Return the command that runs its models."""
        return [
            *(sys.executable, "-P", "-m", "edgemse.demo.device"),
            *(self.name, self.signal.name, str(agent_socket), str(samples)),
        ]


def devices(count: int, offered: Sequence[Signal]) -> list[Device]:
    """Return so many devices; past the signals that the machine offers, several follow one."""
    found = []
    for number in range(count):
        again, place = divmod(number, len(offered))
        name = offered[place].name + (f"-{again + 1}" if again else "")
        found.append(Device(name, offered[place]))
    return found
