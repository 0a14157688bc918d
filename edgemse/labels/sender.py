"""Labels to many devices at once, until all have confirmed them."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Mapping, Sequence

from edgemse.errors import UnacknowledgedError
from edgemse.labels.conversation import LabelConversation
from edgemse.mqtt import Broker, Connection, Publication
from edgemse.names import counted
from edgemse.topics import Topics, unescape

__all__ = ["LabelSender"]

WAIT_SECONDS = 0.2
IN_FLIGHT_MAX = 64
"""Devices that are waited for at once; one that does not answer makes room for another."""
ANSWERS_MAX = 100_000
SHOWN_MAX = 5


class LabelSender:
    """Drives one conversation a device over one connection.

    Raises BrokerError where no broker answers when it starts.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        labels: Mapping[str, Sequence[Mapping[str, object]]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics, self._monotonic = topics, monotonic
        self.conversations = {
            device: LabelConversation(device, lines) for device, lines in labels.items()
        }
        self._open = dict(self.conversations)
        self._answers: queue.Queue[tuple[str, bytes]] = queue.Queue(ANSWERS_MAX)
        self._connection = Connection(
            broker, "edgemse-labels", handlers={topics.any_label_ack: self._answered}
        )

    def start(self) -> None:
        """Connect, or raise BrokerError."""
        self._connection.start(must_connect=True)

    def stop(self) -> None:
        """Disconnect."""
        self._connection.stop()

    @property
    def left(self) -> int:
        """How many labels are not confirmed."""
        return sum(map(len, self._open.values()))

    def finish(self, *, patience_seconds: float, told: Callable[[int], None]) -> None:
        """Send everything; UnacknowledgedError after `patience_seconds` without any progress.

        `told` hears how many labels wait, now and then.
        """
        last, since = self.left, self._monotonic()
        while self._open:
            self.exchange()
            left = self.left
            told(left)
            if left < last:
                last, since = left, self._monotonic()
            elif self._monotonic() - since > patience_seconds:
                raise UnacknowledgedError(self._complaint(left, patience_seconds))

    def exchange(self) -> None:
        """Send what is due, then take answers for a moment."""
        now = self._monotonic()
        flying = sum(each.flying(now) for each in self._open.values())
        for device, conversation in self._open.items():
            if not self._connection.up or flying >= IN_FLIGHT_MAX:
                break
            message = conversation.due(now)
            if message is not None:
                self._connection.publish(Publication(self._topics.label(device), message))
                flying += 1
        self._take_answers()
        waiting = {d: each for d, each in self._open.items() if len(each)}
        # Those that were sent to stand behind the others, so that each has its turn.
        self._open = dict(sorted(waiting.items(), key=lambda item: item[1].sent_at))

    def _answered(self, level: str, payload: bytes) -> None:
        self._answers.put_nowait((level, payload))  # when full: dropped, logged, and sent again

    def _take_answers(self) -> None:
        try:
            level, payload = self._answers.get(timeout=WAIT_SECONDS)
            while True:
                self._take(unescape(level), payload)
                level, payload = self._answers.get_nowait()
        except queue.Empty:
            return

    def _take(self, device: str, payload: bytes) -> None:
        conversation = self.conversations.get(device)
        if conversation is None:
            return  # another sender's
        for line in payload.splitlines():
            try:
                reply = json.loads(line)
            except (ValueError, RecursionError):
                continue  # who is not heard is sent to again
            if isinstance(reply, dict):
                conversation.heard(reply)

    def _complaint(self, left: int, patience_seconds: float) -> str:
        silent = [f"{device} ({len(each)})" for device, each in self._open.items()]
        shown = ", ".join(silent[:SHOWN_MAX]) + (", ..." if len(silent) > SHOWN_MAX else "")
        return (
            f"{counted(left, 'label')} of {counted(len(silent), 'device')} not confirmed after"
            f" {patience_seconds:g} s without progress: {shown}; are they online? Run the same"
            " command again: what a device has confirmed is not sent again"
        )
