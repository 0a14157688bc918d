"""A device reduced to what a test decides: it publishes reports and writes down acks."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from edgemse.cells import Cell, Identity, seal
from edgemse.mqtt import Broker, Connection, Publication
from edgemse.topics import Topics
from edgemse.wire import Ack, Refusal, Report, decode_ack, encode_report
from support.waiting import eventually


class FakeDevice:
    """Publishes under one name; `held` is the highest revision acked of each cell."""

    def __init__(self, address: str, name: str = "pi-1") -> None:
        self.name = name
        self.topics = Topics()
        self.acks: list[Ack] = []
        self._lock = Lock()
        self._connection = Connection(
            Broker.at(address),
            f"test-{name}",
            handlers={self.topics.ack(name): self._received},
        )
        self._connection.start()
        eventually(lambda: self._connection.up)

    @property
    def held(self) -> dict[Identity, int]:
        found: dict[Identity, int] = {}
        with self._lock:
            for ack in self.acks:
                for identity, revision in ack.committed.items():
                    found[identity] = max(revision, found.get(identity, 0))
        return found

    @property
    def refused(self) -> list[Refusal]:
        with self._lock:
            return [refusal for ack in self.acks for refusal in ack.refused]

    def send(self, cells: Iterable[Cell], *, named: str | None = None) -> None:
        sealed = tuple(map(seal, cells))
        report = Report(named or self.name, 1, True, sealed, {"lines": 7}, "run")
        self.publish(self.topics.report(self.name), encode_report(report))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        eventually(lambda: self._connection.publish(Publication(topic, payload, retain)))

    def wait_for(self, cells: Iterable[Cell], seconds: float = 20.0) -> None:
        """Wait until each cell is acked at its revision or a higher one."""
        wanted = {each.identity: each.revision for each in cells}
        eventually(lambda: all(self.held.get(name, 0) >= wanted[name] for name in wanted), seconds)

    def wait_for_some(self, count: int) -> None:
        """Wait until so many cells are acked."""
        eventually(lambda: len(self.held) >= count)

    def close(self) -> None:
        self._connection.stop()

    def _received(self, _level: str, payload: bytes) -> None:
        with self._lock:
            self.acks.append(decode_ack(payload))
