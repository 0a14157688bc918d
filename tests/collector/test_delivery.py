"""Reports through a real Mosquitto into a real collector process: totals exact each time."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.broker import Mosquitto
from support.cells import START, cell
from support.device import FakeDevice
from support.processes import CollectorProcess, edgemse, total_of
from support.waiting import eventually

from edgemse.cells import Cell
from edgemse.mqtt import Broker, Connection
from edgemse.stats.error_stats import merge_all
from edgemse.topics import Topics
from edgemse.wire import State, decode_state, encode_state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.duckdb"


@pytest.fixture
def collector(broker: Mosquitto, path: Path) -> Iterator[CollectorProcess]:
    collector = CollectorProcess(path, broker.address)
    collector.start()
    yield collector
    collector.close()


Connect = Callable[[str], FakeDevice]


@pytest.fixture
def device(broker: Mosquitto) -> Iterator[Connect]:
    made: list[FakeDevice] = []

    def connect(name: str) -> FakeDevice:
        made.append(FakeDevice(broker.address, name))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def assert_exact(source: object, cells: list[Cell]) -> None:
    want = merge_all(each.stats for each in cells)
    got = total_of(source)["total"]
    assert got["count"] == want.count
    assert got["mse"] == pytest.approx(want.mse, rel=1e-13)
    assert got["error_variance"] == pytest.approx(want.error_variance, rel=1e-13)


def test_duplicates_reordering_and_stale_revisions_change_nothing(
    collector: CollectorProcess, device: Connect, path: Path
) -> None:
    rng = random.Random(5)
    devices = {name: device(name) for name in ("pi-1", "pi-2", "hall 3/north")}
    final, messages = [], []
    for number, name in enumerate(devices):
        for sequence in range(10):
            place = START + 60 * sequence
            revisions = [
                cell(number, sequence, revision, device=name, start=place) for revision in (1, 2, 3)
            ]
            final.append(revisions[-1])
            messages += [(name, each) for each in revisions * 3]
    rng.shuffle(messages)
    for name, each in messages:
        devices[name].send([each])
    for name, each in devices.items():
        each.wait_for(cell for cell in final if cell.device == name)
    assert_exact(collector.url, final)
    assert {group["by"]["device"] for group in total_of(collector.url)["groups"]} == set(devices)
    assert collector.stop() == 0
    assert_exact(path, final)


def test_a_killed_collector_has_acked_only_what_it_kept(
    broker: Mosquitto, collector: CollectorProcess, device: Connect, path: Path
) -> None:
    sender = device("pi-1")
    cells = [cell(1, sequence, start=START + 60 * sequence) for sequence in range(300)]
    for wanted in (60, 120, 180):
        for start in range(0, 300, 10):
            sender.send(cells[start : start + 10])
        sender.wait_for_some(wanted)
        collector.stop(signal.SIGKILL)
        acked = dict(sender.held)
        collector.start()
        got = total_of(collector.url)["total"]["count"]
        assert got >= 20 * len(acked)
    for start in range(0, 300, 10):
        sender.send(cells[start : start + 10])
    sender.wait_for(cells)
    assert_exact(collector.url, cells)


DIES_COMMITTING = """
import os, sys
from edgemse.cli.entry import main
from edgemse.stores.duckdb import DuckDBStore
moment, real = sys.argv.pop(1), DuckDBStore.commit
def commit(self, batch):
    if batch.cells and moment == "before":
        os.kill(os.getpid(), 9)
    held = real(self, batch)
    if batch.cells:
        os.kill(os.getpid(), 9)
    return held
DuckDBStore.commit = commit
sys.exit(main())
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_the_commit_costs_nothing(
    broker: Mosquitto, device: Connect, path: Path, moment: str
) -> None:
    collector = CollectorProcess(path, broker.address)
    script = (sys.executable, "-c", DIES_COMMITTING, moment)
    collector.start(command=script)
    sender = device("pi-1")
    cells = [cell(1, sequence) for sequence in range(5)]
    sender.send(cells)
    assert collector.wait() == -signal.SIGKILL
    assert not sender.held
    collector.start()
    kept = total_of(collector.url)["total"]["count"]
    assert kept == (0 if moment == "before" else 100)
    sender.send(cells)
    sender.wait_for(cells)
    assert_exact(collector.url, cells)
    collector.close()


def test_lost_acks_are_made_up_for_by_sending_again(
    collector: CollectorProcess, device: Connect, broker: Mosquitto
) -> None:
    cells = [cell(1, sequence) for sequence in range(20)]
    first = device("pi-1")
    first.send(cells)
    first.close()
    again = device("pi-1")
    again.send(cells[:10])
    again.send(cells)
    again.wait_for(cells)
    assert_exact(collector.url, cells)


def test_an_ordered_end_commits_and_acks_what_is_queued(
    collector: CollectorProcess, device: Connect, path: Path
) -> None:
    sender = device("pi-1")
    cells = [cell(1, sequence) for sequence in range(500)]
    for start in range(0, 500, 5):
        sender.send(cells[start : start + 5])
    eventually(lambda: sender.held)
    assert collector.stop(signal.SIGINT) == 0
    got = total_of(path)["total"]["count"]
    # Every ack was handed to the broker before the collector left; they may still be on their way.
    eventually(lambda: 20 * len(sender.held) == got)


def test_the_state_is_retained_and_the_last_will_comes(
    broker: Mosquitto, collector: CollectorProcess
) -> None:
    heard: list[State] = []
    topics = Topics()
    connection = Connection(
        Broker.at(broker.address),
        "watcher",
        subscriptions=(topics.any_collector,),
        on_message=lambda _topic, payload: heard.append(decode_state(payload)),
    )
    connection.start()
    eventually(lambda: heard and heard[-1].online)
    collector.stop(signal.SIGKILL)
    eventually(lambda: not heard[-1].online)
    collector.start()
    eventually(lambda: heard[-1].online)
    assert heard[-1].run != heard[0].run
    collector.stop()
    eventually(lambda: not heard[-1].online)
    connection.stop()


def test_an_old_last_will_does_not_silence_a_running_collector(
    broker: Mosquitto, collector: CollectorProcess, device: Connect
) -> None:
    heard: list[State] = []
    topics = Topics()
    connection = Connection(
        Broker.at(broker.address),
        "watcher",
        subscriptions=(topics.any_collector,),
        on_message=lambda _topic, payload: heard.append(decode_state(payload)),
    )
    connection.start()
    eventually(lambda: heard and heard[-1].online)
    will = b'{"online":false,"software":"edgemse 0","run":"an earlier one"}'
    device("pi-1").publish(topics.collector("main"), will, retain=True)
    eventually(lambda: any(not each.online for each in heard))
    eventually(lambda: heard[-1].online)
    connection.stop()


def test_a_broker_that_lost_its_memory_gets_the_state_again(
    broker: Mosquitto, collector: CollectorProcess, device: Connect
) -> None:
    broker.restart()
    eventually(lambda: collector.get("/health")[0] == 503)
    eventually(lambda: collector.get("/health")[0] == 200)
    sender = device("pi-1")
    sender.send([cell()])
    sender.wait_for([cell()])


def test_collectors_of_one_group_divide_the_reports(
    broker: Mosquitto, tmp_path: Path, device: Connect
) -> None:
    sender = device("pi-1")
    state = encode_state(State(True, "edgemse 1", "run"))
    sender.publish(sender.topics.state("pi-1"), state, retain=True)
    workers = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.duckdb"
        options = ("--worker", name, "--shared-group", "all")
        workers.append(CollectorProcess(path, broker.address, *options))
        workers[-1].start()
    cells = [cell(1, sequence) for sequence in range(40)]
    for each in cells:
        sender.send([each])
    sender.wait_for(cells)
    counts = [total_of(worker.url)["total"]["count"] // 20 for worker in workers]
    assert sum(counts) == 40
    assert min(counts) > 0
    for worker in workers:
        (only,) = worker.get("/api/v1/devices")[1]["devices"]
        assert only["online"]
        worker.close()


def test_http_answers_health_metrics_and_questions(
    broker: Mosquitto, collector: CollectorProcess, device: Connect
) -> None:
    sender = device("pi-1")
    state = State(True, "edgemse 1", "run", attributes={"site": "north"})
    sender.publish(sender.topics.state("pi-1"), encode_state(state))
    sender.send([cell(1), cell(2, series=cell().series._replace(model="other"))])
    sender.wait_for([cell(1), cell(2)])
    status, answer = collector.get("/api/v1/variance?by=site&by=model")
    assert status == 200
    assert [group["by"] for group in answer["groups"]] == [
        {"site": "north", "model": "model"},
        {"site": "north", "model": "other"},
    ]
    assert collector.get("/api/v1/variance?model=other")[1]["total"]["count"] == 20
    assert collector.get("/api/v1/variance?since=2027-01-01")[1]["total"]["mse"] is None
    (only,) = collector.get("/api/v1/devices")[1]["devices"]
    assert (only["device"], only["online"], only["count"]) == ("pi-1", True, 40)
    assert only["clock"] == "synchronised"
    metrics = collector.get("/metrics")[1]
    assert "edgemse_collector_cells_total 2.0" in metrics
    assert "edgemse_collector_connected 1.0" in metrics
    status, answer = collector.get("/api/v1/variance?by=nope")
    assert (status, answer["kind"]) == (400, "ColumnError")
    assert "site" in answer["error"]
    assert collector.get("/api/v1/variance?until=never")[0] == 400
    status, answer = collector.get("/nothing")
    assert (status, answer) == (404, {"error": "GET /nothing: Not Found"})
    broker.stop()
    status, answer = eventually(
        lambda: found if (found := collector.get("/health"))[0] == 503 else None
    )
    assert "no connection to the broker" in answer["reasons"][0]


def test_a_second_collector_says_why_it_cannot_run(
    broker: Mosquitto, collector: CollectorProcess, path: Path
) -> None:
    common = ("collector", "--broker", broker.address)
    done = edgemse(*common, "--store", path, "--http", "127.0.0.1:0")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (73, "", 1)
    assert "PID" in done.stderr
    http = collector.url.removeprefix("http://")
    done = edgemse(*common, "--store", path.with_name("other.duckdb"), "--http", http)
    assert (done.returncode, done.stderr.count("\n")) == (71, 1)
    assert not path.with_name("other.duckdb").exists()
    done = edgemse("fleet", "variance", "--from", path)
    assert (done.returncode, done.stderr.count("\n")) == (73, 1)
