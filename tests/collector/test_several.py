"""Several collectors on one PostgreSQL: any of them, or the server, is killed at any moment."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.agent import AgentProcess, ResendingClient
from support.broker import Mosquitto
from support.cells import START, cell
from support.device import FakeDevice
from support.postgres import PASSWORD, ROLE, SECRET_ROLE, Postgres
from support.processes import CollectorProcess, edgemse, total_of
from support.waiting import eventually

from edgemse import ErrorStats, Monitor
from edgemse.stats.error_stats import merge_all

PRESENCE_RUNS = 'edgemse_collector_job_runs_total{job="presence"}'
"""Of the job that each collector runs for itself."""


class Fleet:
    """An agent with a resending client and a Monitor, and two collectors on one store."""

    def __init__(self, store: str, broker: Mosquitto, folder: Path) -> None:
        self.store = store
        self.collectors = [
            CollectorProcess(
                store,
                broker.address,
                *("--worker", worker, "--shared-group", "all"),
                log=folder / f"{worker}.log",
            )
            for worker in ("one", "two")
        ]
        self.agent = AgentProcess(folder, broker.address, "5")
        self.client = ResendingClient(self.agent.socket)
        self.monitor = Monitor(socket=self.agent.socket, model="pump", version="2")
        self.truth = ErrorStats()
        self._rng = random.Random(7)

    def start(self) -> None:
        for each in self.collectors:
            each.start()
        self.agent.start()

    def feed(self, samples: int = 40) -> None:
        for number in range(samples):
            y_true, y_pred = self._rng.gauss(20, 3), self._rng.gauss(20, 3)
            self.truth.update(y_true, y_pred)
            if number % 2:
                self.client.add(y_true=y_true, y_pred=y_pred, segment=str(number % 7))
            else:
                self.monitor.observe(y_true, y_pred, segment=str(number % 5))
        self.client.exchange()

    def settle(self) -> None:
        """Wait until the clients know that everything is durable, then for the collectors."""
        eventually(self.client.exchange, 60)
        self.monitor.flush(60)
        eventually(lambda: self.agent.status()["cells_waiting"] == 0, 60)

    def check(self) -> None:
        total = total_of(self.store)["total"]
        assert total["count"] == self.truth.count
        assert total["mse"] == pytest.approx(self.truth.mse, rel=1e-12)

    def close(self) -> None:
        self.monitor.close(30)
        self.client.close()
        self.agent.kill()
        for each in self.collectors:
            each.close()


@pytest.fixture
def fleet(own_postgres: Postgres, broker: Mosquitto, tmp_path: Path) -> Iterator[Fleet]:
    with closing(Fleet(own_postgres.schema(), broker, tmp_path)) as fleet:
        fleet.start()
        yield fleet


def metric(collector: CollectorProcess, name: str) -> float:
    lines = collector.get("/metrics")[1].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_collectors_are_killed_in_turn_and_agents_hold_only_when_none_is_there(
    fleet: Fleet,
) -> None:
    one, two = fleet.collectors
    for gone, other in ((one, two), (two, one)):
        fleet.feed()
        gone.stop(signal.SIGKILL)
        fleet.feed()
        fleet.settle()  # the other one is enough
        assert fleet.agent.status()["collector_online"]
        fleet.check()
        if gone is two:
            other.stop(signal.SIGKILL)
            eventually(lambda: not fleet.agent.status()["collector_online"])
            fleet.feed()
            eventually(fleet.client.exchange)
            eventually(lambda: fleet.agent.status()["cells_waiting"] > 0)
        gone.start()
        if gone is two:
            other.start()
    fleet.settle()
    fleet.check()


def test_the_server_is_killed_under_load(fleet: Fleet, own_postgres: Postgres) -> None:
    for _ in range(2):
        fleet.feed()
        own_postgres.kill()
        fleet.feed()
        eventually(
            lambda: any(each.get("/health")[0] == 503 for each in fleet.collectors),
            60,
        )
        own_postgres.start()
        fleet.feed()
    fleet.settle()
    fleet.check()
    eventually(lambda: all(each.get("/health")[0] == 200 for each in fleet.collectors), 60)


def test_each_job_runs_in_one_of_the_collectors(fleet: Fleet) -> None:
    name = 'edgemse_collector_job_runs_total{job="quarantine"}'
    eventually(lambda: any(metric(each, name) > 0 for each in fleet.collectors))
    eventually(lambda: all(metric(each, PRESENCE_RUNS) > 0 for each in fleet.collectors))
    assert sorted(metric(each, name) > 0 for each in fleet.collectors) == [False, True]


def test_both_collectors_answer_the_same_and_take_their_share(
    own_postgres: Postgres, broker: Mosquitto, tmp_path: Path
) -> None:
    with closing(Fleet(own_postgres.schema(), broker, tmp_path)) as fleet:
        for each in fleet.collectors:
            each.start()
        devices = [FakeDevice(broker.address, f"pi-{number}") for number in range(4)]
        sent = []
        for sequence in range(30):
            for number, device in enumerate(devices):
                mine = [cell(number, sequence, 1 + n, start=START + 60 * sequence) for n in (0, 1)]
                sent.append(mine[1])
                for each in mine * 2:
                    device.send([each])
        for number, device in enumerate(devices):
            device.wait_for(sent[number :: len(devices)], 60)
            device.close()
        want = merge_all(each.stats for each in sent)
        for source in (*(each.url for each in fleet.collectors), fleet.store):
            got = total_of(source)["total"]
            assert got["count"] == want.count
            assert got["mse"] == pytest.approx(want.mse, rel=1e-12)
        taken = [metric(each, "edgemse_collector_reports_total") for each in fleet.collectors]
        assert sum(taken) == 480
        assert min(taken) > 0


def test_a_password_is_in_no_log(
    postgres: Postgres, broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres.admin(ROLE) as admin:
        admin.execute(f"CREATE SCHEMA IF NOT EXISTS logged AUTHORIZATION {SECRET_ROLE}")
    config = tmp_path / "collector.toml"
    address = postgres.address("logged", role=SECRET_ROLE, password=PASSWORD)
    config.write_text(f'store = "{address}"\n')
    bare = postgres.address("logged", role=SECRET_ROLE)
    log = tmp_path / "log"
    collector = CollectorProcess("", broker.address, "--config", str(config), log=log)
    with closing(collector):
        collector.start()
        assert f"postgresql://{SECRET_ROLE}@127.0.0.1" in collector.log()
        assert "ss%2Fw" not in collector.log()
        assert PASSWORD not in collector.log()
    failed = edgemse("fleet", "devices", "--from", bare)
    assert (failed.returncode, failed.stdout) == (76, "")
    assert "refuses the connection" in failed.stderr
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert edgemse("fleet", "devices", "--from", bare).returncode == 0
