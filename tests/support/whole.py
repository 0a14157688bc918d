"""A whole fleet of one device, every part of it real."""

from __future__ import annotations

import random
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest

from edgemse import ErrorStats, Monitor
from support.agent import AgentProcess, ResendingClient
from support.processes import CollectorProcess, total_of
from support.waiting import eventually


class AnyBroker(Protocol):
    """A broker's process: where it listens and which MQTT it speaks."""

    address: str
    protocol: str

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Fleet:
    """One device with a resending client and a Monitor, its broker and its collector."""

    def __init__(self, broker: AnyBroker, folder: Path) -> None:
        self.broker = broker
        self.agent = AgentProcess(folder, broker.address, broker.protocol)
        self.store = folder / "fleet.duckdb"
        self.collector = CollectorProcess(self.store, broker.address, "--protocol", broker.protocol)
        self.client = ResendingClient(self.agent.socket)
        self.monitor = Monitor(socket=self.agent.socket, model="pump", version="2")
        self.truth = ErrorStats()
        self._rng = random.Random(7)
        self._ids = count()

    def feed(self, samples: int = 50) -> None:
        """Feed samples whole, as prediction and label, and by the Monitor."""
        for number in range(samples):
            y_true, y_pred = self._rng.gauss(20, 3), self._rng.gauss(20, 3)
            self.truth.update(y_true, y_pred)
            if number % 3 == 0:
                self.client.add(y_true=y_true, y_pred=y_pred)
            elif number % 3 == 1:
                key = next(self._ids)
                self.client.add(id=key, y_pred=y_pred, version="1")
                self.client.add(id=key, y_true=y_true)
            else:
                self.monitor.observe(y_true, y_pred, segment=str(number % 2))

    def settle(self) -> None:
        """Wait until the clients know that everything is durable, then for the collector."""
        eventually(self.client.exchange, 60)
        self.monitor.flush(60)
        eventually(lambda: self.agent.status()["cells_waiting"] == 0, 60)

    def check(self) -> None:
        total = total_of(self.collector.url)["total"]
        assert total["count"] == self.truth.count
        assert total["mse"] == pytest.approx(self.truth.mse, rel=1e-12)

    def close(self) -> None:
        self.monitor.close(30)
        self.client.close()
        self.agent.kill()
        self.collector.close()
