"""A step of a diagnosis, and an action that its figures support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["FINE", "NOT_ENOUGH", "TROUBLE", "Action", "Step"]

FINE, TROUBLE, NOT_ENOUGH = "fine", "trouble", "not enough data"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One of the steps: its verdict, and what that rests on."""

    HEADINGS: ClassVar[Mapping[str, str]] = {
        "step": "step",
        "name": "question",
        "verdict": "verdict",
    }

    step: int
    """1 to 4; devices and segments are both the third."""
    name: str
    """ "labels", "version", "devices", "segments" or "drift"."""
    verdict: str
    """ "fine", "trouble" or "not enough data"."""
    finding: str
    """The verdict in words."""
    named: tuple[str, ...] = ()
    """What the trouble is with: versions, devices, segments, or what drifted."""
    evidence: Mapping[str, float]
    """The figures that it rests on, by what they are."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """What the figures support."""

    do: str
    """ "wait", "look at labels", "roll back", "look at device", "look at segment",
    "check the scale", "retrain", "watch" or "nothing"."""
    what: str
    """To what: a version, a device, a segment; empty where it is the model."""
    why: str
