"""Each delivery rule that the simulation can see, taken out: then it must see that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from edgemse_agent.intake.clients import LineClient
from edgemse_agent.ledger import Held, Ledger
from edgemse_agent.relay import Relay
from edgemse_agent.uplink import Uplink
from simulation.world import Collector, lived

from edgemse.cells import Identity
from edgemse.monitor.cells import CellConversation
from edgemse.monitor.session import SessionConversation

SEEDS = 150
"""In most of these worlds nothing happens that the rule is there for."""

Patch = Callable[[pytest.MonkeyPatch], None]


def any_revision_wins_in_the_store(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("simulation.world.newest", lambda _held, _offered: True)


def an_ack_of_any_revision_is_enough(patch: pytest.MonkeyPatch) -> None:
    real = Ledger.acked

    def acked(self: Ledger, committed: Mapping[Identity, int], *rest: Any) -> int:
        highest = dict.fromkeys(committed, 2**60)
        self.expose(highest)
        return real(self, highest, *rest)

    patch.setattr(Ledger, "acked", acked)


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


def cells_are_durable_once_they_are_relayed(patch: pytest.MonkeyPatch) -> None:
    real = Relay.take

    def take(self: Relay, cell: Any, now: float, tell: Any) -> bool:
        tell(cell.identity, cell.revision)
        return real(self, cell, now, tell)

    patch.setattr(Relay, "take", take)


def nothing_is_marked_before_it_is_handed_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "expose", lambda _self, _revisions: None)
    patch.setattr(Uplink, "mark", lambda _self, _cells, _now: set())


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
    real = Collector.take

    def take(self: Collector, payload: bytes) -> bytes | None:
        held = dict(self.cells)
        ack = real(self, payload)
        if len(self.cells) % 5 == 0:  # and then the collector dies
            self.cells = held
        return ack

    patch.setattr(Collector, "take", take)


RULES: list[Patch] = [
    any_revision_wins_in_the_store,
    an_ack_of_any_revision_is_enough,
    lines_are_taken_whatever_their_number,
    numbers_are_counted_from_the_last_hello,
    line_counts_are_not_in_the_transaction,
    pairing_is_not_in_the_transaction,
    cells_are_durable_once_they_are_relayed,
    nothing_is_marked_before_it_is_handed_over,
    exposed_cells_are_coarsened,
    what_has_no_place_is_exposed,
    times_of_pairing_are_not_placed,
    a_monitor_forgets_what_it_has_sent,
    a_session_forgets_what_it_has_sent,
    acks_are_sent_before_the_commit,
]


@pytest.mark.parametrize("without", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_that_is_taken_out_is_missed(
    without: Patch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
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
            print(f"seed {seed}: {wrong}")
            return
    pytest.fail(f"{SEEDS} worlds without the rule, and nothing is wrong in any")
