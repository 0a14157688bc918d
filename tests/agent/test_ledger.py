"""The ledger: replace-if-newer, rule by rule, and files that are not what they should be."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from edgemse_agent.ledger import Ledger, Refused, Written

from edgemse import ErrorStats
from edgemse.cells import UNPLACED_SECONDS, Identity, SealedCell, Series, Window
from edgemse.errors import LedgerError, LedgerLockedError, SettingsError

PRODUCER = bytes(16)
NAME = Identity(PRODUCER, 0)


def cell(sequence: int = 0, revision: int = 1, *, final: bool = False) -> SealedCell:
    state = ErrorStats().to_bytes()
    identity = Identity(PRODUCER, sequence)
    return SealedCell(identity, revision, final, Series("m"), Window(0, 60), state, None)


def test_the_highest_revision_wins(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        for revision in (2, 1, 2):
            ledger.commit([Written(cell(revision=revision))])
        (held,) = ledger.due(9)
        assert held.cell.revision == 2


def test_an_ack_of_a_lower_revision_leaves_the_cell_due(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger.commit([Written(cell(revision=3, final=True))])
        ledger.expose({NAME: 3})
        ledger.acked({NAME: 2})
        assert ledger.waiting == 1
        ledger.acked({NAME: 3})
        assert ledger.waiting == 0


def test_an_own_row_stays_until_its_final_revision_is_acked(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with closing(Ledger(path)) as ledger:
        ledger.commit([Written(cell(revision=1))])
        ledger.expose({NAME: 1})
        ledger.acked({NAME: 1})
        assert ledger.due(9) == []
    with closing(Ledger(path)) as ledger:
        assert ledger.close_left_open() == 1
        (held,) = ledger.due(9)
        assert (held.cell.revision, held.cell.final) == (2, True)
        assert ledger.close_left_open() == 0


def test_a_relayed_cell_is_not_closed_by_the_agent_and_goes_when_acked(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger.commit([Written(cell(revision=1), relayed=True)])
        assert ledger.close_left_open() == 0
        ledger.expose({NAME: 1})
        ledger.acked({NAME: 1})
        assert ledger.waiting == 0


def test_exposed_cells_come_first_and_are_never_coarsened(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger.commit([Written(cell(i, final=True)) for i in range(3)])
        ledger.commit([Written(cell(3, final=True), relayed=True)])
        ledger.expose({Identity(PRODUCER, 2): 1})
        assert [held.exposed for held in ledger.due(9)] == [1, 0, 0, 0]
        assert [c.identity.sequence for c in ledger.coarsenable(3_600, 9)] == [0, 1]


def test_the_newest_of_many_are_neither_parked_nor_without_a_place(tmp_path: Path) -> None:
    unplaced = Window(int(UNPLACED_SECONDS) // 60 * 60 + 60, 60)
    with closing(Ledger(tmp_path / "l")) as ledger:
        windows = [Window(60 * i, 60) for i in range(8)] + [unplaced]
        cells = [cell(i, final=True)._replace(window=w) for i, w in enumerate(windows)]
        ledger.commit(map(Written, cells))
        ledger.park({cells[7].identity: Refused(1, "limit", "too large")}, unsent=True)
        ledger.expose({cells[0].identity: 1, cells[6].identity: 1})
        due = [held.cell.identity.sequence for held in ledger.due(4)]
        assert due == [0, 6, 5, 1]


def test_a_parked_cell_is_neither_due_nor_forgotten(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger.commit([Written(cell(final=True))])
        ledger.expose({NAME: 1})
        assert ledger.park({NAME: Refused(1, "future", "too far in the future")}) == 1
        assert ledger.due(9) == []
        assert ledger.parked(9)[0].reason == "too far in the future"
        assert (ledger.waiting, ledger.parked_now) == (0, 1)
        assert ledger.release() == 1
        assert len(ledger.due(9)) == 1


def test_a_second_agent_is_turned_away(tmp_path: Path) -> None:
    held = "another edgemse-agent holds it"
    with closing(Ledger(tmp_path / "l")), pytest.raises(LedgerLockedError, match=held):
        Ledger(tmp_path / "l")


def test_another_board_s_ledger_is_set_aside_whole(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with closing(Ledger(path, hardware="board 1")) as ledger:
        first = ledger.id
        ledger.commit([Written(cell())])
    with closing(Ledger(path, hardware="board 2")) as ledger:
        assert ledger.waiting == 0
        assert ledger.id != first
        assert ledger.set_aside is not None
        assert ledger.set_aside.name == "l.foreign-1"
    with closing(Ledger(tmp_path / "l.foreign-1", hardware="board 1")) as ledger:
        assert (ledger.id, ledger.waiting) == (first, 1)


@pytest.mark.parametrize("damage", ["junk", "truncated", "empty page", "other tables"])
def test_a_corrupt_ledger_never_keeps_the_agent_from_starting(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "l"
    with closing(Ledger(path)) as ledger:
        ledger.commit([Written(cell(i)) for i in range(200)])
    content = path.read_bytes()
    if damage == "junk":
        path.write_bytes(b"not a database at all" * 100)
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2 - 17])
    elif damage == "empty page":
        path.write_bytes(content[:8192] + bytes(4096) + content[12288:])
    else:
        path.unlink()
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 1")
            database.execute("CREATE TABLE meta (key, value)")
            database.commit()
    with closing(Ledger(path)) as ledger:
        assert ledger.set_aside is not None
        assert ledger.set_aside.name == "l.corrupt-1"
        ledger.commit([Written(cell())])


def test_what_can_be_no_ledger_is_a_wrong_setting_and_left_as_it_is(tmp_path: Path) -> None:
    folder, pipe = tmp_path / "l", tmp_path / "p"
    folder.mkdir()
    os.mkfifo(pipe, 0o644)
    for path, told in (
        (folder, "is a folder; wanted a file, say .*/l/ledger.sqlite"),
        (pipe, "pipe"),
    ):
        mode = path.stat().st_mode
        with pytest.raises(SettingsError, match=told):
            Ledger(path)
        assert path.stat().st_mode == mode
    assert sorted(tmp_path.iterdir()) == [folder, pipe]


def test_a_folder_that_cannot_be_made_is_told() -> None:
    with pytest.raises(LedgerError, match=r"cannot be written: .*; set another path"):
        Ledger(Path("/proc/nowhere/ledger"))


def test_sessions_are_bounded_and_the_latest_stay(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        for i in range(1_050):
            ledger.commit(sessions={f"s{i}": i}, elapsed_seconds=float(i))
        kept = ledger.sessions()
        assert len(kept) == 1_000
        assert kept["s1049"] == 1049
        assert "s0" not in kept


def test_the_numbers_are_right_whatever_happened(tmp_path: Path) -> None:
    rng = random.Random(5)
    with closing(Ledger(tmp_path / "l")) as ledger:
        for _ in range(400):
            name, revision = Identity(PRODUCER, rng.randrange(20)), rng.randrange(1, 5)
            action = rng.randrange(6)
            if action == 0:
                ledger.commit([Written(cell(name.sequence, revision, final=rng.random() < 0.5))])
            elif action == 1:
                ledger.commit([Written(cell(name.sequence, revision), relayed=True)])
            elif action == 2:
                ledger.expose({name: revision})
            elif action == 3:
                ledger.acked({name: revision})
            elif action == 4:
                ledger.park({name: Refused(revision, "corrupt", "why")})
            else:
                ledger.release()
            assert ledger.waiting == len(ledger.due(99))
            assert ledger.parked_now == len(ledger.parked(99))
    with closing(Ledger(tmp_path / "l")) as again:
        assert again.waiting == len(again.due(99))


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")):
        assert (tmp_path / "l").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger: ledger.commit([Written(cell())]),
        lambda ledger: ledger.expose({NAME: 1}),
        lambda ledger: ledger.acked({NAME: 1}),
        lambda ledger: ledger.park({NAME: Refused(1, "corrupt", "")}),
        lambda ledger: ledger.release(),
        lambda ledger: ledger.due(1),
        lambda ledger: ledger.parked(1),
        lambda ledger: ledger.coarsenable(60, 1),
        lambda ledger: list(ledger.entries()),
        lambda ledger: ledger.sessions(),
        lambda ledger: ledger.attributes({"a": "b"}, 0.0),
        lambda ledger: ledger.remember_store("a"),
        lambda ledger: ledger.close_left_open(),
    ],
)
def test_a_ledger_that_fails_raises_its_own_error_only(call: Any, tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger._database.close()
        with pytest.raises(LedgerError, match="check the disk"):
            call(ledger)


def test_an_ack_is_written_with_the_next_transaction_and_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with closing(Ledger(path)) as ledger:
        ledger.commit([Written(cell(i, final=True)) for i in range(3)])
        ledger.expose({Identity(PRODUCER, i): 1 for i in range(2)})
        commits = ledger.commits
        assert ledger.acked({NAME: 1, Identity(PRODUCER, 2): 1, Identity(PRODUCER, 9): 1}) == 1
        assert (ledger.waiting, ledger.owes, ledger.commits) == (2, True, commits)
        assert [held.cell.identity.sequence for held in ledger.due(9)] == [1, 2]
        assert [held.cell.identity.sequence for held in ledger.due(1)] == [1]
        ledger.commit()
        assert (ledger.waiting, ledger.owes, ledger.own) == (2, False, 2)
        ledger.acked({Identity(PRODUCER, 1): 1})
    with closing(Ledger(path)) as ledger:  # it was killed: what it owed comes again
        assert ledger.waiting == 2
        assert ledger.acked({Identity(PRODUCER, 1): 1}) == 0
        assert ledger.waiting == 1


def test_an_ack_of_what_no_ledger_holds_costs_no_transaction(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        assert ledger.acked({NAME: 3}, {NAME: 3}) == 0
        assert not ledger.owes


def test_an_ack_that_cannot_be_written_is_owed_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger.commit([Written(cell(final=True), exposed=1)])
        ledger.acked({NAME: 1})
        with monkeypatch.context() as patch:
            patch.setattr("edgemse_agent.ledger.opened.META_UPDATE", "no statement")
            with pytest.raises(LedgerError):
                ledger.commit()
        assert (ledger.owes, ledger.waiting) == (True, 0)
        ledger.commit()
        assert (ledger.owes, ledger.own) == (False, 0)
