"""Attributes as reasons: which value each group has, and what the values explain."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from edgemse.errors import SettingsError
from edgemse.fleet.asked import BY_MAX, Asked, Option
from edgemse.fleet.selection import key_text, select
from edgemse.stores.base import Reading

if TYPE_CHECKING:
    from edgemse.fleet.noise import Noise

__all__ = ["OPTION", "Explained", "explained"]

COUNTS = (
    "SELECT {0}, CAST(sum(count) AS DECIMAL(38, 0)) FROM ({1}) AS chosen WHERE count > 0"
    " GROUP BY {0}"
)


@dataclass(frozen=True, kw_only=True)
class Explained:
    """How much of what groups differ by lies between the values of one attribute, taken alone."""

    name: str
    values: int
    """Values that two groups or more have."""
    groups: int
    """Groups that have such a value."""
    share: float
    """Of tau^2 of log MSE; NaN: not enough data."""
    low: float
    """Its 95 % interval."""
    high: float
    p_value: float
    """Of "it explains nothing"; by permutation, or larger."""
    p_adjusted: float
    """The same for all attributes asked for at once (Holm)."""
    left_out: int
    """Groups that have no value, or one that no other has."""
    mixed: int
    """Groups with more than one value in this time; they count for the one of most samples."""


def explained(reading: Reading, asked: Asked, noise: Noise) -> Iterator[Explained]:
    """Yield what each attribute of the option `explain` explains of how the groups differ.

    `noise` is of the groups that have enough samples to be tested.
    """
    import numpy as np

    from edgemse.fleet.arms import holm
    from edgemse.fleet.moderators import FREEDOM_MIN, LEVEL_MIN, Share, share_explained
    from edgemse.fleet.spread import log_mse

    usable = noise.taken((noise.mse > 0) & (noise.variance > 0))
    y, vm = log_mse(usable) if usable.keys else (np.empty(0), np.empty(0))
    seed = sha256(json.dumps(asked.as_json(), sort_keys=True).encode()).digest()
    found = []
    for name in asked.options["explain"].split(","):
        values, mixed = _values(reading, asked, name)
        own = [values.get(key, "") for key in usable.keys]
        names, place, sizes = np.unique(own, return_inverse=True, return_counts=True)
        taken = (sizes >= LEVEL_MIN) & (names != "")
        at = taken[place] if len(own) else np.zeros(0, dtype=bool)
        _, value = np.unique(place[at], return_inverse=True)
        share = Share(*[math.nan] * 4)
        if taken.sum() >= 2 and at.sum() - taken.sum() >= FREEDOM_MIN:
            rng = np.random.default_rng(int.from_bytes(seed, "big"))
            share = share_explained(y[at], vm[at], value.reshape(-1), rng)
        counts = {"values": int(taken.sum()), "groups": int(at.sum())}
        counts |= {"left_out": int((~at).sum()), "mixed": len(mixed & set(usable.keys))}
        found.append((name, counts, share))
    adjusted = holm([share.p_value for _, _, share in found])
    for (name, counts, share), p in zip(found, adjusted, strict=True):
        yield Explained(name=name, **counts, **share._asdict(), p_adjusted=p)


def _values(
    reading: Reading, asked: Asked, name: str
) -> tuple[Mapping[tuple[str, ...], str], set[tuple[str, ...]]]:
    """Return the value of each group that most of its samples have, and groups with several."""
    columns = [*asked.by, name]
    selection = select(reading, asked, by=columns)
    keys = ", ".join(f"g{place}" for place in range(1, selection.keys + 1))
    texts = [key_text(column) for column in columns]
    counts: dict[tuple[str, ...], dict[str, int]] = {}
    for *key, count in reading.rows(COUNTS.format(keys, selection.sql), selection.parameters):
        *group, value = (text(each) for text, each in zip(texts, key, strict=True))
        counts.setdefault(tuple(group), {})[value] = int(count)
    most = {key: max(sorted(each), key=lambda v: each[v]) for key, each in counts.items()}
    return most, {key for key, each in counts.items() if len(each) > 1}


def _names(given: str) -> str:
    names: Sequence[Any] = [name.strip() for name in given.split(",")]
    if not all(names) or len(set(names)) < len(names) or len(names) > BY_MAX:
        raise SettingsError(
            f"explain {given!r:.80}: wanted up to {BY_MAX} attributes, each once, such as"
            " site,hardware"
        )
    return ",".join(names)


OPTION = Option("explain", "Attributes that may be the reason: site,hardware.", _names)
