"""`edgemse-agent --check --connect`: what the broker answers to this device."""

from __future__ import annotations

import threading

from edgemse.errors import WireError
from edgemse.mqtt import Connection
from edgemse.presence import Presence, decode_presence
from edgemse.topics import Topics, unescape
from edgemse_agent.settings import AgentSettings

__all__ = ["connect"]

COLLECTOR_SECONDS = 2.0
"""How long to wait for a collector's presence, which the broker keeps and sends at once."""


def connect(settings: AgentSettings) -> str:
    """Connect and subscribe as the agent would, publish nothing, and return what came of it.

    Raises BrokerError or BrokerRefusedError, with what the broker said.
    """
    topics = Topics(settings.broker.prefix)
    collectors: dict[str, Presence | None] = {}
    heard = threading.Event()

    def collector(worker: str, payload: bytes) -> None:
        try:
            collectors[unescape(worker)] = decode_presence(payload)
        except WireError:
            collectors[worker] = None
        heard.set()

    connection = Connection(
        settings.broker.broker(),
        settings.device,
        handlers={
            topics.ack(settings.device): lambda _rest, _payload: None,
            topics.label(settings.device): lambda _rest, _payload: None,
            topics.any_collector: collector,
        },
    )
    connection.start(must_connect=True)
    try:
        heard.wait(COLLECTOR_SECONDS)
        largest = connection.packet_bytes_max
    finally:
        connection.stop()
    said = [_told(worker, presence) for worker, presence in sorted(collectors.items())]
    return (
        f"connected to {settings.broker.address}: MQTT {settings.broker.protocol}, packets up to"
        f" {largest:,} bytes, subscriptions granted (publishing was not tried);"
        f" {', '.join(said) or 'no collector has been there'}"
    )


def _told(worker: str, presence: Presence | None) -> str:
    if presence is None:
        return f"collector {worker}: its presence cannot be read"
    if not presence.online:
        return f"collector {worker} is offline"
    return f"collector {worker} is online, store {presence.store}"
