"""What the figures of a diagnosis support: wait, roll back, look at a device, retrain, nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgemse.fleet.answers import listed
from edgemse.fleet.diagnosed import Action

if TYPE_CHECKING:
    from edgemse.fleet.triage import Triage

__all__ = ["actions_of"]


def actions_of(found: Triage) -> Iterator[Action]:
    """Yield what to do, the first first; at least one.

    In the order of the steps: labels that are late make every other figure provisional; a version
    comes before the devices that run it; what single devices or segments explain is no reason to
    train anew.
    """
    actions = [*_of_labels(found), *_of_versions(found), *_of_groups(found), *_of_drift(found)]
    yield from actions
    if actions:
        return
    if found.unknown:
        yield Action(do="wait", what="", why=f"not enough data: {', '.join(found.unknown)}")
    else:
        why = "nothing is wrong that these figures could show"
        if found.silent:
            why += f"; silent, and so without figures: {listed(found.silent)}"
        yield Action(do="nothing", what="", why=why)


def _of_labels(found: Triage) -> Iterator[Action]:
    if found.late:
        yield Action(do="wait", what="", why=f"labels are late: {found.late}")
    if found.wrong_labels:
        kinds = ", ".join(found.wrong_labels)
        yield Action(do="look at labels", what="", why=f"more of them are {kinds} than then")


def _of_versions(found: Triage) -> Iterator[Action]:
    for version, words in found.worse.items():
        yield Action(do="roll back", what=version, why=words)


def _of_groups(found: Triage) -> Iterator[Action]:
    devices = [each for each in found.devices if found.by_version.get(each.name) not in found.worse]
    suspects = [("device", each) for each in devices]
    suspects += [("segment", each) for each in found.segments]
    # What is new is what changed; of two that are, a device is easier to mend.
    for column, each in sorted(suspects, key=lambda pair: pair[1].new is False):
        why = each.words
        if "scaling" in each.kinds:
            why += "; its scale is another one than then"
        yield Action(do=f"look at {column}", what=each.name, why=why)


def _of_drift(found: Triage) -> Iterator[Action]:
    local = [each for each in (*found.devices, *found.segments) if each.new]
    kinds = set(found.drifted)
    if "scaling" in kinds and not any("scaling" in each.kinds for each in local):
        kinds -= {"scaling", "residual", "label"}
        yield Action(
            do="check the scale",
            what="",
            why="predictions and labels are on another scale than then: units, preprocessing",
        )
    elsewhere = kinds - {"residual", "scaling"}
    names = ", ".join(sorted(elsewhere))
    if elsewhere and found.risen:
        yield Action(do="retrain", what="", why=f"{names} drifted, and the error rose with it")
    elif elsewhere:
        yield Action(do="watch", what="", why=f"{names} drifted, but the error did not rise")
    elif "residual" in kinds and found.risen and not local and not found.worse:
        why = "the error rose everywhere, and no version, device, segment or label explains it"
        yield Action(do="retrain", what="", why=why)
