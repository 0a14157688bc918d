"""The uplink: holds, packs, waits, resends, parks."""

from __future__ import annotations

import itertools
import random
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.counting import MEANINGS
from edgemse_agent.ledger import Ledger, Written
from edgemse_agent.pace import Pace
from edgemse_agent.relay import Relay
from edgemse_agent.uplink import IN_FLIGHT_MAX, Stamp, Uplink

from edgemse import ErrorStats
from edgemse.cells import UNPLACED_SECONDS, Identity, SealedCell, Series, Window
from edgemse.counters import Counters
from edgemse.presence import Presence
from edgemse.wire import REPORT_BYTES_MAX, Ack, Code, Refusal, Report, decode_report

PACE = Pace(75.0)
OWN, MONITOR = bytes(16), b"\x01" * 16
ONLINE, OFFLINE = Presence(True, "s", "run"), Presence(False, "s", "run")


def cell(
    sequence: int,
    revision: int = 1,
    producer: bytes = OWN,
    samples: int = 5,
    *,
    final: bool = True,
) -> SealedCell:
    stats = ErrorStats()
    for i in range(samples):
        stats.update(0.0, 1.1**i)
    window = Window(60 * sequence, 60)
    identity = Identity(producer, sequence)
    return SealedCell(identity, revision, final, Series("m"), window, stats.to_bytes(), None)


def large_cell(sequence: int, producer: bytes = OWN) -> SealedCell:
    """Return a cell whose state takes more than 400 bytes."""
    rng, stats = random.Random(1), ErrorStats()
    for _ in range(3_000):
        stats.update(0.0, rng.gauss(0, 1) ** 9)
    sealed = cell(sequence, 1, producer)._replace(state=stats.to_bytes())
    assert len(sealed.state) > 400
    return sealed


class Bench:
    """An uplink with ledger, relay and a time to move."""

    def __init__(self, path: Path | None = None) -> None:
        self.ledger, self.relay, self.counters = Ledger(path), Relay(PACE), Counters(MEANINGS)
        self.uplink = Uplink(
            "pi", "run 1", self.ledger, self.relay, self.counters, random.Random(3), PACE
        )
        self.now = 0.0

    def close(self) -> None:
        self.ledger.close()

    def write(self, *cells: SealedCell) -> None:
        self.ledger.commit(map(Written, cells))

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
    bench.uplink.heard("w", Presence(True, "s", "new run"))
    bench.uplink.heard("w", Presence(False, "s", "old run"))
    assert bench.uplink.online
    bench.uplink.heard("other", Presence(False, "s", "x"))
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
    assert bench.counters["reports_resent"] == 1


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
    assert (bench.ledger.waiting, bench.ledger.parked_now) == (0, 0)


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old"), ("new", "new", "old")])
def test_the_later_connection_hears_however_late_the_broken_one_is_read(
    bench: Bench, order: tuple[str, ...]
) -> None:
    told: list[str] = []
    bench.uplink.heard("w", ONLINE)
    relayed = cell(0, 1, MONITOR)
    for name in order:
        bench.relay.take(
            relayed, 0.0, lambda *_, name=name: told.append(name), "old new".find(name)
        )
    bench.round()
    bench.ack(relayed)
    assert told == ["new"]


def test_the_memory_s_newer_revision_goes_before_the_ledger_s(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.ledger.commit([Written(cell(0, 1, MONITOR), relayed=True)])
    bench.relay.take(cell(0, 2, MONITOR), 0.0, lambda *_: None)
    (report,) = bench.round()
    assert [each.revision for each in report.cells] == [2]
    bench.ack(cell(0, 2, MONITOR))
    assert (bench.ledger.waiting, bench.ledger.parked_now) == (0, 0)


@pytest.mark.parametrize("producer", [OWN, MONITOR])
def test_a_refused_cell_is_parked_and_released_by_hand(bench: Bench, producer: bytes) -> None:
    bench.uplink.heard("w", ONLINE)
    refused = cell(0, 1, producer)
    if producer == OWN:
        bench.write(refused)
    else:
        bench.relay.take(refused, 0.0, lambda *_: None)
    bench.round()
    bench.uplink.acked(Ack("w", {}, (Refusal(producer, 0, 1, Code.FUTURE, "in the year 2242"),)))
    assert bench.round(1_000) == [] or not any(r.cells for r in bench.round(1_000))
    (parked,) = bench.ledger.parked(9)
    assert (parked.code, parked.reason) == ("future", "in the year 2242")
    assert bench.counters["cells_parked"] == 1
    bench.ledger.release()
    assert any(report.cells for report in bench.round())


def test_health_goes_out_once_a_minute_even_without_cells(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    assert len(bench.round()) == 1
    assert bench.round(59) == []
    (report,) = bench.round(2)
    assert report.health["reports"] >= 1


def test_a_report_says_what_waits_is_parked_and_has_no_place(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.uplink.budget.change(1_000_000)
    bench.uplink.budget.spend(30_000)  # of the 41,667 that it begins with
    assert [report.health["bytes_pressing"] for report in bench.round()] == [1]
    bench.uplink.budget.change(0)
    bench.write(cell(0), cell(1), cell(2, final=False))
    bench.round()
    bench.uplink.acked(Ack("w", {}, (Refusal(OWN, 0, 1, Code.NAME, "why"),)))
    unplaced = Window(int(UNPLACED_SECONDS) // 60 * 60 + 60, 60)
    assert unplaced.unplaced
    bench.relay.take(cell(3, 1, MONITOR)._replace(window=unplaced), bench.now, lambda *_: None)
    health = bench.round(61)[-1].health
    assert (health["cells_waiting"], health["cells_parked_now"]) == (3, 1)
    assert health["cells_unplaced"] == 1


def test_each_report_counts_itself_and_the_bytes_of_those_before(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    sent = 0
    for number in range(300):
        bench.write(cell(number))
        bench.now += 1
        (payload,) = bench.uplink.round(Stamp(bench.now, 1e9, True))
        bench.ack(cell(number))
        report = decode_report(payload)
        assert (report.health["reports"], report.health.get("report_bytes", 0)) == (
            number + 1,
            sent,
        )
        assert report.run == "run 1"
        sent += len(payload)


def test_a_forged_ack_makes_nothing_forgotten(bench: Bench) -> None:
    told: list[tuple[Identity, int]] = []
    bench.write(cell(0, 1), cell(1, 1))
    bench.relay.take(cell(0, 1, MONITOR), 0.0, lambda *what: told.append(what))
    bench.uplink.acked(Ack("w", {Identity(p, s): 2**62 for p in (OWN, MONITOR) for s in (0, 1)}))
    assert (bench.ledger.waiting, len(bench.relay), told) == (2, 1, [])
    assert bench.counters["acks_ahead"] == 2
    refusals = (Refusal(OWN, 1, 1, Code.DEFECT, "x"), Refusal(MONITOR, 0, 1, Code.DEFECT, "x"))
    bench.uplink.acked(Ack("w", {}, refusals))
    assert bench.ledger.parked_now == 0
    bench.uplink.heard("w", ONLINE)
    (report,) = bench.round()
    assert len(report.cells) == 3


def test_an_own_cell_that_grew_is_not_done_by_an_ack_beyond_it(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.write(cell(0, 1))
    bench.round()
    bench.write(cell(0, 2))
    bench.uplink.acked(Ack("w", {Identity(OWN, 0): 2**62}))
    (report,) = bench.round()
    assert report.cells[0].revision == 2


def test_a_relayed_cell_is_done_when_the_store_has_a_later_revision(bench: Bench) -> None:
    told: list[tuple[Identity, int]] = []
    bench.uplink.heard("w", ONLINE)
    bench.relay.take(cell(0, 3, MONITOR), 0.0, lambda *what: told.append(what))
    bench.round()
    bench.uplink.acked(Ack("w", {Identity(MONITOR, 0): 5}))
    assert told == [(Identity(MONITOR, 0), 3)]
    assert len(bench.relay) == 0
    assert bench.counters["acks_ahead"] == 0


def test_reports_are_packed_to_what_the_broker_takes(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.uplink.report_bytes_max = 400
    cells = [cell(number) for number in range(20)]
    bench.write(*cells, large_cell(20))
    seen, health = set(), {}
    for _ in range(70):
        bench.now += 1
        for payload in bench.uplink.round(Stamp(bench.now, 1e9, True)):
            assert len(payload) <= 400
            report = decode_report(payload)
            seen |= set(report.cells)
            health |= report.health
            bench.ack(*report.cells)
    assert seen == set(cells)
    assert (bench.ledger.waiting, bench.ledger.parked_now) == (0, 1)
    (parked,) = bench.ledger.parked(9)
    assert (parked.cell.identity.sequence, parked.code) == (20, "limit")
    assert "the broker's limit leaves" in parked.reason
    assert health["cells_parked"] == 1
    bench.uplink.report_bytes_max = REPORT_BYTES_MAX
    bench.ledger.release()
    assert [each.identity.sequence for each in bench.round()[0].cells] == [20]


def test_a_monitor_s_cell_that_no_report_can_carry_is_parked_and_told_durable(
    bench: Bench,
) -> None:
    told: list[tuple[Identity, int]] = []
    bench.uplink.heard("w", ONLINE)
    bench.uplink.report_bytes_max = 400
    large = large_cell(0, MONITOR)
    bench.relay.take(large, 0.0, lambda *what: told.append(what))
    assert not any(report.cells for report in bench.round())
    assert told == [(large.identity, 1)]
    assert (len(bench.relay), bench.ledger.parked_now) == (0, 1)


def test_a_broker_that_takes_no_cell_at_all_parks_none(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.write(cell(0))
    bench.uplink.report_bytes_max = 200
    assert bench.round() == bench.round(100) == []
    assert (bench.ledger.waiting, bench.ledger.parked_now) == (1, 0)
    assert caplog.text.count("have no room for cells") == 1


def test_collectors_that_anybody_claims_to_be_are_bounded(bench: Bench) -> None:
    for number in range(3_000):
        bench.uplink.heard(f"w{number}", ONLINE)
    assert bench.counters["messages_bad"] == 2_000
    bench.uplink.heard("w0", OFFLINE)
    assert bench.uplink.online


def sent(bench: Bench, after: float) -> list[tuple[int, bool]]:
    return [(c.revision, c.final) for report in bench.round(after) for c in report.cells]


def growing(revision: int, *, final: bool = False) -> SealedCell:
    return cell(0, revision, MONITOR, final=final)


def test_a_growing_cell_waits_for_its_oldest_sample_and_a_final_one_does_not(bench: Bench) -> None:
    told: list[tuple[Identity, int]] = []
    bench.uplink.heard("w", ONLINE)
    for second in range(59):
        bench.relay.take(growing(second + 1), bench.now, lambda *what: told.append(what))
        assert sent(bench, 1) == []
    bench.relay.take(growing(60, final=True), bench.now, lambda *what: told.append(what))
    assert sent(bench, 0) == [(60, True)]
    bench.ack(growing(60))
    assert told == [(Identity(MONITOR, 0), 60)]
    assert bench.ledger.waiting == 0


def test_a_cell_of_an_hour_goes_out_once_for_each_age_of_a_sample(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    published = []
    for second in range(1, 3_601):
        revision = growing(second, final=second == 3_600)
        bench.relay.take(revision, bench.now, lambda *_: None)
        for number, _ in sent(bench, 1):
            published.append(number)
            bench.ack(growing(number))
        assert not bench.relay.overdue(bench.now)
    assert published[0] == 65
    assert len(published) == 56
    assert len(bench.relay) == 0


def test_the_clock_goes_on_from_the_first_revision_after_the_acknowledged_one(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.relay.take(growing(1), 0.0, lambda *_: None)
    assert sent(bench, 65) == [(1, False)]
    bench.relay.take(growing(2), 67.0, lambda *_: None)
    bench.relay.take(growing(3), 69.0, lambda *_: None)
    bench.now = 69.5
    bench.ack(growing(1))
    assert not bench.relay.overdue(136.9)
    assert [r.cell.revision for r in bench.relay.overdue(137.0)] == [3]
    bench.now = 131.0
    assert sent(bench, 0.9) == []
    assert sent(bench, 0.1) == [(3, False)]


def test_the_ledger_takes_over_what_the_collector_does_not_answer(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.relay.take(growing(1), 0.0, lambda *_: None)
    assert sent(bench, 65) == [(1, False)]
    assert bench.relay.overdue(69.9) == []
    assert len(bench.relay.overdue(70.0)) == 1


def test_a_monitor_that_waits_is_served_at_once(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.relay.take(growing(1), 0.0, lambda *_: None)
    assert sent(bench, 1) == []
    bench.relay.hurry(OWN, bench.now, online=True)
    assert sent(bench, 0) == []
    bench.relay.hurry(MONITOR, bench.now, online=True)
    assert sent(bench, 0) == [(1, False)]
    assert bench.relay.overdue(bench.now + 1.9) == []
    assert len(bench.relay.overdue(bench.now + 2.0)) == 1


def test_without_a_collector_what_is_waited_for_goes_to_the_ledger_at_once(bench: Bench) -> None:
    bench.relay.take(growing(1), 0.0, lambda *_: None)
    assert bench.relay.overdue(bench.now) == []
    bench.relay.hurry(MONITOR, bench.now, online=False)
    assert len(bench.relay.overdue(bench.now)) == 1


def test_a_growing_cell_of_the_ledger_waits_and_its_final_revision_does_not(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)

    def write(revision: int, *, final: bool = False) -> None:
        written = cell(0, revision, final=final)
        bench.write(written)
        bench.uplink.written(written, bench.now)

    write(1)
    assert sent(bench, 64.9) == []
    write(2)
    assert sent(bench, 0.1) == [(2, False)]
    bench.ack(cell(0, 2))
    write(3)
    assert sent(bench, 1) == []
    write(4, final=True)
    assert sent(bench, 0) == [(4, True)]


def test_what_is_marked_as_it_is_written_goes_out_without_another_transaction(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [cell(i) for i in range(20)]
    assert bench.uplink.mark(cells, bench.now) == set()  # nobody listens
    bench.uplink.heard("w", ONLINE)
    bench.round()
    marked = bench.uplink.mark(cells, bench.now)
    assert marked == {each.identity for each in cells}
    bench.ledger.commit(Written(each, exposed=1) for each in cells)
    monkeypatch.setattr(bench.ledger, "expose", lambda _revisions: 1 // 0)
    (report,) = bench.round()
    assert len(report.cells) == 20
    assert bench.counters["reports_resent"] == 0
    (again,) = bench.round(10)
    assert (len(again.cells), bench.counters["reports_resent"]) == (20, 1)


def test_no_more_is_marked_than_the_next_round_can_hand_over(bench: Bench) -> None:
    bench.uplink.heard("w", ONLINE)
    bench.round()
    assert bench.uplink.mark([cell(1, final=False)], bench.now) == set()
    many = [cell(i, samples=400) for i in range(5_000)]
    marked = bench.uplink.mark(many, bench.now)
    assert 100 < len(marked) < 2_000
    bench.ledger.commit(Written(each, exposed=each.identity in marked) for each in many)
    sent = {each.identity for report in bench.round() for each in report.cells}
    assert marked <= sent
    assert bench.uplink.mark([cell(9_000)], bench.now) == set()  # others wait before it
