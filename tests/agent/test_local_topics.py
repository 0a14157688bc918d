"""A real agent on a real Mosquitto: local topics in, samples out, whatever restarts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgemse_agent.intake.local import Queue
from support.agent import AGENT, AgentProcess
from support.broker import Mosquitto
from support.waiting import eventually

from edgemse.mqtt import Broker, Connection, Message, Publication

RULES = """
[[mqtt]]
topic = "zigbee2mqtt/{room}/climate"
y_true = ".temperature"
join = "{room}"

[[mqtt]]
topic = "model/{room}/out"
y_pred = ".forecast[0].t"
join = "{room}"
within_seconds = 600
segment = "{room}"

[[mqtt]]
topic = "tele/{plug}/SENSOR"
y_true = ".ENERGY.Power"
y_pred = ".ENERGY.Expected"
model = "plug"
segment = "{plug}"

[[mqtt]]
topic = "esphome/outside"
value = "."
measure = "feature:outside"

[[mqtt]]
topic = "flow/prediction"
y_pred = ".y"
id = "{.id}"
model = "flow"

[[mqtt]]
topic = "flow/label"
y_true = ".y"
id = "{.id}"
"""


class Home:
    """An agent with the rules, and somebody who publishes to its local broker."""

    def __init__(self, folder: Path, uplink: Mosquitto, local: Mosquitto, protocol: str) -> None:
        self.local = local
        place = f'[mqtt_broker]\naddress = "{local.address}"\nprotocol = "{protocol}"\n'
        other = place if local is not uplink else ""
        rules = RULES + other
        self.agent = AgentProcess(folder, uplink.address, "5", rules, farewell_seconds=0.2)
        self.publisher = Connection(Broker.at(local.address), "publisher")
        self.publisher.start()
        eventually(lambda: self.publisher.up)
        self.agent.start()
        self.connected(1)

    def connected(self, times: int) -> None:
        eventually(lambda: self.broker()["connected"] and self.broker()["connects"] >= times, 30)

    def broker(self) -> dict[str, object]:
        return self.agent.status()["mqtt_broker"] or {"connected": False}

    def say(self, topic: str, payload: object, *, retain: bool = False) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        eventually(lambda: self.publisher.publish(Publication(topic, data, retain)))

    def counted(self, **wanted: int) -> None:
        """Wait until the counters are as wanted; they stay so while a further message passes."""

        def found() -> dict[str, int]:
            health = self.agent.status()["health"]
            return {name: health[name] for name in wanted}

        eventually(lambda: found() == wanted or found_more(found(), wanted))
        assert found() == wanted

    def close(self) -> None:
        self.publisher.stop()
        self.agent.kill()


def found_more(found: dict[str, int], wanted: dict[str, int]) -> bool:
    return any(found[name] > wanted[name] for name in wanted)


@pytest.fixture(params=["the same broker", "another broker, 5", "another broker, 3.1.1"])
def home(
    request: pytest.FixtureRequest, tmp_path: Path, start_broker: Callable[..., Mosquitto]
) -> Iterator[Home]:
    uplink = start_broker()
    local = uplink if request.param == "the same broker" else start_broker()
    found = Home(tmp_path, uplink, local, request.param.split()[-1])
    yield found
    found.close()


def test_messages_of_every_kind_become_lines(home: Home) -> None:
    home.say("zigbee2mqtt/hall/climate", {"temperature": "21.5", "linkquality": 80})
    home.say("model/hall/out", {"forecast": [{"t": 21.0}, {"t": 22.0}]})
    home.say("zigbee2mqtt/hall/climate", {"temperature": 21.6})
    home.say("tele/plug-3/SENSOR", {"ENERGY": {"Power": 40, "Expected": "42"}})
    home.say("tele/plug-3/SENSOR", {"ENERGY": {"Power": None, "Expected": "42"}})
    home.say("esphome/outside", b"unavailable")
    home.say("esphome/outside", b"7.25")
    home.say("flow/label", {"id": 7, "y": 1.0})
    home.say("flow/prediction", {"id": 7, "y": 1.5})
    home.say("flow/prediction", {"id": 7, "y": 1.5})
    home.say("flow/prediction", {"id": 8, "y": "about 2"})
    home.say("flow/else", {"id": 8})
    home.counted(
        mqtt_messages=11,
        mqtt_lines=8,
        mqtt_absent=2,
        mqtt_bad=2,
        predictions_repeated=1,
        samples=4,
        mqtt_retained=0,
    )
    log = home.agent.log()
    assert "mqtt rule 5: flow/prediction: y: got" not in log
    assert "mqtt rule 5: flow/prediction: y_pred: got 'about 2' at .y, wanted a number" in log
    assert "id '7' has a prediction of this series already" in log


def test_a_retained_value_is_old_and_not_counted_again(home: Home) -> None:
    topic, payload = "tele/plug/SENSOR", {"ENERGY": {"Power": 1, "Expected": 2}}
    home.say(topic, payload, retain=True)
    home.counted(samples=1, mqtt_retained=0)
    assert home.agent.stop() == 0
    home.agent.start()
    home.connected(1)
    home.counted(mqtt_retained=1, samples=0)
    home.say(topic, payload, retain=True)
    home.counted(samples=1, mqtt_retained=1)


def test_the_local_broker_and_the_agent_may_restart(home: Home) -> None:
    payload = {"ENERGY": {"Power": 1, "Expected": 2}}
    home.say("tele/plug/SENSOR", payload)
    home.counted(samples=1)
    home.say("model/hall/out", {"forecast": [{"t": 21.0}]})
    home.counted(mqtt_lines=2)
    home.local.restart()
    home.connected(2)
    home.say("tele/plug/SENSOR", payload)
    home.counted(samples=2)
    eventually(lambda: "again, after" in home.agent.log())
    assert home.agent.stop() == 0
    home.agent.start()
    home.connected(1)
    home.say("zigbee2mqtt/hall/climate", {"temperature": 20.0})
    home.counted(samples=1)  # the prediction waited in the ledger


def test_a_local_broker_that_is_away_stops_no_report_and_may_want_a_password(
    tmp_path: Path, start_broker: Callable[..., Mosquitto]
) -> None:
    uplink, local = start_broker(), start_broker({"sensors": "secret"})
    local.stop()
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    broker = f'address = "{local.address}"\nusername = "sensors"\npassword_file = "{password}"\n'
    rules = f"{RULES}\n[mqtt_broker]\n{broker}"
    agent = AgentProcess(tmp_path, uplink.address, "5", rules, farewell_seconds=0.2)
    try:
        agent.start()
        eventually(lambda: agent.status()["broker"]["connected"])
        eventually(lambda: "no MQTT broker at" in agent.status()["mqtt_broker"]["last_error"])
        assert not agent.status()["mqtt_broker"]["connected"]
        local.start()
        eventually(lambda: agent.status()["mqtt_broker"]["connected"], 30)
        assert agent.status()["broker"]["connects"] == 1
    finally:
        agent.kill()


def test_a_flood_is_bounded_and_counted() -> None:
    woken: list[bool] = []
    queue = Queue(lambda: woken.append(True))
    for _ in range(12_000):
        queue.put(Message("t", b"x", False, False))
    assert len(queue) == 10_000
    assert len(woken) == 1
    taken = [queue.take() for _ in range(20)]
    assert [len(messages) for messages, _, _ in taken] == [500] * 20
    assert [dropped for _, dropped, _ in taken] == [2_000] + [0] * 19
    assert [more for _, _, more in taken] == [True] * 19 + [False]
    for _ in range(10):
        queue.put(Message("t", b"x" * 1_000_000, False, False))
    assert len(queue) == 8
    assert len(woken) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("map", "model/hall/out", '{"forecast": [{"t": "21"}]}'),
            0,
            {"rule": 2, "line": {"y_pred": 21.0, "segment": "hall"}, "join": "hall"},
        ),
        (("map", "esphome/outside", "unknown"), 65, {"rule": 4, "absent": "value: 'unknown'"}),
        (("map", "other", "1"), 65, "no [[mqtt]] rule (6 in all) has a topic that matches"),
        (("map", "model/+/out", "1"), 78, "is a filter"),
        (("map", "model"), 64, "wanted TOPIC PAYLOAD"),
        (("status", "model"), 64, "wanted nothing behind it"),
        (("--check",), 0, "6 mqtt rules, subscribing to zigbee2mqtt/+/climate, model/+/out,"),
    ],
)
def test_the_rules_can_be_tried_without_a_broker(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: object
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'device = "pi"\n{RULES}')
    command = [*AGENT, "--config", str(config), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == code, ran.stderr
    if isinstance(said, dict):
        assert json.loads(ran.stdout) == said
    else:
        assert str(said) in ran.stdout + ran.stderr
