from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
from support.cells import START, cell
from support.waiting import eventually

from edgemse.cells import Cell, Identity, Series, Window, seal
from edgemse.collector import quarantine
from edgemse.collector.acks import acks
from edgemse.collector.counters import MEANINGS
from edgemse.collector.inbox import Inbox, Kind, Message
from edgemse.collector.ingest import Ingest
from edgemse.collector.settings import Limits
from edgemse.counters import Counters
from edgemse.errors import StoreError
from edgemse.mqtt import Publication
from edgemse.presence import Attribute, Presence, encode_presence
from edgemse.stats.coverage import Coverage
from edgemse.stores import Batch, Quarantined, Store
from edgemse.stores.duckdb import DuckDBStore
from edgemse.topics import Topics, escape
from edgemse.wire import (
    REPORT_BYTES_MAX,
    Ack,
    Code,
    Refusal,
    Report,
    decode_ack,
    encode_report,
)

TOPICS = Topics()


class World:
    """An ingest over a store in memory, and what it published."""

    def __init__(self, limits: Limits | None = None, store: Store | None = None) -> None:
        self.store = store or DuckDBStore(Path(":memory:"))
        self.counters = Counters(MEANINGS)
        self.published: list[Publication] = []
        self.connected = True
        self.time = float(START)
        self.ingest = Ingest(
            self.store,
            TOPICS,
            "main",
            self._publish,
            counters=self.counters,
            limits=limits or Limits(),
            now=lambda: self.time,
        )

    def _publish(self, publication: Publication) -> bool:
        if self.connected:
            self.published.append(publication)
        return self.connected

    def take_in(self, *messages: Message) -> list[tuple[str, Ack]]:
        self.published.clear()
        self.ingest.take_in(messages, Event())
        return [(each.topic, decode_ack(each.payload)) for each in self.published]

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with self.store.reading() as reading:
            return reading.rows(sql).rows


@pytest.fixture
def world() -> World:
    return World()


def report(*cells: Cell, device: str = "pi-1", topic: str = "pi-1") -> Message:
    body = Report(device, 5, True, tuple(map(seal, cells)), {})
    return Message(Kind.REPORT, escape(topic), encode_report(body))


def presence(data: bytes, device: str = "pi-1") -> Message:
    return Message(Kind.PRESENCE, escape(device), data)


def test_each_device_hears_of_its_own_cells(world: World) -> None:
    ours, theirs = cell(1), cell(2)
    answers = world.take_in(report(ours), report(theirs, device="pi-2", topic="pi-2"))
    assert sorted((topic, dict(ack.committed)) for topic, ack in answers) == [
        ("edgemse/v1/pi-1/ack", {ours.identity: 1}),
        ("edgemse/v1/pi-2/ack", {theirs.identity: 1}),
    ]


def test_a_stale_revision_is_answered_with_the_stored_one(world: World) -> None:
    world.take_in(report(cell(revision=4)))
    ((_, ack),) = world.take_in(report(cell(revision=2)), report(cell(revision=2)))
    assert dict(ack.committed) == {cell().identity: 4}


def test_a_bad_cell_does_not_take_its_neighbours_with_it(world: World) -> None:
    good, bad = cell(1), cell(2)
    body = Report("pi-1", 5, True, (seal(good), seal(bad)._replace(state=seal(bad).state[:-1])), {})
    ((_, ack),) = world.take_in(Message(Kind.REPORT, "pi-1", encode_report(body)))
    assert dict(ack.committed) == {good.identity: 1}
    assert [(each.producer, each.revision) for each in ack.refused] == [(bad.identity.producer, 1)]
    assert world.rows("SELECT device, reason FROM quarantine") == [("pi-1", ack.refused[0].reason)]
    assert world.counters["cells_refused"] == 1


def with_predictions(count: int) -> Coverage:
    coverage = Coverage()
    coverage.predictions = count
    return coverage


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (cell(start=START + 90_000), "seconds in the future"),
        (cell(series=Series("a\0b")), "model 'a\\x00b': the character U+0000"),
        (cell(series=Series("m", "\x1b[2J")), "version '\\x1b[2J': the character U+001B"),
        (cell(series=Series("m", segment="\u202e3 llah")), "the character U+202E"),
        (cell(series=Series("model", output="\x9b2J")), "U+009B"),
        (cell(series=Series("model", measure="a\nb")), "U+000A"),
        (cell(series=Series("")), "without a model"),
        (cell(coverage=with_predictions(2**60)), "no device has so many"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(world: World, bad: Cell, reason: str) -> None:
    ((_, ack),) = world.take_in(report(bad))
    assert not ack.committed
    assert reason in ack.refused[0].reason
    assert world.rows("SELECT count(*) FROM cells") == [(0,)]


def test_a_window_one_day_ahead_is_taken(world: World) -> None:
    ((_, ack),) = world.take_in(report(cell(start=START + 86_400)))
    assert ack.committed


def test_a_device_cannot_report_for_another(world: World) -> None:
    ((topic, ack),) = world.take_in(report(cell(), device="pi-2", topic="pi-1"))
    assert topic == "edgemse/v1/pi-1/ack"
    assert "'pi-2' on the topic of 'pi-1'" in ack.refused[0].reason
    assert world.rows("SELECT count(*) FROM cells") == [(0,)]
    assert world.rows("SELECT count(*) FROM devices") == [(0,)]


@pytest.mark.parametrize("level", ["%70i-1", "pi%2d1"])
def test_a_name_in_another_spelling_gets_nothing_in(world: World, level: str) -> None:
    data = encode_report(Report("pi-1", 5, True, (seal(cell()),), {}))
    born = encode_presence(Presence(True, "edgemse 1", "run"))
    assert (
        world.take_in(Message(Kind.REPORT, level, data), Message(Kind.PRESENCE, level, born)) == []
    )
    assert world.counters["reports_malformed"] == 2
    assert world.rows("SELECT count(*) FROM cells") == [(0,)]
    assert world.rows("SELECT count(*) FROM devices") == [(0,)]
    assert world.rows("SELECT DISTINCT device FROM quarantine") == [(level,)]


@pytest.mark.parametrize(
    "message",
    [
        Message(Kind.REPORT, "pi-1", b""),
        Message(Kind.REPORT, "pi-1", b"\x00" * 70_000),
        Message(Kind.REPORT, "pi-1", b"\xc1garbage"),
        Message(Kind.REPORT, "collector", b"x"),
        Message(Kind.REPORT, "%63ollector", b"x"),
        Message(Kind.REPORT, "a%00b", b"x"),
        Message(Kind.REPORT, "a%1Bb", b"x"),
        Message(Kind.REPORT, "%E2%80%AEdrow", b"x"),
        Message(Kind.PRESENCE, escape("a\x9bb"), encode_presence(Presence(True, "e", "r"))),
        Message(Kind.PRESENCE, escape("a\u202eb"), encode_presence(Presence(True, "e", "r"))),
        Message(Kind.PRESENCE, "%67ood", b'{"online": true, "software": "s", "run": "r"}'),
        presence(b"{"),
        presence(b'{"online": true, "software": "a\\u0000b", "run": "r"}'),
        presence(
            b'{"online": true, "software": "e", "run": "r", "attributes": {"a": "\\u001b[2J"}}'
        ),
        presence(b'{"online": true, "software": "e", "run": "r", "attributes": {"\\u202e": "a"}}'),
    ],
)
def test_malformed_messages_go_to_the_quarantine(world: World, message: Message) -> None:
    assert world.take_in(message) == []
    assert world.counters["reports_malformed"] == 1
    ((size, head),) = world.rows("SELECT size_bytes, head FROM quarantine")
    assert size == len(message.payload)
    assert head == message.payload[:4_096]


def of_segments(*segments: object, number: int = 1) -> list[Cell]:
    series = [Series("model", segment=str(each)) for each in segments]
    return [cell(number, place, series=each) for place, each in enumerate(series)]


def codes(answers: list[tuple[str, Ack]]) -> list[tuple[int, Code]]:
    return [(each.sequence, each.code) for _, ack in answers for each in ack.refused]


def test_a_device_has_so_many_series(world: World) -> None:
    limited = World(Limits(series_per_device_max=3), world.store)
    answers = limited.take_in(report(*of_segments(0, 1, 1)), report(*of_segments(0, 1, 2, 3)))
    assert codes(answers) == [(3, Code.LIMIT)]
    assert "series_per_device_max" in answers[0][1].refused[0].reason
    assert limited.counters["over_limit"] == limited.counters["cells_refused"] == 1
    other = report(*of_segments(7, 8, number=2), device="pi-2", topic="pi-2")
    assert codes(limited.take_in(other)) == []
    again = World(Limits(series_per_device_max=3), world.store)
    assert codes(again.take_in(report(*of_segments(2, 4, 0, 1)))) == [(1, Code.LIMIT)]
    assert codes(again.take_in(report(*of_segments(0, 5)))) == [(1, Code.LIMIT)]
    assert world.rows("SELECT device, cells_refused FROM devices ORDER BY device") == [
        ("pi-1", 3),
        ("pi-2", 0),
    ]


def test_the_store_has_so_many_series(world: World) -> None:
    limited = World(Limits(series_max=3), world.store)
    limited.take_in(report(*of_segments(0, 1)))
    other = report(*of_segments(0, 1, number=2), device="pi-2", topic="pi-2")
    assert codes(limited.take_in(other)) == [(1, Code.LIMIT)]
    assert codes(limited.take_in(report(*of_segments(0, 1, 2)))) == [(2, Code.LIMIT)]
    assert codes(World(Limits(series_max=3), world.store).take_in(other)) == [(1, Code.LIMIT)]


def test_the_store_has_so_many_devices(world: World) -> None:
    limited = World(Limits(devices_max=2), world.store)
    born = encode_presence(Presence(True, "edgemse 1", "run"))
    limited.take_in(report(cell()), presence(born, "pi-2"), presence(born, "pi-3"))
    third = report(cell(3), device="pi-3", topic="pi-3")
    ((topic, ack),) = limited.take_in(third, presence(born, "pi-1"))
    assert (topic, ack.refused[0].code) == ("edgemse/v1/pi-3/ack", Code.LIMIT)
    assert "devices_max" in ack.refused[0].reason
    found = world.rows("SELECT device FROM devices ORDER BY device")
    assert found == [("pi-1",), ("pi-2",)]
    assert limited.counters["over_limit"] == 2


def test_known_series_that_were_forgotten_are_looked_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemse.collector.budget.KNOWN_MAX", 2)
    limited = World(Limits(series_per_device_max=3), world.store)
    for _ in range(2):
        assert codes(limited.take_in(report(*of_segments(0, 1, 2)))) == []
    assert codes(limited.take_in(report(*of_segments(0, 3)))) == [(1, Code.LIMIT)]


def test_a_store_that_cannot_say_what_it_has_costs_no_refusal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = World(Limits(series_per_device_max=2), world.store)
    limited.take_in(report(*of_segments(0, 1)))

    def broken() -> None:
        raise StoreError("store x: input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "reading", broken)
        ((_, ack),) = limited.take_in(report(*of_segments(0, 1), *of_segments(2, number=2)))
        assert (len(ack.committed), ack.refused) == (2, ())
        assert limited.counters["messages_dropped"] == 1
    assert codes(limited.take_in(report(*of_segments(2, number=2)))) == [(0, Code.LIMIT)]


def test_only_the_canonical_spelling_of_a_topic_counts(world: World) -> None:
    for level, device in (("%67ood2", "good2"), ("hall%203", "hall 3"), ("a%2fb", "a/b")):
        body = Report(device, 5, True, (seal(cell()),), {})
        assert world.take_in(Message(Kind.REPORT, level, encode_report(body))) == []
    assert world.rows("SELECT count(*) FROM cells") == [(0,)]
    assert world.counters["reports_malformed"] == 3
    reasons = {reason for (reason,) in world.rows("SELECT reason FROM quarantine")}
    assert any("'good2' is written 'good2' in topics" in reason for reason in reasons)
    ((topic, ack),) = world.take_in(report(cell(), device="a/b", topic="a/b"))
    assert (topic, ack.store) == ("edgemse/v1/a%2Fb/ack", world.store.id)


def test_no_report_is_answered_with_much_more_than_its_own_size(world: World) -> None:
    bare = seal(cell())._replace(state=b"", coverage=None)
    cells = tuple(
        bare._replace(identity=Identity(bytes(16), number), window=Window(number * 7, 61))
        for number in range(2_500)
    )
    sent = encode_report(Report("pi-1", 5, True, cells, {}))
    misnamed = encode_report(Report("é" * 128, 5, True, cells, {}))
    for data in (sent, misnamed):
        answers = world.take_in(Message(Kind.REPORT, "pi-1", data))
        assert sum(len(ack.refused) for _, ack in answers) == 2_500
        assert sum(len(each.payload) for each in world.published) < 3 * len(data)


def test_the_quarantine_is_bounded_in_rate(world: World) -> None:
    garbage = [Message(Kind.REPORT, f"pi-{number % 10}", b"?") for number in range(250)]
    world.take_in(*garbage)
    assert world.rows("SELECT count(*) FROM quarantine") == [(200,)]
    assert world.counters["quarantine_unrecorded"] == 50
    world.time += 1
    world.take_in(*garbage[:30])
    assert world.counters["quarantine_unrecorded"] == 60


def test_the_log_of_what_is_refused_is_rationed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    garbage = [Message(Kind.REPORT, f"pi-{number % 10}", b"?") for number in range(150)]
    world.take_in(*garbage)
    assert world.rows("SELECT count(*) FROM quarantine") == [(150,)]
    assert len(caplog.records) <= 5


def test_a_flood_of_one_device_does_not_hide_the_refusals_of_another(world: World) -> None:
    world.take_in(*[Message(Kind.REPORT, "loud", b"?")] * 500, Message(Kind.REPORT, "pi-1", b"?"))
    kept = world.rows("SELECT device, count(*) FROM quarantine GROUP BY device ORDER BY device")
    assert kept == [("loud", 50), ("pi-1", 1)]
    assert world.counters["quarantine_unrecorded"] == 450


def test_a_defect_of_ours_costs_one_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_data: bytes) -> Presence:
        raise RuntimeError("a defect")

    monkeypatch.setattr("edgemse.collector.intake.decode_presence", broken)
    answers = world.take_in(presence(b"{}"), report(cell()))
    assert len(answers) == 1
    assert world.counters["internal_errors"] == 1


def said(**attributes: Attribute) -> Message:
    return presence(encode_presence(Presence(True, "edgemse 1", "run", attributes=attributes)))


def test_presences_are_recorded(world: World) -> None:
    world.take_in(said(site=Attribute("north")), presence(b""))
    assert world.rows("SELECT device, online FROM devices") == [("pi-1", True)]
    assert world.rows("SELECT device, name, value FROM attributes") == [("pi-1", "site", "north")]


def test_an_attribute_of_tomorrow_counts_from_its_receipt(world: World) -> None:
    world.take_in(said(site=Attribute("north", 0)))
    world.take_in(said(site=Attribute("south", START + 86_401)))
    assert world.counters["attribute_times_ignored"] == 1
    spans = "SELECT value, since_seconds FROM attributes ORDER BY since_seconds"
    assert world.rows(spans) == [("north", 0), ("south", START)]


def failing(times: int, commit: Callable[[Batch], dict[Identity, int]]) -> object:
    left = [times]

    def wrapped(batch: Batch) -> dict[Identity, int]:
        if left[0]:
            left[0] -= 1
            raise StoreError("store x: disk full")
        return commit(batch)

    return wrapped


def test_a_failed_commit_is_tried_again_before_anything_is_acked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemse.collector.ingest.BACKOFF_SECONDS", (0.001, 0.002))
    monkeypatch.setattr(world.store, "commit", failing(3, world.store.commit))
    ((_, ack),) = world.take_in(report(cell()))
    assert ack.committed
    assert world.counters["commit_failures"] == 3
    assert not world.ingest.failing


def test_a_store_that_stays_broken_does_not_keep_the_collector_from_ending(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.store, "commit", failing(1_000_000, world.store.commit))
    inbox, stopping, ended = Inbox(world.counters), Event(), Event()
    message = report(cell())
    inbox.put(message)

    def run() -> None:
        with pytest.raises(StoreError):
            world.ingest.run(inbox, stopping)
        ended.set()

    thread = Thread(target=run)
    thread.start()
    eventually(lambda: world.counters["commit_failures"] >= 2)
    assert world.ingest.failing == "store x: disk full"
    stopping.set()
    inbox.close()
    assert ended.wait(10)
    thread.join()
    assert world.published == []


def test_an_ack_that_finds_no_connection_is_counted(world: World) -> None:
    world.connected = False
    assert world.take_in(report(cell())) == []
    assert world.counters["acks_unsent"] == 1
    world.connected = True
    ((_, ack),) = world.take_in(report(cell()))
    assert ack.committed


def test_the_inbox_is_bounded_in_messages_and_bytes() -> None:
    counters = Counters(MEANINGS)
    inbox = Inbox(counters, messages_max=3, bytes_max=10)
    for payload in (b"123", b"456", b"7890x", b"1", b"2"):
        inbox.put(Message(Kind.REPORT, "pi-1", payload))
    assert (len(inbox), counters["messages_dropped"], counters["messages"]) == (3, 2, 5)
    assert [each.payload for each in inbox.take(2, 0.0)] == [b"123", b"456"]
    inbox.put(Message(Kind.REPORT, "pi-1", b"123456789"))
    inbox.close()
    inbox.put(Message(Kind.REPORT, "pi-1", b"late"))
    assert [each.payload for each in inbox.take(10, 1.0)] == [b"1", b"123456789"]
    assert inbox.take(10, 1.0) == []
    assert counters["messages_dropped"] == 3


def test_what_a_closed_inbox_drops_is_counted() -> None:
    counters = Counters(MEANINGS)
    inbox = Inbox(counters)
    inbox.put(Message(Kind.REPORT, "pi-1", b"1"))
    inbox.close(drop=True)
    assert inbox.take(10, 1.0) == []
    assert counters["messages_dropped"] == 1


def test_nothing_is_acknowledged_once_halted(world: World) -> None:
    world.ingest.halted.set()
    assert world.take_in(report(cell())) == []
    assert world.counters["acks_unsent"] == 1
    inbox = Inbox(world.counters)
    inbox.put(report(cell(2)))
    inbox.close()
    world.ingest.run(inbox, Event())
    assert world.rows("SELECT count(*) FROM cells") == [(1,)]


def test_acks_are_no_larger_than_a_report_and_miss_nothing() -> None:
    worker, store = "é" * 256, "s" * 64
    committed = {cell(number % 300, number).identity: 2**63 - number for number in range(1, 5_000)}
    refused = [
        Refusal(bytes([number % 7]) * 16, 2**63 - number, 1, code, "é" * 500 + str(number % 90))
        for number, code in zip(range(1, 2_000), [Code.WINDOW, Code.CORRUPT] * 1_000, strict=False)
    ]
    got: dict[Identity, int] = {}
    why: set[Refusal] = set()
    for each in acks(worker, store, committed, refused):
        assert len(each) <= REPORT_BYTES_MAX
        ack = decode_ack(each)
        assert (ack.worker, ack.store) == (worker, store)
        got |= ack.committed
        why |= set(ack.refused)
    assert got == committed
    assert why == set(refused)


def test_a_reason_that_many_cells_share_is_told_once() -> None:
    refused = [Refusal(bytes(16), number, 1, Code.DEVICE, "x" * 1_000) for number in range(1_500)]
    sent = list(acks("main", "store", {}, refused))
    assert sum(map(len, sent)) < 20_000
    assert [each for ack in sent for each in decode_ack(ack).refused] == refused


def test_the_quarantine_is_trimmed_and_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "ROWS_MAX_PER_DEVICE", 3)
    monkeypatch.setattr(quarantine, "ROWS_MAX", 5)

    def refuse(device: str, count: int, size: int = 1) -> None:
        row = [Quarantined(device, each, "no", 2_000, b"x" * size) for each in range(count)]
        world.store.commit(Batch(quarantined=row))
        quarantine.trim(world.store)

    kept = "SELECT device, count(*) FROM quarantine GROUP BY device ORDER BY device"
    dropped = "SELECT value FROM counters WHERE name = 'quarantine_dropped'"
    refuse("a", 10)
    assert world.rows(kept) == [("a", 3)]
    assert world.rows("SELECT min(received_ms) FROM quarantine") == [(7,)]
    refuse("b", 3)
    assert world.rows(kept) == [("a", 2), ("b", 3)]
    assert world.rows(dropped) == [(8,)]
    monkeypatch.setattr(quarantine, "BYTES_MAX", 100)
    refuse("c", 1, 60)
    refuse("d", 1, 60)
    assert world.rows(kept) == [("d", 1)]
    assert world.rows(dropped) == [(14,)]
