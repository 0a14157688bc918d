"""Real agents, real brokers, a real collector, all of them killed: totals exact each time."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.agent import AGENT
from support.amqtt import Amqtt
from support.broker import Mosquitto
from support.processes import CollectorProcess, total_of
from support.waiting import eventually
from support.whole import Fleet

from edgemse.mqtt import Broker, Connection, Publication


@pytest.fixture(params=["mosquitto", "amqtt"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    if request.param == "mosquitto":
        broker: Any = request.getfixturevalue("broker")
    else:
        broker = Amqtt(tmp_path)
        broker.start()
    running = Fleet(broker, tmp_path)
    try:
        running.collector.start()
        running.agent.start()
        yield running
    finally:
        running.close()
        broker.stop()


def test_everything_arrives(fleet: Fleet) -> None:
    fleet.feed()
    fleet.settle()
    fleet.check()


def test_acks_that_are_lost_come_again(
    start_broker: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = start_broker(access="topic deny edgemse/v1/+/ack\ntopic readwrite #\n")
    with closing(Fleet(broker, tmp_path)) as fleet:
        fleet.collector.start()
        fleet.agent.start()
        fleet.feed()
        eventually(fleet.client.exchange)
        fleet.monitor.flush()
        # The collector has it all, the agent cannot know, and sends it again.
        eventually(lambda: total_of(fleet.collector.url)["total"]["count"] == fleet.truth.count)
        eventually(lambda: fleet.agent.status()["health"].get("reports_resent", 0) >= 2, 30)
        assert fleet.agent.status()["cells_waiting"] > 0
        broker.reload("topic readwrite #\n")
        fleet.settle()
        fleet.check()


def test_the_broker_dies_and_forgets(fleet: Fleet) -> None:
    fleet.feed()
    fleet.client.exchange()
    fleet.broker.stop()
    fleet.feed()
    eventually(fleet.client.exchange)
    fleet.broker.start()
    fleet.feed()
    fleet.settle()
    fleet.check()


def test_the_agent_is_killed_again_and_again(fleet: Fleet) -> None:
    for _ in range(3):
        fleet.feed(30)
        fleet.client.exchange()
        fleet.agent.kill()
        fleet.feed(30)
        fleet.agent.start()
        fleet.client.exchange()
    fleet.settle()
    fleet.check()


def test_the_collector_is_killed_again_and_again(fleet: Fleet) -> None:
    for _ in range(2):
        fleet.feed(30)
        fleet.client.exchange()
        fleet.collector.close()
        fleet.feed(30)
        fleet.client.exchange()
        fleet.collector.start()
    fleet.settle()
    fleet.check()


def test_sigterm_loses_nothing_even_with_nobody_to_send_to(fleet: Fleet) -> None:
    fleet.collector.stop()
    fleet.feed()
    eventually(fleet.client.exchange)
    fleet.monitor.flush(30)
    assert fleet.agent.stop(signal.SIGINT) == 0
    assert "waiting in" in fleet.agent.log()
    fleet.collector.start()
    fleet.agent.start()
    fleet.settle()
    fleet.check()


def test_lines_from_a_file_arrive_before_the_agent_ends(broker: Mosquitto, tmp_path: Path) -> None:
    collector = CollectorProcess(tmp_path / "fleet.duckdb", broker.address)
    collector.start()
    lines = (
        b'{"y_true": 1, "y_pred": 2}\n\nbad\n{"y_true": 1, "y_pred": 3}'  # no newline at the end
    )
    options = ["--broker", broker.address, "--device", "pi", "--ledger", str(tmp_path / "l")]
    ran = subprocess.run(
        [*AGENT, *options, "--stdin"],
        input=lines,
        capture_output=True,
        timeout=60,
    )
    assert ran.returncode == 0
    assert b"standard input, line 3: not JSON" in ran.stderr
    assert total_of(collector.url)["total"]["mse"] == 2.5
    collector.close()


def test_reports_again_and_out_of_order_change_nothing(fleet: Fleet) -> None:
    seen: list[Publication] = []
    listener = Connection(
        Broker.at(fleet.broker.address, protocol=fleet.broker.protocol),
        "listener",
        handlers={
            "edgemse/v1/+/report": lambda device, payload: seen.append(
                Publication(f"edgemse/v1/{device}/report", payload)
            )
        },
    )
    listener.start(must_connect=True)
    for _ in range(4):
        fleet.feed(30)
        fleet.settle()
    eventually(lambda: len(seen) >= 4)
    again = [report for report in seen for _ in range(3)]
    random.Random(11).shuffle(again)
    taken = fleet.collector.get("/metrics")[1]
    for report in again:
        listener.publish(report)
    eventually(lambda: fleet.collector.get("/metrics")[1] != taken)
    fleet.feed(30)
    fleet.settle()
    listener.stop()
    fleet.check()
