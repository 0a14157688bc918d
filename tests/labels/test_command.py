"""`edgemse labels send` to real agents on a real Mosquitto, one of them killed meanwhile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent import AgentProcess, ResendingClient
from support.broker import Mosquitto
from support.processes import EDGEMSE, edgemse
from support.waiting import eventually

from edgemse.mqtt import Broker, Connection, Publication
from edgemse.topics import Topics

LABELS = 1_500


@pytest.fixture
def agent(tmp_path: Path, broker: Mosquitto) -> Iterator[AgentProcess]:
    running = AgentProcess(tmp_path, broker.address, "5", durable_seconds=75, farewell_seconds=0.2)
    running.start()
    yield running
    running.kill()


def predict(agent: AgentProcess, count: int) -> None:
    client = ResendingClient(agent.socket)
    for number in range(count):
        client.add(id=number, y_pred=2.0)
    client.session.flush()
    eventually(client.exchange, 60)
    client.close()


def options(broker: Mosquitto) -> list[str]:
    named = ("--device", "device", "--id", "id", "--y-true", "y")
    return ["--broker", broker.address, *named, "--format", "json"]


def table(folder: Path, rows: list[str], name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text("device,id,y\n" + "".join(f"{row}\n" for row in rows))
    return path


def test_labels_are_confirmed_though_the_agent_is_killed(
    tmp_path: Path, broker: Mosquitto, agent: AgentProcess
) -> None:
    predict(agent, LABELS)
    path = table(tmp_path, [f"pi-1,{number},1.0" for number in range(LABELS)])
    command = [EDGEMSE, "labels", "send", str(path), *options(broker)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as sending:
        eventually(lambda: agent.status()["health"]["samples"] > 0, 60)
        agent.kill()
        agent.start()
        out, error = sending.communicate(timeout=60)
    assert sending.returncode == 0, error.decode()
    outcome = json.loads(out)
    assert (outcome["labels"], outcome["confirmed"], outcome["refused"]) == (LABELS, LABELS, [])
    agent.kill()  # what is confirmed is durable
    agent.start()
    status = agent.status()
    assert status["ids_waiting"] == 0
    again = edgemse("labels", "send", path, *options(broker))
    assert again.returncode == 0, again.stderr
    health = agent.status()["health"]
    assert health["samples"] == 0  # of this run: no label met a prediction again
    # The first message, or its copies on a slow machine, told that all is confirmed.
    assert health["lines_repeated"] % 500 == 0 < health["lines_repeated"]


def test_whoever_starts_an_agent_sees_that_it_is_connected(agent: AgentProcess) -> None:
    line = "connected to the broker"
    eventually(lambda: line in agent.log())
    assert agent.log().count(line) == 1


def test_who_is_away_is_named_and_the_rest_is_confirmed(
    tmp_path: Path, broker: Mosquitto, agent: AgentProcess
) -> None:
    predict(agent, 2)
    path = table(tmp_path, ["pi-1,0,1", "pi-9,0,1", "pi-1,1,1", "pi-1,2,"])
    done = edgemse("labels", "send", path, *options(broker), "--patience", "3s")
    assert done.returncode == 75
    assert "1 label of 1 device not confirmed after 3 s" in done.stderr
    assert "pi-9 (1)" in done.stderr
    assert agent.status()["health"]["samples"] == 2


@pytest.mark.parametrize(
    ("row", "code", "told"),
    [
        (",1,1", 65, "line 3: device name '': wanted 1 to 256 bytes"),
        ("fleet,1,1", 65, "line 3: device name 'fleet'"),
        ("pi-1,,1", 65, "line 3: id: got an empty name"),
        ("pi-1,1,high", 65, "line 3"),
    ],
)
def test_a_row_that_no_device_would_take_sends_nothing(
    tmp_path: Path, broker: Mosquitto, row: str, code: int, told: str
) -> None:
    path = table(tmp_path, ["pi-1,0,1", row])
    done = edgemse("labels", "send", path, *options(broker))
    assert done.returncode == code
    assert told in done.stderr


def test_what_a_device_refuses_is_said_with_its_line(tmp_path: Path, broker: Mosquitto) -> None:
    """A device of another version, which takes no ids above 9."""
    topics = Topics()

    def take(_rest: str, payload: bytes) -> None:
        hello, *lines, _flush = map(json.loads, payload.splitlines())
        session = {"session": hello["session"]}
        replies = [{"ledger": "l", "received": 0}]
        replies += [
            {"n": x["n"], "error": f"line {x['n'] + 2}: no"} for x in lines if x["id"] > "9"
        ]
        for reply in (*replies, {"durable": len(lines)}):
            data = json.dumps(session | reply).encode()
            device.publish(Publication(topics.label_ack("pi-1"), data))

    device = Connection(Broker.at(broker.address), "d", handlers={topics.label("pi-1"): take})
    device.start(must_connect=True)
    path = table(tmp_path, ["pi-1,8,1", "pi-1,9,1", "pi-1,91,1"])
    done = edgemse("labels", "send", path, *options(broker))
    device.stop()
    assert done.returncode == 75
    assert f"{path}: line 4: pi-1: no" in done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["confirmed"], len(outcome["refused"])) == (2, 1)


def test_nobody_at_the_broker_is_told(tmp_path: Path) -> None:
    path = table(tmp_path, ["pi-1,0,1"])
    command = ["--broker", "127.0.0.1:1", "--device", "device", "--id", "id", "--y-true", "y"]
    done = edgemse("labels", "send", path, *command)
    assert done.returncode == 69
    assert "no MQTT broker at 127.0.0.1:1" in done.stderr
