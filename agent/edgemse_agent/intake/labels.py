"""Labels from the broker: each message is a short stream of lines, perhaps of a session."""

from __future__ import annotations

from collections.abc import Callable

from edgemse.topics import LABELS_BYTES_MAX
from edgemse_agent.intake.clients import Clients, LineClient

__all__ = ["LabelTopic"]

SESSIONS_MAX = 64
"""Senders with a session that are told what is durable; past that the oldest has to ask anew."""


class LabelTopic:
    """Takes the messages of the label topic; `answer` publishes what their senders are told.

    Many may write to the topic, so that a message stands for itself: one that is to be confirmed
    begins with its session's hello.
    """

    def __init__(self, clients: Clients, answer: Callable[[bytes], None], name: str) -> None:
        self._clients, self._answer, self._name = clients, answer, name
        self._sessions: dict[str, LineClient] = {}

    def take(self, payload: bytes) -> None:
        """Take one message."""
        client = self._clients.join(self._answer, self._name, labels_only=True)
        if len(payload) > LABELS_BYTES_MAX:
            client.complain(f"{len(payload)} bytes of labels; wanted at most {LABELS_BYTES_MAX}")
        else:
            client.feed(payload + b"\n")
        session = client.session
        if session is None:
            client.notify()  # complaints that were summed up
            self._clients.leave(client)
            return
        earlier = self._sessions.pop(session, None)
        if earlier is not None:
            self._clients.leave(earlier)
        self._sessions[session] = client
        if len(self._sessions) > SESSIONS_MAX:
            self._clients.leave(self._sessions.pop(next(iter(self._sessions))))
