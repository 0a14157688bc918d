"""Reports through a real Mosquitto into a real collector process: totals exact each time."""

from __future__ import annotations

import random
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.broker import Mosquitto
from support.cells import START, cell
from support.device import FakeDevice
from support.processes import CollectorProcess, edgemse, total_of
from support.waiting import eventually

from edgemse import jobs
from edgemse.cells import Cell
from edgemse.collector import counters as collector_counters
from edgemse.mqtt import Broker, Connection
from edgemse.presence import Attribute, Presence, decode_presence, encode_presence
from edgemse.stats.error_stats import merge_all
from edgemse.topics import Topics
from edgemse.web import bounded


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
            revisions = [cell(number, sequence, revision, start=place) for revision in (1, 2, 3)]
            final.append((name, revisions[-1]))
            messages += [(name, each) for each in revisions * 3]
    rng.shuffle(messages)
    for name, each in messages:
        devices[name].send([each])
    for name, each in devices.items():
        each.wait_for(cell for sender, cell in final if sender == name)
    whole = [each for _, each in final]
    assert_exact(collector.url, whole)
    assert {group["by"]["device"] for group in total_of(collector.url)["groups"]} == set(devices)
    assert collector.stop() == 0
    assert_exact(path, whole)


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


@pytest.fixture
def presences(broker: Mosquitto) -> Iterator[list[Presence]]:
    """Everything that collectors say of themselves, in order; an empty one says that it is gone."""
    heard: list[Presence] = []
    gone = Presence(online=False, software="", run="")

    def hear(_worker: str, payload: bytes) -> None:
        heard.append(decode_presence(payload) if payload else gone)

    connection = Connection(
        Broker.at(broker.address), "watcher", handlers={Topics().any_collector: hear}
    )
    connection.start(must_connect=True)
    yield heard
    connection.stop()


def test_the_presence_is_retained_and_the_last_will_comes(
    collector: CollectorProcess, presences: list[Presence]
) -> None:
    eventually(lambda: presences and presences[-1].online)
    first = presences[-1]
    assert (len(first.store), first.spread_seconds) == (16, 0)
    collector.stop(signal.SIGKILL)
    eventually(lambda: not presences[-1].online)
    collector.start()
    eventually(lambda: presences[-1].online)
    assert presences[-1].run != first.run
    assert presences[-1].store == first.store
    collector.stop()
    eventually(lambda: not presences[-1].online)


@pytest.mark.parametrize("own", [False, True])
def test_an_old_last_will_does_not_silence_a_running_collector(
    collector: CollectorProcess, device: Connect, presences: list[Presence], own: bool
) -> None:
    eventually(lambda: presences and presences[-1].online)
    run = presences[-1].run if own else "an earlier one"
    will = encode_presence(Presence(online=False, software="edgemse 0", run=run))
    device("pi-1").publish(Topics().collector("main"), will, retain=True)
    eventually(lambda: any(each.software == "edgemse 0" for each in presences))
    eventually(lambda: presences[-1].online)


def test_a_presence_that_somebody_clears_is_published_again(
    collector: CollectorProcess, device: Connect, presences: list[Presence]
) -> None:
    eventually(lambda: presences and presences[-1].online)
    device("pi-1").publish(Topics().collector("main"), b"", retain=True)
    eventually(lambda: any(not each.run for each in presences))
    eventually(lambda: presences[-1].online)


def test_a_second_store_on_the_prefix_is_refused(
    broker: Mosquitto, collector: CollectorProcess, device: Connect, tmp_path: Path
) -> None:
    sender = device("pi-1")
    cells = [cell(1, sequence) for sequence in range(3)]
    sender.send(cells[:1])
    sender.wait_for(cells[:1])
    other = ("collector", "--broker", broker.address, "--store", tmp_path / "other.duckdb")
    for stop, named in ((False, "main"), (False, "b"), (True, "main"), (True, "b")):
        if stop and collector.running:
            assert collector.stop() == 0
        done = edgemse(*other, "--http", "127.0.0.1:0", "--worker", named)
        assert (done.returncode, done.stdout) == (82, ""), done.stderr
        assert "another store has this topic prefix" in done.stderr.splitlines()[-1]
        assert "--take-over" in done.stderr.splitlines()[-1]
    collector.start()
    sender.send(cells)
    sender.wait_for(cells)
    assert_exact(collector.url, cells)


@pytest.mark.parametrize("worker", ["main", "b"])
def test_a_store_that_is_taken_over_from_takes_nothing_more_in(
    broker: Mosquitto,
    collector: CollectorProcess,
    device: Connect,
    presences: list[Presence],
    tmp_path: Path,
    path: Path,
    worker: str,
) -> None:
    sender = device("pi-1")
    cells = [cell(1, sequence) for sequence in range(3)]
    sender.send(cells[:1])
    sender.wait_for(cells[:1])
    options = ("--worker", worker, "--take-over")
    other = CollectorProcess(tmp_path / "other.duckdb", broker.address, *options)
    other.start()
    assert collector.wait() == 83
    sender.send(cells[1:])
    sender.wait_for(cells[1:])
    assert_exact(other.url, cells[1:])
    assert_exact(path, cells[:1])
    assert collector.fails() == 82
    assert other.stop() == 0
    eventually(lambda: not presences[-1].online)
    assert presences[-1].store != presences[0].store
    again = CollectorProcess(tmp_path / "other.duckdb", broker.address, "--worker", worker)
    again.start()
    assert again.stop() == 0


def test_a_running_collector_gives_way_to_another_store(
    collector: CollectorProcess, device: Connect, path: Path, presences: list[Presence]
) -> None:
    sender = device("pi-1")
    born = encode_presence(Presence(True, "edgemse 1", "run", store="another"))
    sender.publish(sender.topics.collector("b"), born)
    assert collector.wait() == 83
    assert "'b' with another store" in collector.log().splitlines()[-1]
    eventually(lambda: not presences[-1].run)
    sender.send([cell()])
    collector.start()
    assert total_of(collector.url)["total"]["count"] == 0


def test_a_broker_that_lost_its_memory_gets_the_presence_again(
    broker: Mosquitto, collector: CollectorProcess, device: Connect
) -> None:
    broker.restart()
    eventually(lambda: collector.get("/health")[0] == 503)
    eventually(lambda: collector.get("/health")[0] == 200)
    sender = device("pi-1")
    sender.send([cell()])
    sender.wait_for([cell()])


def test_the_members_of_a_group_divide_the_reports(
    broker: Mosquitto, tmp_path: Path, device: Connect
) -> None:
    sender = device("pi-1")
    born = encode_presence(Presence(True, "edgemse 1", "run"))
    sender.publish(sender.topics.presence("pi-1"), born, retain=True)
    collector = CollectorProcess(tmp_path / "fleet.duckdb", broker.address, "--shared-group", "all")
    collector.start()
    elsewhere: list[bytes] = []
    other = Connection(
        Broker.at(broker.address),
        "another member",
        handlers={f"$share/all/{Topics().any_report}": lambda _, data: elsewhere.append(data)},
    )
    other.start(must_connect=True)
    cells = [cell(1, sequence) for sequence in range(40)]
    for each in cells:
        sender.send([each])
    eventually(lambda: len(sender.held) + len(elsewhere) == 40)
    assert sender.held
    assert elsewhere
    (only,) = collector.get("/api/v1/devices")[1]["devices"]
    assert only["online"]
    other.stop()
    collector.close()


def test_http_answers_health_metrics_and_questions(
    broker: Mosquitto, collector: CollectorProcess, device: Connect
) -> None:
    sender = device("pi-1")
    site = {"site": Attribute("north")}
    born = encode_presence(Presence(True, "edgemse 1", "run", attributes=site))
    sender.publish(sender.topics.presence("pi-1"), born)
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
    families = list(text_string_to_metric_families(metrics))
    found = {each.name: each.value for family in families for each in family.samples}
    assert found["edgemse_collector_cells_total"] == 2
    assert found["edgemse_collector_connected"] == 1
    assert found["edgemse_collector_job_runs_total"] >= 1
    page = (Path(__file__).parents[2] / "docs" / "collector.md").read_text()
    listed = page.partition("Metrics are called")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `(\w+)`", listed, re.MULTILINE))
    known = collector_counters.MEANINGS | bounded.MEANINGS | jobs.MEANINGS
    assert told == known.keys()
    for name, (kind, _) in known.items():
        assert f"edgemse_collector_{name}" + "_total" * (kind == "counter") in found
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
