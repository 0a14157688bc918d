"""What was refused: looked at, given in again once the reason is gone, thrown away."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.broker import Mosquitto
from support.cells import cell
from support.device import FakeDevice
from support.fleet import Planted
from support.processes import CollectorProcess, edgemse, total_of
from support.waiting import eventually

from edgemse.cells import Series
from edgemse.errors import SettingsError
from edgemse.fleet.quarantine import Clearing
from edgemse.stores import Batch, Quarantined
from edgemse.web.tokens import new_token, token_hash

ADMIN, READ = new_token(), new_token()


@pytest.fixture
def options(tmp_path: Path) -> Callable[[int], tuple[str, ...]]:
    """Settings that let so many series in."""
    tokens, config = tmp_path / "tokens", tmp_path / "collector.toml"
    tokens.touch(mode=0o600)
    tokens.write_text(f"anna admin {token_hash(ADMIN)}\nboard read {token_hash(READ)}\n")

    def write(series: int) -> tuple[str, ...]:
        config.write_text(f"[limits]\nseries_max = {series}\n")
        return ("--tokens", str(tokens), "--config", str(config))

    return write


def run(*arguments: object, token: str = ADMIN) -> tuple[int, str, str]:
    done = edgemse(*arguments, env=os.environ | {"EDGEMSE_TOKEN": token, "SUDO_USER": "anna"})
    return done.returncode, done.stdout, done.stderr


def refused(source: object, *more: str) -> list[dict[str, Any]]:
    code, out, err = run("quarantine", "show", "--from", source, "--format", "json", *more)
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)["refused"]
    return found


def test_what_was_one_too_many_is_taken_once_there_is_room(
    broker: Mosquitto, tmp_path: Path, options: Callable[[int], tuple[str, ...]]
) -> None:
    path = tmp_path / "fleet.duckdb"
    collector = CollectorProcess(path, broker.address, *options(1), token=READ)
    collector.start()
    device = FakeDevice(broker.address, "pi-1")
    known, new = cell(1), cell(2, series=Series("another", "v1"))
    device.send([known, new])
    device.wait_for([known])
    device.publish(device.topics.report("pi-1"), b"no report")
    device.publish(device.topics.presence("pi-2"), b"x" * 5_000)
    eventually(lambda: len(refused(collector.url)) == 3)
    by_kind = {each["kind"]: each for each in refused(collector.url)}
    assert {kind: each["replayable"] for kind, each in by_kind.items()} == {
        "cell": True,
        "report": True,
        "presence": False,
    }
    assert by_kind["report"]["beginning"] == b"no report".hex()
    assert "a new series" in by_kind["cell"]["reason"]
    assert [each["device"] for each in refused(collector.url, "--device", "pi-2")] == ["pi-2"]

    replay = ("quarantine", "replay", "--from", collector.url)
    assert run(*replay, token=READ)[0] == 76
    code, out, _ = run(*replay)
    assert (code, out.split()[0]) == (0, "2")
    device.send([cell(1, 0, 2)])  # behind the replayed ones in the same queue
    device.wait_for([cell(1, 0, 2)])
    assert [each["id"] for each in refused(collector.url)] == [1, 2, 3]  # refused as before

    assert collector.stop() == 0
    code, _, err = run("quarantine", "replay", "--from", path)
    assert (code, "no collector runs here" in err) == (78, True)
    collector = CollectorProcess(path, broker.address, *options(10), token=READ)
    collector.start()
    before = collector.get("/api/v1/devices")[1]["devices"]
    assert run("quarantine", "replay", "--from", collector.url)[0] == 0
    device.wait_for([new])  # the device hears of it, and lets it go
    eventually(lambda: [each["kind"] for each in refused(collector.url)] == ["report", "presence"])
    after = collector.get("/api/v1/devices")[1]["devices"]
    assert [(e["device"], e["count"]) for e in before] == [("pi-1", 20)]
    assert [(e["device"], e["count"]) for e in after] == [("pi-1", 40)]
    assert not after[0]["twins"]
    assert run("quarantine", "empty", "--from", collector.url, "--device", "pi-2")[1][0] == "1"
    assert [each["kind"] for each in refused(collector.url)] == ["report"]
    assert collector.stop() == 0
    assert run("quarantine", "empty", "--from", path) == (0, "1 thrown away\n", "")
    assert refused(path) == []
    _, out, _ = run("audit", "--from", path, "--format", "json")
    assert [(e["action"], e["who"], e["token"]) for e in json.loads(out)["entries"]] == [
        ("quarantine replay", "anna", "anna"),
        ("quarantine replay", "anna", "anna"),
        ("quarantine empty", "anna", "anna"),
        ("quarantine empty", "anna", ""),
    ]
    assert total_of(path)["total"]["count"] == 40
    device.close()


def test_what_is_not_there_whole_is_not_given_in() -> None:
    store = Planted().store
    whole, part = b"whole", b"only its head"
    rows = [
        Quarantined("a", 1, "r", len(whole), whole, "report"),
        Quarantined("a", 1, "r", 70_000, part, "report"),
        Quarantined("b", 1, "r", len(whole), whole, "presence"),
        Quarantined("b", 1, "r", len(whole), whole, "cell"),
    ]
    store.commit(Batch(quarantined=rows))
    given: list[tuple[int, str, bytes]] = []

    def replay(row: int, device: str, report: bytes) -> None:
        given.append((row, device, report))

    clearing = Clearing("replay", "anna", "desk")
    assert clearing.apply(store, 1, replay=replay) == {"given": 2}
    assert given == [(1, "a", whole), (4, "b", whole)]
    with store.reading() as reading:
        assert len(reading.rows("SELECT * FROM quarantine")) == 4
    store.commit(Batch(replayed=[1, 4]))
    with store.reading() as reading:
        assert reading.rows("SELECT id FROM quarantine ORDER BY id").rows == [(2,), (3,)]
    store.close()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "wanted a JSON object with action, who and host"),
        ({"action": "burn", "who": "a", "host": "b"}, "wanted one of empty, replay"),
        ({"action": "empty", "who": "a", "host": "b", "all": True}, "unknown key 'all'"),
        ({"action": "empty", "who": "a", "host": "b", "device": 7}, "device 7: no text"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(body: object, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Clearing.of_json(body)
