"""The collector as a process: one MQTT connection, one thread that commits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from threading import Event, Thread

import msgspec

from edgemse.collector.asking import Asking
from edgemse.collector.counters import MEANINGS, PREFIX
from edgemse.collector.inbox import Inbox, Kind, Message
from edgemse.collector.ingest import Ingest
from edgemse.collector.neighbours import Neighbours, Verdict, checked
from edgemse.collector.pressure import Pressure
from edgemse.collector.retained import Retained
from edgemse.collector.settings import CollectorSettings
from edgemse.counters import Counters
from edgemse.errors import StoreTakenOverError
from edgemse.logs import Ration
from edgemse.mqtt import Connection, Publication
from edgemse.presence import Presence, encode_presence, new_run
from edgemse.stores import Store, statements
from edgemse.topics import Topics, escape

__all__ = ["Collector"]

log = logging.getLogger(__name__)
log.addFilter(Ration())

SPREAD_DEVICES = 1_000
"""From so many devices on they are asked to spread their first reports when a collector is back."""
SPREAD_DEVICES_PER_SECOND = 200
TWINS_SECONDS = 86_400
"""Two boards of one name count so long after the earlier run was last seen again."""
SPREAD_SECONDS_MAX = 86_400.0
"""What a presence can ask for at most."""


class Collector:
    """Takes reports from the broker into a store, from `start` to `stop`.

    The store is the caller's: open it before, close it after. The collector sets `over` when it
    cannot go on; `stop` then raises why.

    Args:
        settings: The whole of collector.toml.
        store: Where to.
        over: Set when the collector cannot go on.
        take_over: Go on although another store has the topic prefix, and clear its presences.
        now: Seconds since 1970-01-01 UTC.
        monotonic: Seconds that never go back.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        store: Store,
        *,
        over: Event,
        take_over: bool = False,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = Counters(MEANINGS)
        self.failure: BaseException | None = None
        self._over = over
        self._now = now
        self._retreat: Publication | None = None
        """What is said in place of goodbye once another store has the prefix."""
        self._doubles = (0, 0)
        """Twins and renamed devices that the log has told of."""
        self._store = store
        self._take_over = take_over
        self._broker = settings.broker.broker()
        self._topics = Topics(settings.broker.prefix)
        self._worker = settings.worker
        self._presence = Presence(
            online=True, software=f"edgemse {version('edgemse')}", run=new_run(), store=store.id
        )
        self._neighbours = Neighbours(escape(self._worker), self._presence)
        self._inbox = Inbox(self.counters, now=monotonic)
        self._pressure = Pressure(monotonic)
        self._connection = self._connected(settings.shared_group)
        self._ingest = Ingest(
            store,
            self._topics,
            settings.worker,
            self._publish_ack,
            counters=self.counters,
            limits=settings.limits,
            now=now,
        )
        self._retained = Retained(self._broker, self._topics, self._worker, self._presence.run)
        asking = Asking(store, self._retained.devices, self._hear_again, self.counters, now)
        self.ask_again = asking.run
        """The job `presences`."""
        self.figures_retained = self._retained.figures
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="collector ingest", daemon=True)

    def _connected(self, shared_group: str) -> Connection:
        topics = self._topics
        reports = topics.any_report
        return Connection(
            self._broker,
            f"edgemse-collector-{self._worker}",
            handlers={
                f"$share/{shared_group}/{reports}" if shared_group else reports: partial(
                    self._queue, Kind.REPORT
                ),
                # A shared subscription gets no retained messages: every worker notes every one.
                topics.any_presence: partial(self._queue, Kind.PRESENCE),
                topics.any_collector: self._heard,
            },
            on_failure=self._end,
            birth=self._publication(online=True),
            will=self._publication(online=False),
        )

    def start(self) -> None:
        """Connect to the broker and begin.

        Raises BrokerError if the first attempt fails, OtherStoreError if another store has the
        prefix.
        """
        found = self._retained.collectors(self._over)
        taken = checked(self._presence.store, found, take_over=self._take_over)
        self._neighbours = Neighbours(escape(self._worker), self._presence, taken)
        self._connection.start(must_connect=True, over=self._over)
        if not self._broker.username and not self._broker.tls:
            log.warning(
                "the broker %s let this collector in without a name: so it does with everybody, who"
                " can read and forge cells and acks; give it users and the access list of"
                " docs/security.md",
                self._connection.broker,
            )
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more in, commit and acknowledge what is queued, say goodbye.

        Raises StoreError if what was queued cannot be committed; the devices still hold it.
        """
        self._stopping.set()
        self._inbox.close()
        if self._thread.is_alive():
            self._thread.join()
        farewell: Publication | None = self._publication(online=False)
        if self._ingest.halted.is_set():
            farewell = self._retreat
        self._connection.stop(farewell=farewell)
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

    def metrics(self) -> str:
        """Return every counter and gauge in Prometheus' text format."""
        self.counters.set("queue", len(self._inbox))
        self.counters.set("queue_seconds", round(self._inbox.age_seconds()))
        self.counters.set("ack_seconds", round(self._pressure.told_seconds))
        self.counters.set("connected", int(self._connection.up))
        self.counters.follow("publications_refused", self._connection.refused)
        self.counters.follow("messages_failed", self._connection.handlers.failed)
        self.counters.follow("messages_unasked", self._connection.handlers.unasked)
        return self.counters.exposition(PREFIX)

    def announce(self, _stopping: Event) -> None:
        """Publish the presence again, with what the store says now: somebody may have cleared it.

        A job for every minute: devices hold back what they have while no collector is online.
        """
        since_ms = int((self._now() - TWINS_SECONDS) * 1000)
        with self._store.reading() as reading:
            (row,) = reading.rows(statements.CENSUS, (since_ms,))
        devices, online, twins, renamed, missing = row
        self.counters.set("devices", devices)
        self.counters.set("devices_online", online)
        self.counters.set("twins", twins)
        self.counters.set("devices_renamed", renamed)
        self._tell_doubles(twins, renamed)
        self.counters.set("commits_missing", missing)
        spread = devices / SPREAD_DEVICES_PER_SECOND if devices >= SPREAD_DEVICES else 0.0
        self._presence = msgspec.structs.replace(
            self._presence, spread_seconds=min(spread, SPREAD_SECONDS_MAX)
        )
        self._pressure.changes(self._inbox.age_seconds())
        self._publish_presence()

    def count_labels(self, _stopping: Event) -> None:
        """Add up what became of the labels in the store: the job `labels`."""
        names = ("matched", "orphan", "duplicate", "conflicting")
        with self._store.reading() as reading:
            ((*labels, expired),) = reading.rows(statements.LABELS)
        for name, total in zip(names, labels, strict=True):
            self.counters.set(f"labels_{name}", total)
        self.counters.set("predictions_expired", expired)

    def _publish_ack(self, ack: Publication) -> bool:
        self._tell_age()
        return self._connection.publish(ack)

    def _tell_age(self) -> None:
        """Tell devices if acks take longer now, or no longer, so that they wait that long."""
        if self._pressure.changes(self._inbox.age_seconds()):
            told = self._pressure.told_seconds
            log.warning("devices are told that an ack takes up to %g s (0: as usual)", told)
            self._publish_presence()

    def _tell_doubles(self, twins: int, renamed: int) -> None:
        """Log how many devices share a name or a producer, when they have become more."""
        told_twins, told_renamed = self._doubles
        if twins > told_twins:
            log.warning(
                "two boards report in turn under one name, of %d devices: edgemse fleet devices"
                " names them; give each board a name of its own",
                twins,
            )
        if renamed > told_renamed:
            log.warning(
                "%d devices report cells of a producer of another device: they were renamed, or"
                " somebody uses what he has overheard; edgemse fleet devices names them",
                renamed,
            )
        self._doubles = (twins, renamed)

    def _publish_presence(self) -> None:
        if not self._stopping.is_set() and not self._ingest.halted.is_set():
            self._connection.publish(self._publication(online=True))

    def _run(self) -> None:
        try:
            self._ingest.run(self._inbox, self._stopping)
        except BaseException as error:
            log.exception("the collector cannot go on")
            self._end(error)

    def _end(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self._inbox.close(drop=self._ingest.halted.is_set())
        self._over.set()

    def _publication(self, *, online: bool) -> Publication:
        presence = msgspec.structs.replace(
            self._presence, online=online, ack_seconds=self._pressure.told_seconds
        )
        topic = self._topics.collector(self._worker)
        return Publication(topic, encode_presence(presence), retain=True)

    def publish(self, publication: Publication) -> bool:
        """Hand something of the fleet's to the broker; False if that cannot be just now."""
        over = self._stopping.is_set() or self._ingest.halted.is_set()
        return not over and self._connection.publish(publication)

    def count_topics(self, published: int, left_out: int) -> None:
        """Note how many series have a topic, and how many have none for want of room."""
        self.counters.set("fleet_topics", published)
        self.counters.set("fleet_topics_left_out", left_out)

    def replay(self, row: int, device: str, report: bytes) -> None:
        """Take a report of the quarantine in once more; its row goes if nothing is refused."""
        self._inbox.put(Message(Kind.REPLAYED, escape(device), report, row))

    def _hear_again(self, device: str, payload: bytes) -> None:
        self._queue(Kind.PRESENCE, escape(device), payload)

    def _queue(self, kind: Kind, device: str, payload: bytes) -> None:
        self._inbox.put(Message(kind, device, payload))
        self._tell_age()

    def _heard(self, worker: str, payload: bytes) -> None:
        """Hear a collector's presence, the own one included."""
        if self._stopping.is_set() or self._ingest.halted.is_set():
            return
        match self._neighbours.heard(worker, payload):
            case Verdict.ANNOUNCE:
                self._publish_presence()
            case Verdict.WARN:
                log.warning(
                    "a collector called %r is, or was, on this broker too;"
                    " give each its own --worker",
                    self._worker,
                )
            case Verdict.CLEAR:
                topic = f"{self._topics.any_collector.removesuffix('+')}{worker}"
                self._connection.publish(Publication(topic, b"", retain=True))
            case Verdict.GIVE_WAY:
                self._give_way(worker)

    def _give_way(self, worker: str) -> None:
        """Take nothing more in, and acknowledge nothing more: another store has the prefix."""
        self._ingest.halted.set()
        error = StoreTakenOverError(
            f"collector {worker!r} with another store is on the topic prefix"
            f" {self._topics.prefix}; this one, with store {self._presence.store}, has ended, so"
            " that no device is told that two stores hold what one holds. Find out which store is"
            " to have the prefix, and start its collector with --take-over"
        )
        if worker != escape(self._worker):
            # Or the next start would find this store's presence beside the other's.
            self._retreat = Publication(self._topics.collector(self._worker), b"", retain=True)
        log.error("%s", error)
        self._end(error)
