"""What a broker retains of a device, cleared: empty retained messages, each seen to come back."""

from __future__ import annotations

from functools import partial
from queue import Empty, SimpleQueue

from edgemse.errors import BrokerError
from edgemse.mqtt import Broker, Connection, Publication
from edgemse.topics import Topics

__all__ = ["clear"]

ECHO_SECONDS = 10.0
"""For the broker to give back what it was told: it has taken the subscriptions before."""


def clear(broker: Broker, topics: Topics, device: str) -> list[str]:
    """Clear the device's presence and settings, and return the topics.

    Raises BrokerError if the broker cannot be reached, or does not take it.
    """
    cleared: SimpleQueue[str] = SimpleQueue()
    wanted = [topics.presence(device), topics.config(device)]

    def hear(topic: str, _: str, payload: bytes) -> None:
        if not payload:
            cleared.put(topic)

    connection = Connection(
        broker,
        "edgemse-forget",
        handlers={topic: partial(hear, topic) for topic in wanted},
        on_refused=lambda topic, reason: cleared.put(f"{topic}: {reason}"),
    )
    connection.start(must_connect=True)
    try:
        for topic in wanted:
            connection.publish(Publication(topic, b"", retain=True))
        found = {cleared.get(timeout=ECHO_SECONDS) for _ in wanted}
    except Empty:
        raise BrokerError(
            f"broker {broker} does not give back what is published on {wanted[0]}; clearing needs"
            " the right to read and write the device's topics, as the collector's user has"
        ) from None
    finally:
        connection.stop()
    refused = sorted(found - {*wanted})
    if refused:
        raise BrokerError(f"broker {broker} does not take {refused[0]}")
    return wanted
