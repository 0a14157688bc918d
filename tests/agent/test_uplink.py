"""The uplink: holds, packs, waits, resends, parks."""

from __future__ import annotations

import itertools
import random
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.health import Health
from edgemse_agent.ledger import Ledger
from edgemse_agent.relay import Relay
from edgemse_agent.uplink import IN_FLIGHT_MAX, Stamp, Uplink

from edgemse import ErrorStats
from edgemse.cells import Identity, SealedCell, Series, Window
from edgemse.wire import REPORT_BYTES_MAX, Ack, Refusal, Report, State, decode_report

OWN, MONITOR = bytes(16), b"\x01" * 16
ONLINE, OFFLINE = State(True, "s", "run"), State(False, "s", "run")


def cell(sequence: int, revision: int = 1, producer: bytes = OWN, samples: int = 5) -> SealedCell:
    stats = ErrorStats()
    for i in range(samples):
        stats.update(0.0, 1.1**i)
    window = Window(60 * sequence, 60)
    identity = Identity(producer, sequence)
    return SealedCell(identity, revision, True, Series("m"), window, stats.to_bytes(), None)


class Bench:
    """An uplink with ledger, relay and a time to move."""

    def __init__(self, path: Path | None = None) -> None:
        self.ledger, self.relay, self.health = Ledger(path), Relay(), Health()
        self.uplink = Uplink("pi", self.ledger, self.relay, self.health, random.Random(3))
        self.now = 0.0

    def close(self) -> None:
        self.ledger.close()

    def write(self, *cells: SealedCell) -> None:
        self.ledger.commit((each, False, False) for each in cells)

    def round(self, after: float = 0.0) -> list[Report]:
        self.now += after
        reports = self.uplink.round(Stamp(self.now, 1e9 + self.now, True))
        assert all(len(report) <= REPORT_BYTES_MAX for report in reports)
        return [decode_report(report) for report in reports]

    def ack(self, *cells: SealedCell) -> None:
        self.uplink.acked(Ack("w", {each.identity: each.revision for each in cells}))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    with closing(Bench(tmp_path / "l")) as bench:
        yield bench


def test_it_holds_while_no_collector_is_online(bench: Bench) -> None:
    bench.write(cell(0))
    assert bench.round() == []
    bench.uplink.heard("w", OFFLINE)
    assert bench.round(1_000) == []
    assert not bench.ledger.due(1)[0].exposed
    bench.uplink.heard("w", ONLINE)
    assert [len(report.cells) for report in bench.round()] == [1]
    assert bench.ledger.due(1)[0].exposed


def test_the_will_of_an_earlier_run_does_not_count(bench: Bench) -> None:
    bench.uplink.heard("w", State(True, "s", "new run"))
    bench.uplink.heard("w", State(False, "s", "old run"))
    assert bench.uplink.online
    bench.uplink.heard("other", State(False, "s", "x"))
    assert bench.uplink.online
    bench.uplink.heard("w", None)
    assert not bench.uplink.online


def test_what_is_acknowledged_is_not_sent_again_and_the_rest_is(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.write(cell(0), cell(1))
    bench.round()
    bench.ack(cell(0))
    assert bench.round(1) == []
    (again,) = bench.round(10)
    assert [each.identity.sequence for each in again.cells] == [1]
    assert bench.health["reports_resent"] == 1


def test_it_backs_off_and_begins_anew_after_an_ack(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.write(cell(0))
    bench.round()
    resent = [bench.now for _ in range(3_000) if any(r.cells for r in bench.round(1))]
    waits = [after - before for before, after in itertools.pairwise([0.0, *resent])]
    for number, wait in enumerate(waits):
        expected = min(300.0, 5.0 * 2**number)
        assert 0.75 * expected <= wait <= 1.25 * expected + 1
    assert len(waits) > 10
    bench.ack(cell(1))
    bench.uplink.disconnected()
    bench.uplink.heard("w", ONLINE)
    bench.round()
    assert not any(report.cells for report in bench.round(3.5))
    assert any(report.cells for report in bench.round(3))


def test_no_more_than_the_window_is_under_way_across_restarts(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with closing(Bench(path)) as bench:
        bench.uplink.heard("w", ONLINE)
        bench.write(*(cell(i, samples=400) for i in range(2_000)))
        reports = bench.round()
        assert len(reports) == IN_FLIGHT_MAX
        assert bench.round(1) == []
        sent = {each.identity for report in reports for each in report.cells}
    with closing(Bench(path)) as later:
        later.uplink.heard("w", ONLINE)
        again = {each.identity for report in later.round() for each in report.cells}
        assert again == sent


def test_a_cell_that_grew_goes_at_its_newest_revision(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.write(cell(0, 1))
    bench.round()
    bench.write(cell(0, 2))
    bench.ack(cell(0, 1))
    (report,) = bench.round()
    assert report.cells[0].revision == 2


def test_a_monitor_hears_when_its_cell_is_durable(bench: Bench) -> None:
    told: list[tuple[Identity, int]] = []
    bench.uplink.heard("w", ONLINE)
    relayed = cell(0, 1, MONITOR)
    assert bench.relay.take(relayed, 0.0, lambda *what: told.append(what))
    assert not bench.relay.take(relayed, 1.0, lambda *what: told.append(what))
    (report,) = bench.round()
    assert report.cells == (relayed,)
    newer = cell(0, 2, MONITOR)
    bench.relay.take(newer, 2.0, lambda *what: told.append(what))
    bench.ack(relayed)
    assert told == [(relayed.identity, 1)]
    assert len(bench.relay) == 1
    bench.round()
    bench.ack(newer)
    assert told[-1] == (relayed.identity, 2)
    assert len(bench.relay) == 0
    assert bench.ledger.count() == (0, 0)


def test_the_memory_s_newer_revision_goes_before_the_ledger_s(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.ledger.commit([(cell(0, 1, MONITOR), True, False)])
    bench.relay.take(cell(0, 2, MONITOR), 0.0, lambda *_: None)
    (report,) = bench.round()
    assert [each.revision for each in report.cells] == [2]
    bench.ack(cell(0, 2, MONITOR))
    assert bench.ledger.count() == (0, 0)


@pytest.mark.parametrize("producer", [OWN, MONITOR])
def test_a_refused_cell_is_parked_and_released_by_hand(bench: Bench, producer: bytes) -> None:
    bench.uplink.heard("w", ONLINE)
    refused = cell(0, 1, producer)
    if producer == OWN:
        bench.write(refused)
    else:
        bench.relay.take(refused, 0.0, lambda *_: None)
    bench.round()
    bench.uplink.acked(Ack("w", {}, (Refusal(producer, 0, 1, "in the year 2242"),)))
    assert bench.round(1_000) == [] or not any(r.cells for r in bench.round(1_000))
    assert [why for _, why in bench.ledger.parked()] == ["in the year 2242"]
    assert bench.health["cells_parked"] == 1
    bench.ledger.release()
    assert any(report.cells for report in bench.round())


def test_health_goes_out_once_a_minute_even_without_cells(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    assert len(bench.round()) == 1
    assert bench.round(59) == []
    (report,) = bench.round(2)
    assert report.health["reports"] >= 1


def test_each_report_counts_itself_and_its_bytes(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    sent = 0
    for number in range(300):  # past where a count takes a byte more
        bench.write(cell(number))
        bench.now += 1
        (payload,) = bench.uplink.round(Stamp(bench.now, 1e9, True))
        bench.ack(cell(number))
        sent += len(payload)
        health = decode_report(payload).health
        assert (health["reports"], health["report_bytes"]) == (number + 1, sent)
