"""The conversation with one device about its labels, without I/O: docs/wire.md, "Labels"."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from edgemse.topics import LABELS_BYTES_MAX

__all__ = ["LabelConversation", "Refusal"]

LINES_MAX = 500
"""Labels of one message: what a small device works off at once."""
RESEND_SECONDS = (5.0, 60.0)
"""First and longest wait for an answer; each wait without one doubles the next."""
SESSION_DIGITS = 32
FLUSH = b'{"request": "flush"}\n'


class Refusal(NamedTuple):
    """A label that the device will not take: its place among the device's labels, and why."""

    number: int
    why: str


class LabelConversation:
    """Sends one device's labels in slices, one at a time, until each is durable there.

    The session's name is made of the device and its labels, so that the same labels sent by another
    run go on where the device stands. Time is passed in, in monotonic seconds.
    """

    def __init__(self, device: str, labels: Sequence[Mapping[str, object]]) -> None:
        self.device = device
        self.refused: list[Refusal] = []
        self._lines = [json.dumps(dict(label)).encode()[1:] for label in labels]
        digest = hashlib.sha256(device.encode())
        for line in self._lines:
            digest.update(line + b"\n")
        self._digest, self._begun = digest, 0
        self._ledger: str | None = None
        self._begin(0)
        self.confirmed = 0
        """How many labels, from the first on, the device has durably or has refused."""
        self._sent_to = 0
        self.sent_at = float("-inf")
        """When something was sent last."""
        self._resend_at, self._wait_seconds = float("-inf"), RESEND_SECONDS[0]

    def __len__(self) -> int:
        """How many labels are not confirmed."""
        return len(self._lines) - self.confirmed

    def flying(self, now: float) -> bool:
        """Whether labels were sent a moment ago that are not confirmed."""
        return self._sent_to > self.confirmed and now < self.sent_at + RESEND_SECONDS[0]

    def due(self, now: float) -> bytes | None:
        """Return the message to send now, if any, and take it as sent."""
        if not len(self) or now < self._resend_at:
            return None
        if self._sent_to > self.confirmed:  # no answer in time
            self._wait_seconds = min(2 * self._wait_seconds, RESEND_SECONDS[1])
        self.sent_at, self._resend_at = now, now + self._wait_seconds
        first = self.confirmed
        hello = {"session": self._session, "from": first - self._base}
        parts = [json.dumps(hello).encode() + b"\n"]
        room = LABELS_BYTES_MAX - len(parts[0]) - len(FLUSH)
        number = first
        for line in self._lines[first : first + LINES_MAX]:
            part = b'{"n": %d, ' % (number - self._base) + line + b"\n"
            room -= len(part)
            if room < 0:
                break
            parts.append(part)
            number += 1
        self._sent_to = number
        return b"".join([*parts, FLUSH])

    def heard(self, reply: Mapping[str, Any]) -> None:
        """Take one answer; what is not of this session, or makes no sense, changes nothing."""
        if reply.get("session") != self._session:
            return
        numbers = {
            key: reply[key]
            for key in ("received", "durable", "n", "expected")
            if type(reply.get(key)) is int and 0 <= reply[key] <= len(self._lines) - self._base
        }
        if "received" in numbers:
            self._take_received(str(reply.get("ledger")), numbers["received"])
        elif "durable" in numbers:
            self._take_durable(self._base + numbers["durable"])
        elif "expected" in numbers:
            self._resend_at = float("-inf")
        elif "n" in numbers and "error" in reply:
            self._take_refusal(self._base + numbers["n"], str(reply["error"]))

    def _begin(self, base: int) -> None:
        """Start a session for the labels from `base` on; its numbers are from 0."""
        self._base = base
        digest = self._digest.copy()
        digest.update(b"%d" % self._begun)
        self._session = digest.hexdigest()[:SESSION_DIGITS]
        self._begun += 1

    def _take_received(self, ledger: str, received: int) -> None:
        lost = self._ledger not in (None, ledger) or self._base + received < self.confirmed
        self._ledger = ledger
        if lost:
            self._begin(self.confirmed)
            self._sent_to, self._resend_at = self.confirmed, float("-inf")

    def _take_durable(self, confirmed: int) -> None:
        if confirmed <= self.confirmed:
            return
        self.confirmed = confirmed
        self._wait_seconds = RESEND_SECONDS[0]
        if self.confirmed >= self._sent_to:  # all of it, perhaps also what an earlier run sent
            self._sent_to, self._resend_at = self.confirmed, float("-inf")

    def _take_refusal(self, number: int, why: str) -> None:
        if all(number != refusal.number for refusal in self.refused):
            self.refused.append(Refusal(number, why.partition(": ")[2] or why))
