"""An agent in trouble: items that nothing can hold, clocks, full disks, floods and its own bugs."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edgemse_agent import command
from edgemse_agent.agent import Agent
from edgemse_agent.intake.clients import Clients
from edgemse_agent.ledger import Ledger, Refused, Written, opening
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine
from edgemse_agent.pace import Pace
from edgemse_agent.relay import Relay
from edgemse_agent.service import Service
from edgemse_agent.settings import AgentSettings, DeliverySettings
from support.clock import FakeClock
from support.ledgers import BOARD, MONITOR, OWN, Original, cell, lay

from edgemse.broker import BrokerSettings
from edgemse.cells import SealedCell, unseal
from edgemse.counters import Counters
from edgemse.errors import LedgerError
from edgemse.monitor.cells import CellConversation
from edgemse.monitor.monitor import MEANINGS
from edgemse.presence import Presence, encode_presence
from edgemse.wire import Ack, Code, Refusal, decode_report, encode_ack

NONE = (None, None, None, None)
SAMPLE = SampleLine(NONE, 0.0, 1.0, 1.0, None)


class Bench:
    """An agent whose collector acknowledges what `published` sees."""

    def __init__(self, path: Path, clock: FakeClock | None = None, **delivery: int) -> None:
        self.path, self.clock = path, clock or FakeClock()
        timing = DeliverySettings(durable_seconds=20.0, **delivery)
        self.settings = AgentSettings("pi", delivery=timing)
        self.start()

    def start(self) -> None:
        self.agent = Agent(self.settings, Ledger(self.path), self.clock)
        self.online()

    def online(self) -> None:
        self.agent.heard_collector("w", encode_presence(Presence(True, "s", "run")))

    def restart(self) -> None:
        self.close()
        self.start()

    def close(self) -> None:
        self.agent.ledger.close()

    def published(self, seconds: float = 20.0) -> list[SealedCell]:
        """Return the cells that are published after so long, and acknowledge them."""
        self.clock.passed += seconds
        cells = [cell for report in self.agent.tick() for cell in decode_report(report).cells]
        if cells:
            self.agent.heard_ack(encode_ack(Ack("w", {c.identity: c.revision for c in cells})))
        return cells

    def count(self, name: str) -> int:
        return self.agent.counters[name]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with closing(Bench(tmp_path / "ledger")) as bench:
        yield bench


def samples(cells: list[SealedCell]) -> int:
    return sum(unseal(each).stats.count for each in cells)


def test_what_no_ledger_can_hold_is_set_aside_and_costs_nothing_else(bench: Bench) -> None:
    bench.agent.take(SampleLine((None, None, None, "\ud800"), 0.0, 1.0, 1.0, None))
    bench.agent.take(PredictionLine("\udcff", NONE, 1.0, 1.0, None))
    bench.agent.take(SAMPLE)
    bench.agent.count_line("\ud800")
    assert samples(bench.published()) == 1
    assert bench.count("items_defective") == 3
    defects = {each.kind: each for each in bench.agent.ledger.defects()}
    assert defects.keys() == {"cell", "id", "session"}
    assert "UnicodeEncodeError" in defects["cell"].reason
    assert r"\ud800" in defects["cell"].content
    bench.agent.take(SAMPLE)
    assert samples(bench.published(100)) == 2
    bench.restart()
    assert bench.agent.ledger.set_aside is None


def test_a_cell_that_cannot_be_sealed_costs_only_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.agent.take(SAMPLE)
    (broken,) = bench.agent.growing
    bench.agent.take(SampleLine((None, None, None, "b"), 0.0, 1.0, 1.0, None))
    seal = type(broken).seal

    def fails_once(self: Any, producer: bytes) -> SealedCell:
        if self is broken:
            raise OverflowError("a bug")
        return seal(self, producer)

    monkeypatch.setattr(type(broken), "seal", fails_once)
    assert samples(bench.published()) == 1
    assert (bench.count("items_defective"), bench.count("defects")) == (1, 1)
    assert bench.agent.status().last_error == "cell 0: OverflowError: a bug"
    assert [each.sequence for each in bench.agent.growing] == [1]


@pytest.mark.parametrize(("start", "window"), [(-86_400.0 * 365, 0), (1e12, 2**33 - 32)])
def test_a_clock_that_nobody_set_costs_no_sample(start: float, window: int, tmp_path: Path) -> None:
    with closing(Bench(tmp_path / "l", FakeClock(start))) as bench:
        bench.agent.take(SAMPLE)
        assert bench.agent.commit()
        assert bench.count("times_bounded") == 1
        bench.clock._start = 1_767_225_600.0
        bench.restart()
        assert bench.agent.ledger.set_aside is None
        (found,) = bench.published(0)
        assert (found.window.start, samples([found])) == (window, 1)


def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file that a ledger is begun in not grow past one page, as on a full disk."""
    create = opening.create

    def on_a_full_disk(database: sqlite3.Connection, *arguments: str) -> None:
        database.execute("PRAGMA max_page_count = 1")
        create(database, *arguments)

    monkeypatch.setattr(opening, "create", on_a_full_disk)


def test_a_disk_that_is_full_at_the_start_is_measured_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        no_room(patch)
        bench = Bench(tmp_path / "l")
        announced = bench.agent.ledger.id
        bench.agent.take(SAMPLE)
        bench.agent.count_line("session")
        assert bench.published() == []
        assert bench.count("commits_failed") > 0
        assert "cannot be begun: database or disk is full" in bench.agent.status().last_error
        assert bench.agent.durable("session") == 0
    assert samples(bench.published()) == 1
    assert (bench.agent.ledger.id, bench.agent.durable("session")) == (announced, 1)
    bench.restart()
    assert bench.agent.ledger.id == announced
    bench.close()


def test_a_disk_that_is_full_at_the_start_holds_what_earlier_runs_left_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.agent.take(SAMPLE)
    assert bench.agent.commit()
    bench.close()
    real = Ledger.close_left_open

    def full(_ledger: Ledger) -> int:
        raise LedgerError("database or disk is full")

    monkeypatch.setattr(Ledger, "close_left_open", full)
    bench.start()
    bench.agent.take(SAMPLE)
    assert bench.published() == []
    assert not bench.agent.commit(everything=True)
    monkeypatch.setattr(Ledger, "close_left_open", real)
    found = bench.published()
    assert samples(found) == 2
    assert {(each.revision, each.final) for each in found} == {(2, True), (1, False)}


def test_monitors_cells_are_bounded_and_asked_for_when_there_is_room(tmp_path: Path) -> None:
    with closing(Bench(tmp_path / "l", ledger_cells_max=100)) as bench:
        agent, replies = bench.agent, list[bytes]()
        agent.uplink.disconnected()
        agent.relay = agent.uplink._relay = Relay(Pace(75.0), cells_max=40)
        clients = Clients(agent)
        client = clients.join(replies.append, "test")
        monitor = CellConversation("m", "1", Counters(MEANINGS), cells_max=10_000, series_max=9)
        for minute in range(1_000):
            monitor.add("", "", bench.clock.wall() + 60.0 * minute, 0.0, 1.0)
        monitor.close_ended(0.0, everything=True)
        client.feed(monitor.hello())

        def converse() -> list[SealedCell]:
            for line in monitor.due():
                client.feed(line)
            found = bench.published()
            clients.notify()
            for reply in b"".join(replies).splitlines():
                monitor.heard(json.loads(reply))
            replies.clear()
            return found

        for _ in range(20):
            assert converse() == []
            assert (agent.ledger.relayed, len(agent.relay)) <= (100, 40)
        assert bench.count("cells_turned_away") > 800
        bench.online()
        arrived = {each.identity: each for _ in range(60) for each in converse()}
        assert samples(list(arrived.values())) == 1_000
        assert (monitor.undurable, agent.waiting) == (0, 0)


def test_parked_cells_are_bounded_and_the_newest_stay(tmp_path: Path) -> None:
    with closing(Bench(tmp_path / "l", parked_cells_max=10)) as bench:
        cells = [cell(OWN, number, 1) for number in range(30)]
        bench.agent.ledger.commit(map(Written, cells))
        (report,) = bench.agent.tick()
        assert len(decode_report(report).cells) == 30
        refused = tuple(Refusal(*c.identity, c.revision, Code.NAME, "why") for c in cells)
        bench.agent.heard_ack(encode_ack(Ack("w", {}, refused)))
        left = [each.cell.identity.sequence for each in bench.agent.ledger.parked(99)]
        assert left == list(range(20, 30))
        assert bench.count("parked_let_go") == 20
        assert bench.agent.status().health["cells_parked_now"] == 10


def test_times_all_over_the_calendar_do_not_fill_the_disk(tmp_path: Path) -> None:
    rng = random.Random(1)
    with closing(Bench(tmp_path / "l", ledger_cells_max=100)) as bench:
        bench.agent.uplink.disconnected()
        for _ in range(100):
            for _ in range(20):
                time = rng.uniform(1e9, 8e9)
                bench.agent.take(SAMPLE._replace(time=time))
            bench.published()
        assert bench.agent.ledger.own <= 420
        refused = bench.count("windows_refused")
        bench.online()
        arrived = {each.identity: each for _ in range(30) for each in bench.published()}
        assert samples(list(arrived.values())) == 2_000 - refused < 2_000


def test_a_bug_costs_one_line_and_neither_the_client_nor_the_agent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies: list[bytes] = []
    client = Clients(bench.agent).join(replies.append, "test")
    with monkeypatch.context() as patch:
        patch.setattr(bench.agent.pairing, "label", lambda *_: 1 // 0)
        client.feed(b'{"id": 1, "y_true": 2}\n')
    client.feed(b'{"y_true": 1, "y_pred": 2}\n')
    assert json.loads(replies[0]) == {"error": "line 1: a defect of the agent; its log has it"}
    assert (bench.count("defects"), bench.count("samples")) == (1, 1)
    assert bench.agent.take(LabelLine("1", NONE, 2.0, None))


class Broker:
    """A connection that takes everything."""

    up, connects, refused, last_error = True, 3, 0, ""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def payload_bytes_max(self, _topic: str) -> int:
        return 1 << 20

    def publish(self, publication: Any) -> bool:
        self.sent.append(publication)
        return True


def test_a_tick_that_fails_does_not_end_the_daemon(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(bench.settings, software="edgemse test")
    service._agent, service._clients = bench.agent, Clients(bench.agent)
    service._connection = Broker()  # type: ignore[assignment]
    with monkeypatch.context() as patch:
        patch.setattr(bench.agent.pairing, "expire", lambda _now: 1 // 0)
        service._tick()
        service._tick()
    assert bench.count("defects") == 2
    bench.agent.take(SAMPLE)
    bench.clock.passed += 20
    service._tick()
    assert len(service._connection.sent) == 1
    broker = bench.agent.status().to_json()["broker"]
    assert broker == {
        "address": "127.0.0.1:1883",
        "connected": True,
        "connects": 3,
        "refused": 0,
        "last_error": "",
    }


@pytest.mark.parametrize(
    ("broker", "said"),
    [
        (BrokerSettings(), "let this device in without a name: so it does with everybody"),
        (BrokerSettings(username="pump"), "the device is called 'pi' and its user"),
        (BrokerSettings(username="pi"), ""),
        (BrokerSettings(tls=True), ""),
    ],
)
def test_a_broker_that_cannot_tell_devices_apart_is_told_once(
    broker: BrokerSettings, said: str, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(replace(bench.settings, broker=broker), software="edgemse test")
    service._agent, service._clients = bench.agent, Clients(bench.agent)
    service._connection = Broker()  # type: ignore[assignment]
    service._tick()
    service._tick()
    assert [said in text for text in caplog.messages] == [True] * bool(said)


def test_the_status_has_versions_zeros_and_names(bench: Bench) -> None:
    status = bench.agent.status().to_json()
    assert status["health"]["samples"] == 0
    assert status["health"].keys() == bench.agent.counters.meanings.keys()
    assert status["versions"].keys() == {"edgemse", "protocol", "python", "sqlite"}
    assert (status["ledger"], status["run"]) == (bench.agent.ledger.id, bench.agent.run)
    assert (status["broker"], status["set_aside"], status["last_error"]) == (None, "", "")


def test_what_was_lost_with_a_damaged_ledger_is_counted(tmp_path: Path) -> None:
    original = Original(tmp_path, cells=40)
    path = lay(tmp_path / "damaged", original.killed | {"-wal": original.killed["-wal"][:50_000]})
    agent = Agent(AgentSettings("pi"), Ledger(path, hardware=BOARD), FakeClock())
    status = agent.status()
    assert status.health["ledgers_set_aside"] == 1
    assert status.health["commits_lost"] > 0
    assert status.set_aside == f"{path}.corrupt-1"
    agent.ledger.close()


def test_adopt_brings_a_ledger_put_away_back_into_delivery_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Original(tmp_path, cells=12)
    path = lay(tmp_path / "moved", original.killed)
    monkeypatch.setattr(command, "hardware_serial", lambda: "board 2")
    arguments = ["adopt", "--device", "pi", "--ledger", str(path)]
    assert command.main(arguments) == 0
    (taken,) = json.loads(capsys.readouterr().out)["adopted"]
    assert (taken["file"], taken["cells"]) == (f"{path}.foreign-1", 12)
    assert command.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["adopted"] == []
    with closing(Ledger(path, hardware="board 2")):
        assert command.main(arguments) == 80
    assert "another edgemse-agent holds it; stop that one" in capsys.readouterr().err


def test_a_parked_cell_of_a_monitor_that_grows_is_due_again(bench: Bench) -> None:
    ledger = bench.agent.ledger
    ledger.commit([Written(cell(MONITOR, 1, 1), relayed=True, exposed=1)])
    ledger.park({cell(MONITOR, 1, 1).identity: Refused(1, "name", "why")})
    assert (ledger.waiting, ledger.parked_now) == (0, 1)
    ledger.commit([Written(cell(MONITOR, 1, 2), relayed=True)])
    assert (ledger.waiting, ledger.parked_now, ledger.due(1)[0].exposed) == (1, 0, 1)
