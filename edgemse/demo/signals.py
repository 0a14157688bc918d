"""What the machine tells of itself: the live signals that the demo's devices forecast."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

__all__ = ["Meter", "Signal", "Standardiser", "signals"]


class Signal(NamedTuple):
    """One figure of this machine: a level, or a running total whose rate is the signal."""

    name: str
    meaning: str
    read: Callable[[], float]
    total: bool


class Meter:
    """Reads a signal as time goes by: a level as it is, a total as its rate per second."""

    def __init__(self, signal: Signal, now: float) -> None:
        self._signal = signal
        self._then, self._last = now, signal.read()
        self._rate = 0.0

    def read(self, now: float) -> float:
        """Return the level, or the rate since the reading before."""
        value = self._signal.read()
        if not self._signal.total:
            return value
        if now > self._then:
            self._rate = (value - self._last) / (now - self._then)
            self._then, self._last = now, value
        return self._rate


class Standardiser:
    """Takes the running mean off and divides by the running standard deviation (Welford 1962).

    Readings of all signals then have one scale, so that devices compare. Of n readings none is
    further than sqrt(n - 1) from 0; while all were equal it is 0.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._m2 = 0.0

    def __call__(self, value: float) -> float:
        """Take in one value and return it standardised."""
        self._count += 1
        delta = value - self._mean
        self._mean += delta / self._count
        self._m2 += delta * (value - self._mean)
        spread = math.sqrt(self._m2 / self._count)
        return (value - self._mean) / spread if spread > 0 else 0.0


def signals() -> list[Signal]:
    """Return the signals that this machine offers, the most different ones first."""
    cores = [
        Signal(f"cpu{core}", f"use of processor core {core}", _busy(core), True)
        for core in range(psutil.cpu_count() or 1)
    ]
    others = [
        Signal("memory", "memory in use", lambda: float(psutil.virtual_memory().used), False),
        Signal("switches", "context switches", lambda: psutil.cpu_stats().ctx_switches, True),
        Signal("interrupts", "interrupts", lambda: psutil.cpu_stats().interrupts, True),
        Signal("network", "network bytes", _network_bytes, True),
        Signal("disk", "disk bytes", _disk_bytes, True),
        Signal("load", "load average", lambda: os.getloadavg()[0], False),
        Signal("softirqs", "soft interrupts", lambda: psutil.cpu_stats().soft_interrupts, True),
        Signal("packets", "network packets", _network_packets, True),
    ]
    return [signal for signal in [*cores[:2], *others, *cores[2:]] if _answers(signal)]


def _answers(signal: Signal) -> bool:
    """Whether the signal can be read here; containers and other systems lack some."""
    try:
        return math.isfinite(signal.read())
    except (OSError, AttributeError, IndexError, NotImplementedError, RuntimeError):
        return False


def _busy(core: int) -> Callable[[], float]:
    def read() -> float:
        times = psutil.cpu_times(percpu=True)[core]
        return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))

    return read


def _network_bytes() -> float:
    counters = psutil.net_io_counters()
    return float(counters.bytes_sent + counters.bytes_recv)


def _network_packets() -> float:
    counters = psutil.net_io_counters()
    return float(counters.packets_sent + counters.packets_recv)


def _disk_bytes() -> float:
    counters = psutil.disk_io_counters()
    return float(counters.read_bytes + counters.write_bytes)
