"""Forget, retire and rename as people run them: on a file, and on a running collector."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.broker import Mosquitto
from support.cells import batch, cell
from support.device import FakeDevice
from support.fleet import Planted, plant_hours
from support.processes import CollectorProcess, edgemse
from support.waiting import eventually

from edgemse.cells import Cell
from edgemse.cli.source import token_of
from edgemse.cli.upkeep import acting
from edgemse.errors import SettingsError
from edgemse.mqtt import Broker, Connection, Publication
from edgemse.presence import Presence, encode_presence
from edgemse.topics import Topics
from edgemse.web.tokens import new_token, token_hash

ROWS = "device,time,y,p\n" + "".join(
    f"d{n % 3},2026-01-01T{n // 60:02}:{n % 60:02}:00Z,{n}.0,{n}.5\n" for n in range(180)
)


class Served(NamedTuple):
    """A collector that wants tokens, and two of them."""

    collector: CollectorProcess
    admin: str
    read: str


@pytest.fixture
def served(broker: Mosquitto, tmp_path: Path) -> Iterator[Served]:
    admin, read = new_token(), new_token()
    tokens = tmp_path / "tokens"
    tokens.touch(mode=0o600)
    tokens.write_text(f"anna admin {token_hash(admin)}\nboard read {token_hash(read)}\n")
    collector = CollectorProcess(
        tmp_path / "fleet.duckdb", broker.address, "--tokens", str(tokens), token=read
    )
    collector.start()
    yield Served(collector, admin, read)
    collector.close()


def run(*arguments: object, token: str = "") -> tuple[int, str, str]:
    done = edgemse(*arguments, env=os.environ | {"EDGEMSE_TOKEN": token, "SUDO_USER": "anna"})
    return done.returncode, done.stdout, done.stderr


def found(source: object, token: str = "") -> dict[str, Any]:
    code, out, err = run("fleet", "devices", "--from", source, "--format", "json", token=token)
    assert code == 0, err
    return {each["device"]: each for each in json.loads(out)["devices"]}


def retained(broker: Mosquitto, topic: str) -> list[bytes]:
    """Return what the broker retains on the topic, up to a message of our own behind it."""
    heard: list[bytes] = []
    connection = Connection(
        Broker.at(broker.address), "look", handlers={topic: lambda _, data: heard.append(data)}
    )
    connection.start(must_connect=True)
    connection.publish(Publication(topic, b"end"))
    eventually(lambda: b"end" in heard)
    connection.stop()
    return heard[: heard.index(b"end")]


def test_forgotten_at_a_running_collector_and_on_the_broker(
    served: Served, broker: Mosquitto, tmp_path: Path
) -> None:
    url, path, topics = served.collector.url, tmp_path / "samples.csv", Topics()
    path.write_text(ROWS)
    columns = ("--device", "device", "--time", "time", "--y-true", "y", "--y-pred", "p")
    replay = ("replay", path, "--broker", broker.address, *columns)
    assert run(*replay)[0] == 0
    connection = Connection(Broker.at(broker.address), "presences")
    connection.start(must_connect=True)
    for device in ("d1", "d2"):
        birth = encode_presence(Presence(online=True, software="edgemse 1", run="r"))
        connection.publish(Publication(topics.presence(device), birth, retain=True))
        connection.publish(Publication(topics.config(device), b"{}", retain=True))
    connection.stop()
    eventually(lambda: found(url, served.read)["d1"]["online"] is True, 20)

    forget = ("fleet", "forget", "--from", url, "--device", "d1", "--broker", broker.address)
    code, out, err = run(*forget)
    assert (code, out, err.count("\n")) == (76, "", 1)
    assert "a valid token is wanted" in err
    assert "EDGEMSE_TOKEN" in err
    code, _, err = run(*forget, token=served.read)
    assert (code, "the token board has the role read; admin is wanted" in err) == (76, True)
    code, out, err = run(*forget, token=served.admin)
    assert (code, err) == (0, "")
    assert "d1: 3 cells forgotten\n" in out
    assert f"cleared on the broker: {topics.presence('d1')}, {topics.config('d1')}\n" in out
    assert found(url, served.read).keys() == {"d0", "d2"}
    for device, left in (("d1", 0), ("d2", 1)):
        assert len(retained(broker, topics.presence(device))) == left
        assert len(retained(broker, topics.config(device))) == left

    # The same samples once more: every cell is acknowledged, and none of d1's counts.
    assert run(*replay)[0] == 0
    seen = found(url, served.read)
    assert {name: each["count"] for name, each in seen.items()} == {"d0": 60, "d1": 0, "d2": 60}
    assert served.collector.stop() == 0
    code, out, _ = run("audit", "--from", tmp_path / "fleet.duckdb", "--format", "json")
    (entry,) = json.loads(out)["entries"]
    assert (entry["action"], entry["device"], entry["who"]) == ("forget", "d1", "anna")
    assert (entry["token"], entry["details"]) == ("anna", "cells 3, open 0")


def test_retired_and_renamed_at_a_running_collector(
    served: Served, broker: Mosquitto, tmp_path: Path
) -> None:
    url, path = served.collector.url, tmp_path / "samples.csv"
    path.write_text(ROWS)
    columns = ("--device", "device", "--time", "time", "--y-true", "y", "--y-pred", "p")
    replay = ("replay", path, "--broker", broker.address, *columns)
    assert run(*replay)[0] == 0
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(served.admin + "\n")
    shown = ("--from", url, "--token-file", file)
    assert run("fleet", "rename", *shown, "--device", "d0", "--to", "north/0")[0] == 0
    assert run("fleet", "retire", *shown, "--device", "d2")[0] == 0
    path.write_text(ROWS + "d0,2026-01-05T00:00Z,1,2\n")
    assert run(*replay, "--label-delay", "1s")[0] == 0  # other cells: what d0 sends from now on
    seen = found(url, served.read)
    assert seen.keys() == {"d1", "d2", "north/0"}
    assert seen["north/0"]["names"] == ["d0"]
    assert seen["north/0"]["count"] == 60 + 61
    assert (seen["d2"]["retired"], seen["d2"]["silent"], seen["d1"]["silent"]) == (
        True,
        False,
        True,
    )
    code, out, err = run("audit", *shown, "--format", "csv")
    assert (code, err) == (0, "")
    assert [line.split(",")[1:5] for line in out.splitlines()[1:]] == [
        ["anna", entry_host(), "anna", action] for action in ("rename", "retire")
    ]
    assert run("audit", "--from", url, token=served.read)[0] == 76


def entry_host() -> str:
    return acting()[1]


def test_a_collector_without_tokens_says_what_to_do(broker: Mosquitto, tmp_path: Path) -> None:
    store = tmp_path / "fleet.duckdb"
    collector = CollectorProcess(store, broker.address)
    collector.start()
    try:
        for source, exit_code, words in (
            (collector.url, 76, "start it with --tokens FILE"),
            (store, 73, "--from http://"),
        ):
            code, out, err = run("fleet", "retire", "--from", source, "--device", "d1")
            assert (code, out, err.count("\n")) == (exit_code, "", 1)
            assert words in err
    finally:
        collector.close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.duckdb"
    planted = Planted(path)
    plant_hours(planted, {"a": 1.0, "b": 2.0}, hours=12, per_hour=10)
    planted.commit()
    planted.store.commit(batch(cell(77), device="a"))  # one that still grows
    planted.store.close()
    return path


def test_on_a_file_that_nobody_holds(store: Path) -> None:
    said = "a: 12 cells forgotten; 1 open one to go once final\n"
    assert run("fleet", "forget", "--from", store, "--device", "a") == (0, said, "")
    assert found(store)["a"]["count"] == 20
    again = run("fleet", "forget", "--from", store, "--device", "a", "--open")
    assert again == (0, "a: 1 cell forgotten\n", "")
    assert found(store).keys() == {"b"}
    assert run("fleet", "retire", "--from", store, "--device", "b")[0] == 0
    assert found(store)["b"]["retired"]
    table = run("fleet", "devices", "--from", store, "--exit-code")
    assert (table[0], " retired " in table[1]) == (0, True)
    assert run("fleet", "retire", "--from", store, "--device", "b", "--undo")[0] == 0
    assert not found(store)["b"]["retired"]
    assert run("fleet", "rename", "--from", store, "--device", "b", "--to", "c")[0] == 0
    assert found(store)["c"]["names"] == ["b"]
    assert run("fleet", "rename", "--from", store, "--device", "b", "--to", "b")[0] == 0
    assert found(store)["c"]["names"] == []
    _, out, _ = run("audit", "--from", store, "--device", "a", "--format", "json")
    assert [each["details"] for each in json.loads(out)["entries"]] == [
        "cells 12, open 1",
        "cells 1, open 0",
    ]
    assert "rename" in run("audit", "--from", store)[1]


def test_a_rename_stands_in_the_audit_under_both_names(store: Path) -> None:
    assert run("fleet", "rename", "--from", store, "--device", "b", "--to", "c")[0] == 0
    rows = {}
    for name in ("b", "c", "a"):
        code, out, _ = run("audit", "--from", store, "--device", name, "--format", "json")
        assert code == 0
        rows[name] = [(e["action"], e["device"]) for e in json.loads(out)["entries"]]
    assert rows == {"b": [("rename", "b")], "c": [("rename", "b")], "a": []}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("forget", "--device", "nobody"), 78, "no device 'nobody'"),
        (("retire", "--device", ""), 78, "no device ''"),
        (("rename", "--device", "a", "--to", "collector"), 78, "device name 'collector'"),
        (("rename", "--device", "a", "--to", "a"), 78, "has that name"),
        (("retire", "--device", "a", "--undo"), 78, "is not retired"),
        (("forget", "--device", "a\n"), 78, "U+000A"),
        (("forget",), 64, "--device"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    store: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = run("fleet", *arguments, "--from", store)
    assert (done[0], done[1], done[2].count("\n")) == (code, "", 1)
    assert words in done[2]
    assert run("audit", "--from", store, "--format", "csv")[1].count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ("fleet", "retire", "--device", "a"),
        ("fleet", "variance"),
        ("audit",),
        ("export", "folder"),
        ("backup", "file"),
        ("quarantine", "empty"),
    ],
)
def test_an_empty_place_is_wrong_use(command: tuple[str, ...]) -> None:
    code, out, err = run(*command, "--from", "")
    assert (code, out, err.count("\n")) == (64, "", 1)
    assert "--from '': wanted a store's file" in err


def test_no_store_is_made(tmp_path: Path) -> None:
    done = run("fleet", "retire", "--from", tmp_path / "typo.duckdb", "--device", "a")
    assert (done[0], "does not exist" in done[2]) == (72, True)
    assert list(tmp_path.iterdir()) == []


def test_a_broker_that_does_not_answer_is_told_after_the_store_has_forgotten(store: Path) -> None:
    options = ("--device", "a", "--open", "--broker", "127.0.0.1:1")
    code, out, err = run("fleet", "forget", "--from", store, *options)
    assert (code, out) == (69, "a: 13 cells forgotten\n")
    assert "no MQTT broker at 127.0.0.1:1" in err


def test_who_acts_and_what_is_shown_come_from_the_environment(tmp_path: Path) -> None:
    assert acting({"SUDO_USER": "berta"})[0] == "berta"
    assert acting({"SUDO_USER": "a\x1b[2J"})[0] == "?"
    assert acting({})[0]
    assert (token_of(None, {}), token_of(None, {"EDGEMSE_TOKEN": "x \n"})) == ("", "x")
    file = tmp_path / "token"
    file.write_text("y\n")
    file.chmod(0o600)
    assert token_of(file, {"EDGEMSE_TOKEN": "x"}) == "y"
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="token_file"):
        token_of(file, {})


def test_open_cells_of_a_forgotten_device_are_acknowledged_and_go(
    served: Served, broker: Mosquitto
) -> None:
    url, device = served.collector.url, FakeDevice(broker.address)

    def send(*cells: Cell) -> None:
        acks = len(device.acks)
        device.send(cells)
        eventually(lambda: len(device.acks) > acks)
        device.wait_for(cells)

    try:
        final, growing = cell(1, 0, final=True), cell(1, 1)
        send(final, growing)
        forget = ("fleet", "forget", "--from", url, "--device", "pi-1")
        said = "pi-1: 1 cell forgotten; 1 open one to go once final\n"
        assert run(*forget, token=served.admin) == (0, said, "")
        send(cell(1, 1, revision=2), final)
        assert found(url, served.read)["pi-1"]["count"] == 20
        last = cell(1, 1, revision=3, final=True)
        send(last)
        assert found(url, served.read)["pi-1"]["count"] == 0
        send(final, last)  # an ack was lost, and it sends them once more
        later = cell(1, 2, final=True)
        send(later)
        assert found(url, served.read)["pi-1"]["count"] == later.stats.count
        assert device.refused == []
    finally:
        device.close()
