"""The other collectors on a topic prefix: one prefix, one store.

Devices forget what any collector has acknowledged, so two stores on one prefix would each hold a
part of the fleet, and no question would show it. Whoever comes second therefore gives way: it does
not start, or it ends (delivery rule 16 in docs/architecture.md).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum
from queue import Empty, SimpleQueue
from threading import Event

from edgemse.errors import BrokerError, OtherStoreError, WireError
from edgemse.mqtt import Broker, Connection, Publication
from edgemse.presence import Presence, decode_presence, encode_presence
from edgemse.topics import Topics

__all__ = ["Neighbours", "Verdict", "checked", "retained"]

log = logging.getLogger(__name__)

ECHO_SECONDS = 10.0
"""For a broker to give back what it was told: it has taken the subscription before."""


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


def retained(
    broker: Broker, topics: Topics, worker: str, run: str, *, over: Event
) -> dict[str, bytes]:
    """Return what the broker holds of collectors' presences, by worker as topics spell it.

    Raises BrokerError if the broker cannot be reached or does not let us see. Returns what it has
    once `over` is set.

    The mark of the end is a message of our own, not retained, on our own topic: a broker delivers
    it behind the retained ones. It says offline and names no store, so it means nothing to anybody.
    """
    heard: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
    mark = encode_presence(Presence(online=False, software="", run=run))
    topic = topics.collector(worker)
    connection = Connection(
        broker,
        f"edgemse-look-{worker}",
        handlers={topics.any_collector: lambda level, payload: heard.put((level, payload))},
    )
    connection.start(must_connect=True, over=over)
    found: dict[str, bytes] = {}
    try:
        connection.publish(Publication(topic, mark))
        while not over.is_set():
            level, payload = heard.get(timeout=ECHO_SECONDS)
            if payload == mark:
                break
            found[level] = payload
    except Empty:
        raise BrokerError(
            f"broker {broker} does not give back what is published on {topic};"
            f" the collector needs the right to read and write {topics.any_collector}"
        ) from None
    finally:
        connection.stop()
    return found
