"""The other collectors on a topic prefix: one prefix, one store.

Devices forget what any collector has acknowledged, so two stores on one prefix would each hold a
part of the fleet, and no question would show it. Whoever comes second therefore gives way: it does
not start, or it ends (delivery rule 16 in docs/architecture.md).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum

from edgemse.errors import OtherStoreError, WireError
from edgemse.logs import Ration
from edgemse.presence import Presence, decode_presence

__all__ = ["Neighbours", "Verdict", "checked"]

log = logging.getLogger(__name__)
log.addFilter(Ration())


class Verdict(Enum):
    """What a collector does about a presence that it hears."""

    NOTHING = "nothing"
    ANNOUNCE = "publish the own presence again"
    WARN = "somebody has the same name"
    CLEAR = "clear the topic, whose store is taken over"
    GIVE_WAY = "end: there is another store"


class Neighbours:
    """What the presences on the prefix mean to one collector."""

    def __init__(
        self, worker: str, presence: Presence, taken_over: frozenset[str] = frozenset()
    ) -> None:
        self._worker = worker
        self._presence = presence
        self._taken_over = taken_over

    def heard(self, worker: str, payload: bytes) -> Verdict:
        """Judge what the topic of that worker holds now; what is no presence means nothing."""
        own = worker == self._worker
        if not payload:
            return Verdict.ANNOUNCE if own else Verdict.NOTHING
        try:
            said = decode_presence(payload)
        except WireError as error:
            log.warning("on the topic of the collector %r: %s", worker, error)
            return Verdict.NOTHING
        if said.store in self._taken_over:
            return Verdict.ANNOUNCE if own else Verdict.CLEAR
        if said.store and said.store != self._presence.store:
            return Verdict.GIVE_WAY
        if not own:
            return Verdict.NOTHING
        if said.online:
            return Verdict.NOTHING if said.run == self._presence.run else Verdict.WARN
        # The last will of an earlier run, or of an earlier connection of this one: it came late.
        return Verdict.ANNOUNCE


def checked(store: str, found: Mapping[str, bytes], *, take_over: bool) -> frozenset[str]:
    """Return the ids of other stores among the presences found by worker.

    Raises OtherStoreError if there is one, unless it is to be taken over.
    """
    others: dict[str, str] = {}
    for worker, payload in found.items():
        try:
            said = decode_presence(payload)
        except WireError:
            continue  # it is warned of when the collector hears it again, running
        if said.store and said.store != store:
            others[said.store] = f"{worker!r}, {'online' if said.online else 'offline'}"
    if others and not take_over:
        raise OtherStoreError(
            "another store has this topic prefix: "
            + "; ".join(f"{name} of collector {who}" for name, who in sorted(others.items()))
            + f"; this one is {store}. Devices forget what any collector has acknowledged, so each"
            " store would hold a part. Run the collector on that store, or give another --prefix,"
            " or, if that store is given up, --take-over"
        )
    for name, who in others.items():
        log.warning("taking over the topic prefix from store %s of collector %s", name, who)
    return frozenset(others)
