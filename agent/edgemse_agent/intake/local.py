"""Local MQTT topics as a source: a connection of their own, a bounded queue, the rules."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from edgemse.logs import Ration
from edgemse.mqtt import Connection, Message
from edgemse_agent.agent import Agent
from edgemse_agent.clock import Clock
from edgemse_agent.intake.filters import cover
from edgemse_agent.intake.mapping import Mapped, Mapping
from edgemse_agent.intake.nearest import NearestJoin
from edgemse_agent.lines import LabelLine, PredictionLine
from edgemse_agent.settings import AgentSettings
from edgemse_agent.status import BrokerStatus

__all__ = ["LocalTopics", "Queue"]

log = logging.getLogger(__name__)
log.addFilter(Ration())

MESSAGES_MAX = 10_000
BYTES_MAX = 8_388_608
"""Messages that wait for the agent's loop; past either they are dropped and counted."""
AT_ONCE_MAX = 500
"""Messages between two looks at the other clients."""


class Queue:
    """Messages on their way from the connection's thread to the loop, bounded in number and size.

    `wake` is called when the first one waits.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque()
        self._bytes = self._dropped = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> None:
        """Take a message, or count it as dropped."""
        size = len(message.payload) + len(message.topic)
        with self._lock:
            if len(self._messages) >= MESSAGES_MAX or self._bytes + size > BYTES_MAX:
                self._dropped += 1
                return
            self._messages.append(message)
            self._bytes += size
            first = len(self._messages) == 1
        if first:
            self._wake()

    def take(self) -> tuple[list[Message], int, bool]:
        """Return some messages, how many were dropped since, and whether more wait."""
        with self._lock:
            count = min(AT_ONCE_MAX, len(self._messages))
            taken = [self._messages.popleft() for _ in range(count)]
            self._bytes -= sum(len(each.payload) + len(each.topic) for each in taken)
            dropped, self._dropped = self._dropped, 0
            return taken, dropped, bool(self._messages)


class LocalTopics:
    """Makes lines of messages, by the rules of [[mqtt]], and hands them to the agent.

    The connection is another one than the uplink's even at the same broker, so that a topic that is
    denied here stops no report. `soon` runs a call in the agent's loop, from any thread.
    """

    def __init__(
        self,
        settings: AgentSettings,
        agent: Agent,
        clock: Clock,
        soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self._agent, self._soon = agent, soon
        self._address = settings.local_broker.address
        self._mapping = Mapping(settings.mqtt)
        self._nearest = NearestJoin(
            agent,
            clock,
            max((rule.within_seconds for rule in settings.mqtt), default=0.0),
            lambda count: agent.counters.count("mqtt_unpaired", count),
        )
        self._queue = Queue(lambda: soon(self.drain))
        self._spoke: set[int] = set()
        """Rules that have made a line: what their messages lack is not a misspelt path."""
        self._connection = Connection(
            settings.read_local_broker(),
            f"{settings.device}-intake",
            subscriptions=cover(self._mapping.filters),
            on_message=self._queue.put,
            on_failure=lambda error: soon(lambda: agent.note_defect("the local topics", error)),
        )

    def start(self) -> None:
        """Connect, and stay connected."""
        self._connection.start()

    def stop(self) -> None:
        """Disconnect; what has come and waits is still to be drained."""
        self._connection.stop()

    def drain(self) -> None:
        """Take what waits, in the agent's loop, in parts."""
        messages, dropped, more = self._queue.take()
        if dropped:
            self._agent.counters.count("mqtt_dropped", dropped)
            log.warning("%d messages of local topics came too fast, and are lost", dropped)
        for message in messages:
            try:
                self.take(message)
            except Exception as error:  # a bug costs one message
                self._agent.note_defect(f"a message on {message.topic[:200]!r}", error)
        if more:
            self._soon(self.drain)

    def drain_all(self) -> None:
        """Take all that waits, at the end of a run."""
        while len(self._queue):
            self.drain()

    def take(self, message: Message) -> None:
        """Take one message: old ones and second copies are counted and passed over."""
        found = self._mapping.apply(message.topic, message.payload)
        if not found:
            return  # of a topic that only the wider subscription matches
        counters = self._agent.counters
        counters.count("mqtt_messages")
        if message.retained or message.repeated:
            counters.count("mqtt_retained" if message.retained else "mqtt_repeated")
            return
        for mapped in found:
            wrong = mapped.wrong or self._say(mapped)
            if wrong:
                counters.count("mqtt_bad")
                # The number is part of the kind, so that each rule has its own ration of the log.
                log.warning(f"mqtt rule {mapped.rule}: %s: %s", message.topic[:200], wrong)

    def tick(self) -> None:
        """Decide what is joined by time, and say how the connection stands."""
        self._nearest.tick()
        connection = self._connection
        self._agent.mqtt_broker = BrokerStatus(
            self._address,
            connection.up,
            connection.connects,
            connection.refused,
            connection.last_error,
        )

    def _say(self, mapped: Mapped) -> str:
        """Hand a line to the agent; return what is wrong with it, if anything."""
        said, counters = mapped.said, self._agent.counters
        if said is None:
            counters.count("mqtt_absent")
            if mapped.missing and mapped.rule not in self._spoke:
                log.warning(f"mqtt rule {mapped.rule}: no value yet: %s", mapped.absent)
            return ""
        self._spoke.add(mapped.rule)
        counters.count("mqtt_lines")
        if mapped.join and isinstance(said, PredictionLine):
            within = self._mapping.rule(mapped.rule).within_seconds
            self._nearest.predict(mapped.join, said, within)
        elif mapped.join and isinstance(said, LabelLine):
            self._nearest.label(mapped.join, said)
        elif not self._agent.take(said):
            return f"id {said[0]!r} has a prediction of this series already"
        return ""
