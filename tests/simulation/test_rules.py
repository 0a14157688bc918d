"""Each delivery rule, taken out: then the simulation must see that, or a test of its own does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from edgemse_agent.intake.clients import LineClient
from edgemse_agent.ledger import Held, Ledger
from edgemse_agent.pairing import Label, Pairing
from edgemse_agent.relay import Relay
from edgemse_agent.uplink import Uplink
from simulation.fleet import Fleet, Stored
from simulation.world import lived
from support.ledgers import OWN

from edgemse.cells import Identity
from edgemse.monitor.cells import CellConversation
from edgemse.monitor.session import SessionConversation

SEEDS = 200
"""In most of these worlds nothing happens that the rule is there for."""

Patch = Callable[[pytest.MonkeyPatch], None]


def the_store_knows_cells_by_device_too(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fleet, "key", lambda _self, device, identity: (device, identity))


def every_run_has_the_same_producer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("edgemse.growing.new_producer", lambda: OWN)


def any_revision_wins_in_the_store(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("simulation.fleet.newest", lambda _held, _offered: True)


def an_ack_of_any_revision_is_enough(patch: pytest.MonkeyPatch) -> None:
    real = Ledger.acked

    def acked(self: Ledger, committed: Mapping[Identity, int], *rest: Any) -> int:
        highest = dict.fromkeys(committed, 2**60)
        self.expose(highest)
        return real(self, highest, *rest)

    patch.setattr(Ledger, "acked", acked)


def what_a_killed_run_left_open_stays_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "close_left_open", lambda _self: 0)


def lines_are_taken_whatever_their_number(patch: pytest.MonkeyPatch) -> None:
    def is_next(self: LineClient, session: str, _n: int | None) -> bool:
        self._agent.count_line(session)
        return True

    patch.setattr(LineClient, "_is_next", is_next)


def numbers_are_counted_from_the_last_hello(patch: pytest.MonkeyPatch) -> None:
    """As it was once: each end counts by inference, and neither sends a number."""
    said: dict[LineClient, int] = {}
    take, is_next = LineClient._take, LineClient._is_next

    def hear(self: LineClient, line: Any) -> str:
        if hasattr(line, "start"):
            said[self] = line.start
        return take(self, line)

    def counted(self: LineClient, session: str, _n: int | None) -> bool:
        number = said[self]
        said[self] += 1
        return is_next(self, session, number)

    patch.setattr(LineClient, "_take", hear)
    patch.setattr(LineClient, "_is_next", counted)


def line_counts_are_not_in_the_transaction(patch: pytest.MonkeyPatch) -> None:
    real = Ledger.commit

    def commit(self: Ledger, cells: Any = (), *rest: Any, **more: Any) -> Any:
        ids = rest[0] if rest else None
        return real(self, cells, ids, {}, **more)

    patch.setattr(Ledger, "commit", commit)


def pairing_is_not_in_the_transaction(patch: pytest.MonkeyPatch) -> None:
    real = Ledger.commit

    def commit(self: Ledger, cells: Any = (), *rest: Any, **more: Any) -> Any:
        sessions = rest[1] if rest else {}
        return real(self, cells, None, sessions, **more)

    patch.setattr(Ledger, "commit", commit)


def another_ledger_is_taken_for_the_same(patch: pytest.MonkeyPatch) -> None:
    real = SessionConversation._take_received

    def take(self: SessionConversation, ledger: str, received: int) -> None:
        self._ledger = ledger
        if received < self._first:  # it goes on there all the same
            self._next = received = self._first
        real(self, ledger, received)

    patch.setattr(SessionConversation, "_take_received", take)


def a_label_does_not_wait_for_its_prediction(patch: pytest.MonkeyPatch) -> None:
    real = Pairing.label

    def label(self: Pairing, key: str, label: Label, now: float) -> None:
        real(self, key, label, now)
        entry = self._waiting.get(key)
        if entry is not None and entry.early:
            self._let_go(key, self._waiting)

    patch.setattr(Pairing, "label", label)


def lines_are_confirmed_before_they_are_committed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("edgemse_agent.agent.Agent.durable", lambda self, s: self.received(s))


def a_newer_revision_starts_the_clock_anew(patch: pytest.MonkeyPatch) -> None:
    real = Relay.take

    def take(self: Relay, cell: Any, now: float, *rest: Any) -> bool:
        taken = real(self, cell, now, *rest)
        self._cells[cell.identity].since = now
        return taken

    patch.setattr(Relay, "take", take)


def an_ack_moves_the_clock_to_the_newest_revision(patch: pytest.MonkeyPatch) -> None:
    real = Relay.acked

    def acked(self: Relay, committed: Mapping[Identity, int]) -> None:
        real(self, committed)
        for held in self.named(committed):
            held.since = self.latest

    take = Relay.take

    def taken(self: Relay, cell: Any, now: float, *rest: Any) -> bool:
        self.latest = now  # type: ignore[attr-defined]
        return take(self, cell, now, *rest)

    patch.setattr(Relay, "acked", acked)
    patch.setattr(Relay, "take", taken)


def cells_are_durable_once_they_are_relayed(patch: pytest.MonkeyPatch) -> None:
    real = Relay.take

    def take(self: Relay, cell: Any, now: float, tell: Any) -> bool:
        tell(cell.identity, cell.revision)
        return real(self, cell, now, tell)

    patch.setattr(Relay, "take", take)


def nothing_is_marked_before_it_is_handed_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "expose", lambda _self, _revisions: None)
    patch.setattr(Uplink, "mark", lambda _self, _cells, _now: set())


def monitors_cells_are_coarsened(patch: pytest.MonkeyPatch) -> None:
    def coarsenable(self: Ledger, narrower: int, _limit: int) -> list[Any]:
        fresh = [held.cell for held in self.due(1_000) if not held.exposed and held.cell.final]
        return [cell for cell in fresh if cell.window.width < narrower]

    patch.setattr(Ledger, "coarsenable", coarsenable)


def a_cloned_card_is_taken_for_the_original(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("simulation.world.OTHER_BOARD", "board 1")


def open_cells_are_absorbed_by_retention(patch: pytest.MonkeyPatch) -> None:
    def absorbs(_self: Fleet, _stored: Stored) -> bool:
        return True

    patch.setattr(Fleet, "absorbs", absorbs)


def absorbed_names_are_not_written_down(patch: pytest.MonkeyPatch) -> None:
    real = Fleet.retain

    def retain(self: Fleet) -> None:
        for key in list(self.absorbed):
            nameless = object()
            self.absorbed[nameless] = self.absorbed.pop(key)
            self.names[nameless] = self.names[key]
        real(self)

    patch.setattr(Fleet, "retain", retain)


def a_refused_cell_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = Ledger.park

    def park(self: Ledger, refused: Mapping[Identity, Any], **more: Any) -> int:
        parked = real(self, refused, **more)
        self.let_go_parked(0)
        return parked

    patch.setattr(Ledger, "park", park)


def exposed_cells_are_coarsened(patch: pytest.MonkeyPatch) -> None:
    def coarsenable(self: Ledger, narrower: int, _limit: int) -> list[Any]:
        held: Iterable[Held] = self.due(1_000)
        own = [each.cell for each in held if each.cell.final]
        return [cell for cell in own if cell.window.width < narrower]

    patch.setattr(Ledger, "coarsenable", coarsenable)


def what_has_no_place_is_exposed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("edgemse_agent.ledger.transactions.UNPLACED", "FALSE")


def times_of_pairing_are_not_placed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("edgemse_agent.pairing.Pairing.place", lambda _self, _place: None)


def a_monitor_forgets_what_it_has_sent(patch: pytest.MonkeyPatch) -> None:
    real = CellConversation.due

    def due(self: CellConversation) -> list[bytes]:
        lines = real(self)
        for cell in list(self._growing):
            self._take_durable(cell.sequence, cell.revision)
        return lines

    patch.setattr(CellConversation, "due", due)


def a_session_forgets_what_it_has_sent(patch: pytest.MonkeyPatch) -> None:
    real = SessionConversation.due

    def due(self: SessionConversation) -> list[bytes]:
        lines = real(self)
        self._take_durable(self._sent)
        return lines

    patch.setattr(SessionConversation, "due", due)


def acks_are_sent_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    real = Fleet.take

    def take(self: Fleet, payload: bytes, *risks: float) -> bytes | None:
        held = dict(self.cells)
        ack = real(self, payload, *risks)
        if len(self.cells) % 5 == 0:  # and then the collector dies
            self.cells = held
        return ack

    patch.setattr(Fleet, "take", take)


RULES: dict[str, list[Patch]] = {
    "1": [the_store_knows_cells_by_device_too],
    "2": [every_run_has_the_same_producer],
    "3": [any_revision_wins_in_the_store, an_ack_of_any_revision_is_enough],
    "4": [what_a_killed_run_left_open_stays_open],
    "5": [
        lines_are_taken_whatever_their_number,
        numbers_are_counted_from_the_last_hello,
        line_counts_are_not_in_the_transaction,
        pairing_is_not_in_the_transaction,
        a_session_forgets_what_it_has_sent,
    ],
    "6": [another_ledger_is_taken_for_the_same],
    "7": [a_label_does_not_wait_for_its_prediction],
    "8": [
        lines_are_confirmed_before_they_are_committed,
        cells_are_durable_once_they_are_relayed,
        acks_are_sent_before_the_commit,
        a_monitor_forgets_what_it_has_sent,
    ],
    "9": [
        a_newer_revision_starts_the_clock_anew,
        an_ack_moves_the_clock_to_the_newest_revision,
    ],
    "10": [nothing_is_marked_before_it_is_handed_over],
    "11": [exposed_cells_are_coarsened, monitors_cells_are_coarsened],
    "12": [a_cloned_card_is_taken_for_the_original],
    "13": [open_cells_are_absorbed_by_retention, absorbed_names_are_not_written_down],
    "15": [a_refused_cell_is_forgotten],
    "the clock": [what_has_no_place_is_exposed, times_of_pairing_are_not_placed],
}
"""By the rule's number in docs/reliability.md, what is done instead of it."""
ALL = [(rule, patch) for rule, patches in RULES.items() for patch in patches]


@pytest.mark.timeout(600)  # some rules matter in one world of a hundred
@pytest.mark.parametrize(("rule", "without"), ALL, ids=lambda each: getattr(each, "__name__", each))
def test_a_rule_that_is_taken_out_is_missed(
    rule: str, without: Patch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without(monkeypatch)
    for seed in range(1, SEEDS + 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            wrong = lived(seed, folder)
        except AssertionError as error:  # NeverArrivesError, or an agent that complains
            wrong = str(error)
        if wrong:
            print(f"rule {rule}, seed {seed}: {wrong}")
            return
    pytest.fail(f"{SEEDS} worlds without the rule, and nothing is wrong in any")
