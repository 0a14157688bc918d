"""What is planted in the demo's live signals, so that each question has something to find."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["FAULTY_SEGMENT", "LATE_STEPS", "fault_of", "segment_of", "sensor"]

SEGMENT = "hall"
FAULTY_SEGMENT = "yard"
FAULTY_EVERY = 20
"""One forecast in so many is for the yard: too few to spoil the average."""
FAULT = 2.6
"""So much too high is the second version in the yard, which it was never made for; a reading's
standard deviation is about 1.4."""
FAULTY_VERSION = "rls"
LATE_STEPS = 80
"""Of the late device: it holds each label back for eight seconds more."""
NOISE_MEMORY = 0.6
"""Of the sensor's noise, from a step to the next: errors that follow each other."""


def segment_of(step: int) -> str:
    """Return the segment that the forecast made at a step is for."""
    return FAULTY_SEGMENT if step % FAULTY_EVERY == 0 else SEGMENT


def fault_of(version: str) -> float:
    """Return by how much a version is too high in the yard."""
    return FAULT if version == FAULTY_VERSION else 0.0


def sensor(device: str) -> Callable[[], float]:
    """Return the noise of a device's sensor, a value a step, of standard deviation 1.

    It fades within some steps (AR(1)). Who takes a reading for the future forecasts its noise too;
    a mean of several readings has less: that is how the second version is really better, on
    every machine. Seeded by the device's name.
    """
    rng = random.Random(device)
    value = rng.gauss(0, 1)

    def step() -> float:
        nonlocal value
        value = NOISE_MEMORY * value + rng.gauss(0, (1 - NOISE_MEMORY**2) ** 0.5)
        return value

    return step
