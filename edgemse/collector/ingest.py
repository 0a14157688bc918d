"""From messages to one transaction to acks: nothing is acknowledged before it is committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Event

from edgemse.cells import Identity
from edgemse.collector.acks import acks
from edgemse.collector.budget import Budget
from edgemse.collector.inbox import Inbox, Message
from edgemse.collector.intake import Examiner, Intake
from edgemse.collector.quarantine import Quarantine
from edgemse.collector.settings import Limits
from edgemse.counters import Counters
from edgemse.errors import StoreError
from edgemse.logs import Ration
from edgemse.mqtt import Publication
from edgemse.stores import Batch, Store
from edgemse.topics import Topics
from edgemse.wire import Code, Refusal

__all__ = ["Ingest"]

log = logging.getLogger(__name__)
log.addFilter(Ration())

BATCH_MESSAGES = 1_000
BATCH_LINGER_SECONDS = 0.2
"""A commit costs ten milliseconds whatever is in it: what comes one by one is put together."""
BACKOFF_SECONDS = (0.1, 10.0)
"""First and longest pause after a failed commit; each doubles the last."""


class Ingest:
    """Takes messages out of the inbox and commits them, in one thread, until the inbox closes.

    Once `halted` is set nothing more is committed or acknowledged, whatever is queued.
    """

    def __init__(
        self,
        store: Store,
        topics: Topics,
        worker: str,
        publish: Callable[[Publication], bool],
        *,
        counters: Counters,
        limits: Limits,
        now: Callable[[], float],
    ) -> None:
        self.failing = ""
        """Why the last commit failed; empty when it did not."""
        self.halted = Event()
        self._store = store
        self._topics = topics
        self._worker = worker
        self._publish = publish
        self._counters = counters
        self._budget = Budget(store, limits)
        self._examiner = Examiner(counters, Quarantine(counters, now), self._budget, now)

    def run(self, inbox: Inbox, stopping: Event) -> None:
        """Work until the inbox is closed and empty.

        A commit that fails is tried again, more and more slowly, until it succeeds; while
        `stopping`, once more only. Raises StoreError if that fails too.
        """
        while messages := inbox.take(BATCH_MESSAGES, BATCH_LINGER_SECONDS):
            if self.halted.is_set():
                return
            self.take_in(messages, stopping)

    def take_in(self, messages: Sequence[Message], stopping: Event) -> None:
        """Commit one batch of messages and acknowledge it."""
        intake = Intake()
        for message in messages:
            try:
                self._examiner.take(message, intake)
            except StoreError as error:
                # Not the message's fault: the device sends again what is not acknowledged.
                log.error("%s; a %s of %r is left out", error, message.kind.value, message.level)
                self._counters.count("messages_dropped")
            except Exception as error:
                # A defect of ours must not let one device's message stop the whole fleet.
                log.exception("a %s of %r cannot be handled", message.kind.value, message.level)
                self._counters.count("internal_errors")
                reason = f"defect in edgemse: {error!r}"
                self._examiner.refuse("", message.payload, Code.DEFECT, reason, intake)
        intake.batch.series = self._budget.new
        held = self._commit(intake.batch, stopping) if intake.batch else {}
        self._budget.settle()
        committed: dict[str, dict[Identity, int]] = {device: {} for device in intake.refused}
        offered = intake.batch.cells
        for device, identity in zip(offered.devices, offered.identities, strict=True):
            committed.setdefault(device, {})[identity] = held[identity]
        for device, cells in committed.items():
            self._answer(device, cells, intake.refused.get(device, []))

    def _answer(self, device: str, committed: dict[Identity, int], refused: list[Refusal]) -> None:
        topic = self._topics.ack(device)
        for ack in acks(self._worker, self._store.id, committed, refused):
            # What was committed just now is not acknowledged either once another store is there:
            # its devices will then send it to that one, too, and both hold it whole.
            if not self.halted.is_set() and self._publish(Publication(topic, ack)):
                self._counters.count("acks")
            else:
                self._counters.count("acks_unsent")

    def _commit(self, batch: Batch, stopping: Event) -> dict[Identity, int]:
        pause, longest = BACKOFF_SECONDS
        while True:
            last = stopping.is_set()
            try:
                held = self._store.commit(batch)
            except StoreError as error:
                self._counters.count("commit_failures")
                self.failing = str(error)
                if last:
                    raise
                log.error("%s; nothing is acknowledged, trying again", error)
                stopping.wait(pause)
                pause = min(longest, pause * 2)
            else:
                self._counters.count("commits")
                self.failing = ""
                return held
