"""What the agent says to its clients: sessions line by line, Monitors, labels from the broker."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from edgemse_agent.agent import Agent
from edgemse_agent.intake.clients import Clients, LineClient
from edgemse_agent.intake.labels import LabelTopic
from edgemse_agent.ledger import Ledger
from edgemse_agent.settings import AgentSettings
from support.clock import FakeClock

from edgemse import ErrorStats

SAMPLE = {"y_true": 0, "y_pred": 1}


class Bench:
    """An agent and its clients; `say` is one client's connection."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger"
        self.start()

    def start(self) -> None:
        self.agent = Agent(AgentSettings("pi"), Ledger(self.path), FakeClock())
        self.clients = Clients(self.agent)

    def close(self) -> None:
        self.agent.ledger.close()

    def connection(self) -> Connection:
        return Connection(self.clients)

    def commit(self) -> None:
        assert self.agent.commit()
        self.clients.notify()

    def samples(self) -> int:
        return self.agent.counters["samples"]


class Connection:
    def __init__(self, clients: Clients) -> None:
        self._data: list[bytes] = []
        self.client: LineClient = clients.join(self._data.append, "test")

    def say(self, *lines: dict[str, Any]) -> list[dict[str, Any]]:
        self.client.feed(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        return self.heard()

    def heard(self) -> list[dict[str, Any]]:
        said = [json.loads(line) for data in self._data for line in data.splitlines()]
        self._data.clear()
        return said


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with closing(Bench(tmp_path)) as bench:
        yield bench


def numbered(first: int, count: int) -> list[dict[str, Any]]:
    return [SAMPLE | {"n": n} for n in range(first, first + count)]


def test_a_session_hears_what_the_ledger_has(bench: Bench) -> None:
    client = bench.connection()
    (answer,) = client.say({"session": "s", "from": 0})
    assert answer == {"ledger": bench.agent.ledger.id, "received": 0}
    assert client.say(*numbered(0, 3)) == []
    bench.commit()
    assert client.heard() == [{"durable": 3}]
    assert bench.samples() == 3


def test_a_line_that_comes_again_is_skipped_and_counted(bench: Bench) -> None:
    client = bench.connection()
    client.say({"session": "s"}, *numbered(0, 3), *numbered(1, 3))
    assert bench.samples() == 4
    assert bench.agent.counters["lines_repeated"] == 2


@pytest.mark.parametrize("wrong", [SAMPLE | {"n": 5}, SAMPLE])
def test_a_line_out_of_order_is_told_once_and_all_is_ignored_until_a_hello(
    bench: Bench, wrong: dict[str, Any]
) -> None:
    client = bench.connection()
    client.say({"session": "s"}, *numbered(0, 2))
    assert client.say(wrong, *numbered(2, 3)) == [{"expected": 2}]
    assert bench.samples() == 2
    assert bench.agent.counters["lines_ignored"] == 4
    (answer,) = client.say({"session": "s", "from": 2})
    assert answer["received"] == 2
    assert client.say(*numbered(2, 3)) == []
    assert bench.samples() == 5


def test_a_bad_line_has_its_number_and_holds_nobody_up(bench: Bench) -> None:
    client = bench.connection()
    client.say({"session": "s"})
    (told,) = client.say({"y_true": "x", "n": 0}, *numbered(1, 2))
    assert told["error"] == "line 2: y_true: got text, wanted a number"
    assert bench.samples() == 2
    bench.commit()
    assert client.heard() == [{"durable": 3}]


LONG = b'"segment": "%s"' % (b"x" * 200_000)


@pytest.mark.parametrize(
    "bad",
    [
        b'{"y_true": {"n": 7}, "y_pred": 1, "n": 0}',
        b'{"n": 0, "y_true": 0, "y_pred": 1, ',
        b'{"n": 0, %s}' % LONG,
        b'{%s, "n": 0}' % LONG,
        b'{"n" : 0, %s, "n": 0 }' % LONG,
    ],
    ids=["within", "cut", "long, first", "long, last", "long, twice"],
)
@pytest.mark.parametrize("chunk", [1_000, 65_536, 300_000])
def test_a_bad_line_s_number_is_its_own_wherever_it_stands(
    bench: Bench, bad: bytes, chunk: int
) -> None:
    client = bench.connection()
    client.say({"session": "s"})
    data = bad + b"\n" + json.dumps(SAMPLE | {"n": 1}).encode() + b"\n"
    for start in range(0, len(data), chunk):
        client.client.feed(data[start : start + chunk])
    (told,) = client.heard()
    assert told["error"].startswith("line 2: ")
    assert bench.samples() == 1
    bench.commit()
    assert client.heard() == [{"durable": 2}]


def test_a_long_line_is_told_with_its_length_and_what_follows_is_read(bench: Bench) -> None:
    client = bench.connection()
    for _ in range(100):
        client.client.feed(b"x" * 1_000)
    client.client.feed(b"\n")
    assert client.heard() == [{"error": "line 1: a line of 100000 bytes; wanted at most 65536"}]
    client.client.feed(b'{"y_true": 0, "y_pred": 1}\n' + b"y" * 70_000)
    assert bench.samples() == 1
    bench.clients.leave(client.client)
    assert client.heard() == [{"error": "line 3: a line of 70000 bytes; wanted at most 65536"}]


def test_an_earlier_connection_of_the_session_may_still_be_read(bench: Bench) -> None:
    earlier, later = bench.connection(), bench.connection()
    earlier.say({"session": "s"}, *numbered(0, 2))
    later.say({"session": "s"}, *numbered(2, 2))
    earlier.say(*numbered(2, 2))  # what had been in its buffer
    assert bench.samples() == 4
    assert later.say(*numbered(4, 1)) == []
    assert bench.samples() == 5


def test_lines_that_were_not_committed_are_asked_for_again(bench: Bench) -> None:
    client = bench.connection()
    client.say({"session": "s"}, *numbered(0, 2))
    bench.commit()
    client.say(*numbered(2, 5))
    bench.close()
    bench.start()
    (answer,) = bench.connection().say({"session": "s", "from": 2})
    assert answer["received"] == 2


def test_two_sessions_are_counted_apart(bench: Bench) -> None:
    one, other = bench.connection(), bench.connection()
    one.say({"session": "1"}, *numbered(0, 3))
    other.say({"session": "2"}, *numbered(0, 1))
    bench.commit()
    assert (one.heard(), other.heard()) == ([{"durable": 3}], [{"durable": 1}])


def cell(**changed: object) -> dict[str, object]:
    stats = ErrorStats()
    stats.update(0.0, 1.0)
    return {
        "producer": "ab" * 16,
        "sequence": 0,
        "revision": 1,
        "final": True,
        "series": ["m", "1", "", "", "latency"],
        "window": [1_767_225_600, 60],
        "state": base64.b64encode(stats.to_bytes()).decode(),
    } | changed


def test_a_monitor_is_told_what_is_durable_and_how_wide(bench: Bench) -> None:
    client = bench.connection()
    (answer,) = client.say({"producer": "ab" * 16})
    offset = bench.agent.calendar.offset
    assert answer == {
        "ledger": bench.agent.ledger.id,
        "width_seconds": 60,
        "offset_seconds": offset,
    }
    client.say(cell())
    assert bench.agent.commit(everything=True)
    bench.clients.notify()
    assert client.heard() == [{"durable_cells": [[0, 1]], "width_seconds": 60}]


def test_a_monitor_hears_which_cell_will_never_be_taken(bench: Bench) -> None:
    client = bench.connection()
    client.say({"producer": "ab" * 16})
    error, refused = client.say(cell(window=[1, 60], revision=4))
    assert "window [1, +60)" in error["error"]
    assert refused["refused_cell"][:2] == [0, 4]
    assert client.say(cell()) == []


def test_cells_of_another_producer_are_not_taken(bench: Bench) -> None:
    client = bench.connection()
    client.say({"producer": "cd" * 16})
    (told,) = client.say(cell())
    assert "unannounced producer" in told["error"]
    assert len(bench.agent.relay) == 0


def test_labels_from_the_broker_are_lines_of_their_own_kind(bench: Bench) -> None:
    bench.connection().say({"id": 1, "y_pred": 3}, {"id": 2, "y_pred": 3})
    answers: list[bytes] = []
    topic = LabelTopic(bench.clients, answers.append, "labels")
    topic.take(b'{"id": 1, "y_true": 1}')
    assert (bench.samples(), answers) == (1, [])
    topic.take(b'{"y_true": 1, "y_pred": 2}\n{"request": "status"}\njunk')
    told = b"".join(answers).decode()
    assert "not a label" in told
    assert "not JSON" in told
    assert bench.samples() == 1
    assert bench.agent.counters["lines_bad"] >= 2


def test_a_sender_of_labels_hears_what_is_durable_and_may_resend(bench: Bench) -> None:
    bench.connection().say({"id": 1, "y_pred": 3}, {"id": 2, "y_pred": 3})
    answers: list[bytes] = []
    topic = LabelTopic(bench.clients, answers.append, "labels")
    message = b'{"session": "s"}\n{"n": 0, "id": 1, "y_true": 1}\n{"n": 1, "id": 2, "y_true": 1}'
    for _ in range(2):
        topic.take(message)
    topic.take(b'{"session": "other"}\n{"n": 0, "id": 2, "y_true": 1}')
    bench.commit()
    said = [json.loads(line) for line in b"".join(answers).splitlines()]
    assert [s["received"] for s in said if "received" in s] == [0, 2, 0]
    assert sorted(s["durable"] for s in said if "durable" in s) == [1, 2]
    assert bench.samples() == 2
    assert bench.agent.counters["lines_repeated"] == 2


def test_a_flood_of_senders_is_bounded(bench: Bench) -> None:
    topic = LabelTopic(bench.clients, lambda _answer: None, "labels")
    for number in range(300):
        topic.take(b'{"session": "%d"}' % number)
    assert len(bench.clients) == 64


@pytest.mark.parametrize("last", ["a tick", "the end"])
def test_every_bad_line_of_a_burst_is_told(
    bench: Bench, last: str, caplog: pytest.LogCaptureFixture
) -> None:
    connection = bench.connection()
    connection.client.feed(b"\n\n" + b"bad\n" * 25)
    if last == "a tick":
        bench.clients.notify()
    else:
        bench.clients.leave(connection.client)
    heard = connection.heard()
    assert [answer["error"].partition(":")[0] for answer in heard[:-1]] == [
        f"line {number}" for number in range(3, 13)
    ]
    assert heard[-1] == {"error": "15 more bad lines, up to line 27"}
    assert caplog.messages[-1] == "test: 15 more bad lines, up to line 27"
    assert bench.agent.counters["lines_bad"] == 25
