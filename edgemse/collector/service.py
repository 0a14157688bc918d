"""The collector as a process: one MQTT connection, one thread that commits."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from importlib.metadata import version
from threading import Event, Thread

import msgspec

from edgemse.collector.counters import Counters
from edgemse.collector.inbox import Inbox
from edgemse.collector.ingest import Ingest
from edgemse.collector.settings import CollectorSettings
from edgemse.errors import WireError
from edgemse.mqtt import Connection, Publication
from edgemse.stores import Store
from edgemse.topics import Topics
from edgemse.wire import State, decode_state, encode_state

__all__ = ["Collector"]

log = logging.getLogger(__name__)


class Collector:
    """Takes reports from the broker into a store, from `start` to `stop`.

    The store is the caller's: open it before, close it after. The collector sets `over` when it
    cannot go on; `stop` then raises why.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        store: Store,
        *,
        over: Event,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.counters = Counters()
        self._over = over
        self.failure: BaseException | None = None
        topics = Topics(settings.broker.prefix)
        self._topic = topics.collector(settings.worker)
        self._worker = settings.worker
        self._state = State(online=True, software=_software(), run=secrets.token_hex(8))
        self._inbox = Inbox(self.counters)
        self._connection = Connection(
            settings.broker.broker(),
            f"edgemse-collector-{settings.worker}",
            subscriptions=(
                _shared(topics.any_report, settings.shared_group),
                # A shared subscription gets no retained messages: every worker notes every state.
                topics.any_device_state,
                self._topic,
            ),
            on_message=self._received,
            on_failure=self._cannot_go_on,
            birth=self._publication(online=True),
            will=self._publication(online=False),
        )
        self._ingest = Ingest(
            store,
            topics,
            settings.worker,
            self._connection.publish,
            counters=self.counters,
            now=now,
        )
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="collector ingest", daemon=True)

    def start(self) -> None:
        """Connect to the broker and begin; raises BrokerError if the first attempt fails."""
        self._connection.start(must_connect=True, over=self._over)
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more in, commit and acknowledge what is queued, say goodbye.

        Raises StoreError if what was queued cannot be committed; the devices still hold it.
        """
        self._stopping.set()
        self._inbox.close()
        if self._thread.is_alive():
            self._thread.join()
        self._connection.stop(farewell=self._publication(online=False))
        if self.failure is not None:
            raise self.failure

    def problems(self) -> list[str]:
        """Return what keeps the collector from its work just now; empty when all is well."""
        found = []
        if self.failure is not None:
            found.append(f"the collector has ended: {self.failure}")
        if not self._connection.up:
            found.append(f"no connection to the broker {self._connection.broker}")
        if self._ingest.failing:
            found.append(self._ingest.failing)
        return found

    def gauges(self) -> dict[str, int]:
        """Return what goes up and down: messages that wait, and whether the broker is there."""
        return {"queue": len(self._inbox), "connected": int(self._connection.up)}

    def _run(self) -> None:
        try:
            self._ingest.run(self._inbox, self._stopping)
        except BaseException as error:
            log.exception("the collector cannot go on")
            self._cannot_go_on(error)

    def _cannot_go_on(self, error: BaseException) -> None:
        self.failure = error
        self._inbox.close()
        self._over.set()

    def _publication(self, *, online: bool) -> Publication:
        state = msgspec.structs.replace(self._state, online=online)
        return Publication(self._topic, encode_state(state), retain=True)

    def _received(self, topic: str, payload: bytes) -> None:
        if topic == self._topic:
            self._heard_of_namesake(payload)
        else:
            self._inbox.put(topic, payload)

    def _heard_of_namesake(self, payload: bytes) -> None:
        """Correct the retained state if an earlier run's last will has come after our birth."""
        try:
            state = decode_state(payload)
        except WireError:
            return
        if state.run == self._state.run or self._stopping.is_set():
            return
        if state.online:
            log.warning(
                "a collector called %r is, or was, on this broker too; give each its own --worker",
                self._worker,
            )
        else:
            self._connection.publish(self._publication(online=True))


def _software() -> str:
    return f"edgemse {version('edgemse')}"


def _shared(topic: str, group: str) -> str:
    return f"$share/{group}/{topic}" if group else topic
