"""What a broker retains just now: asked for over a connection of its own, which then ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

from edgemse.errors import BrokerError
from edgemse.mqtt import Broker, Connection, Publication
from edgemse.presence import Presence, encode_presence
from edgemse.topics import Topics, escape

__all__ = ["Retained"]

ECHO_SECONDS = 10.0
"""For a broker to give back what it was told: it has taken the subscription before."""


class Retained:
    """Asks for one worker.

    The mark of the end is a message of our own, not retained, on our own topic: a broker delivers
    it behind the retained ones. It says offline and names no store, so it means nothing to anybody.
    """

    def __init__(self, broker: Broker, topics: Topics, worker: str, run: str) -> None:
        self._broker, self._topics, self._worker = broker, topics, worker
        self._mark = encode_presence(Presence(online=False, software="", run=run))

    def collectors(self, over: Event) -> dict[str, bytes]:
        """Return the presences of collectors, by worker as topics spell it.

        Raises BrokerError if the broker cannot be reached or does not let us see. Returns what it
        has once `over` is set.
        """
        return self._ask({}, over)[""]

    def devices(self, devices: Sequence[str], over: Event) -> dict[str, bytes]:
        """Return the presences of these devices, as far as there are any."""
        found = self._ask({each: self._topics.presence(each) for each in devices}, over)
        return {device: found[device][""] for device in devices if found[device]}

    def figures(self, over: Event) -> dict[str, bytes]:
        """Return what is retained on the fleet's topics, by topic."""
        found = self._ask({"fleet": self._topics.any_fleet}, over)["fleet"]
        start = self._topics.any_fleet.partition("+")[0]
        return {start + levels: payload for levels, payload in found.items() if payload}

    def _ask(self, filters: Mapping[str, str], over: Event) -> dict[str, dict[str, bytes]]:
        """Return what is retained under each filter, by the levels that its wildcards stand for."""
        heard: SimpleQueue[tuple[str, str, bytes]] = SimpleQueue()

        def hear(name: str, *found: Any) -> None:
            *levels, payload = found
            heard.put((name, "/".join(levels), payload))

        handlers = {each: partial(hear, name) for name, each in filters.items()}
        connection = Connection(
            self._broker,
            f"edgemse-look-{self._worker}",
            handlers={**handlers, self._topics.any_collector: partial(hear, "")},
            level=logging.DEBUG,  # or the log would have a line of it every 20 s
        )
        connection.start(must_connect=True, over=over)
        found: dict[str, dict[str, bytes]] = {each: {} for each in ("", *filters)}
        topic = self._topics.collector(self._worker)
        try:
            connection.publish(Publication(topic, self._mark))
            while not over.is_set():
                name, level, payload = heard.get(timeout=ECHO_SECONDS)
                if (name, level, payload) == ("", escape(self._worker), self._mark):
                    break
                found[name][level] = payload
        except Empty:
            raise BrokerError(
                f"broker {self._broker} does not give back what is published on {topic};"
                f" the collector needs the right to read and write {self._topics.any_collector}"
            ) from None
        finally:
            connection.stop()
        return found
