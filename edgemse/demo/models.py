"""The two model versions that the demo compares: persistence, and least squares that learn."""

from __future__ import annotations

from collections import deque
from typing import Protocol

__all__ = ["Model", "Persistence", "RecursiveLeastSquares", "versions"]


class Model(Protocol):
    """A forecast of one signal, a fixed number of steps ahead."""

    def forecast(self, reading: float) -> float:
        """Take this step's reading and return what is expected `ahead` steps later."""


class Persistence:
    """Expects that everything stays as it is: the forecast that any other has to beat."""

    def forecast(self, reading: float) -> float:
        """Return the reading."""
        return reading


class RecursiveLeastSquares:
    """Linear in the last readings and a constant, learned while it runs.

    With features x (1 and the last `lags` readings), target y the reading `ahead` steps later,
    weights w and P the inverse of the features' discounted sum of squares:

        gain = P x / (f + x' P x)    w += gain (y - w' x)    P = (P - gain x' P) / f

    It begins as persistence, held there by `ridge` samples' worth of belief, and forgets by the
    factor f (`memory`) a step, but not while the signal stands still: P would grow without end.

    Source: Haykin, Adaptive Filter Theory, chapter on recursive least squares.
    """

    TRACE_MAX = 1e4
    """Largest trace of P at which anything is still forgotten."""

    def __init__(
        self, ahead: int, *, lags: int = 8, memory: float = 0.999, ridge: float = 30.0
    ) -> None:
        size = lags + 1
        self._memory = memory
        self._weights = [0.0, 1.0] + [0.0] * (lags - 1)
        self._inverse = [[(i == j) / ridge for j in range(size)] for i in range(size)]
        self._recent = deque([0.0] * lags, maxlen=lags)
        self._asked: deque[list[float]] = deque(maxlen=ahead)

    def forecast(self, reading: float) -> float:
        """Learn from the forecast that was made for this step, and make the next."""
        if len(self._asked) == self._asked.maxlen:
            self._learn(self._asked[0], reading)
        self._recent.appendleft(reading)
        features = [1.0, *self._recent]
        self._asked.append(features)
        return _dot(self._weights, features)

    def _learn(self, features: list[float], target: float) -> None:
        error = target - _dot(self._weights, features)
        shadow = [_dot(row, features) for row in self._inverse]  # P x; P is symmetric
        trace = sum(row[i] for i, row in enumerate(self._inverse))
        memory = self._memory if trace < self.TRACE_MAX else 1.0
        scale = memory + _dot(features, shadow)
        self._weights = [
            weight + s * error / scale for weight, s in zip(self._weights, shadow, strict=True)
        ]
        self._inverse = [
            [(p - a * b / scale) / memory for p, b in zip(row, shadow, strict=True)]
            for row, a in zip(self._inverse, shadow, strict=True)
        ]


def versions(ahead: int) -> dict[str, Model]:
    """Return a fresh model of each version, by the version's name."""
    return {"persistence": Persistence(), "rls": RecursiveLeastSquares(ahead)}


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
