"""The ledger: replace-if-newer, rule by rule, and files that are not what they should be."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.ledger import Ledger

from edgemse import ErrorStats
from edgemse.cells import Identity, SealedCell, Series, Window
from edgemse.errors import LedgerError, LedgerLockedError

PRODUCER = bytes(16)


def cell(sequence: int = 0, revision: int = 1, *, final: bool = False) -> SealedCell:
    state = ErrorStats().to_bytes()
    identity = Identity(PRODUCER, sequence)
    return SealedCell(identity, revision, final, Series("m"), Window(0, 60), state, None)


def test_the_highest_revision_wins(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        for revision in (2, 1, 2):
            ledger.commit([(cell(revision=revision), False, False)])
        (held,) = ledger.due(9)
        assert held.cell.revision == 2


def test_an_ack_of_a_lower_revision_leaves_the_cell_due(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger.commit([(cell(revision=3, final=True), False, False)])
        ledger.acked({Identity(PRODUCER, 0): 2})
        assert ledger.count() == (1, 0)
        ledger.acked({Identity(PRODUCER, 0): 3})
        assert ledger.count() == (0, 0)


def test_an_own_row_stays_until_its_final_revision_is_acked(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with closing(Ledger(path)) as ledger:
        ledger.commit([(cell(revision=1), False, False)])
        ledger.acked({Identity(PRODUCER, 0): 1})
        assert ledger.due(9) == []
    with closing(Ledger(path)) as ledger:
        assert ledger.close_left_open() == 1
        (held,) = ledger.due(9)
        assert (held.cell.revision, held.cell.final) == (2, True)
        assert ledger.close_left_open() == 0


def test_a_relayed_cell_is_not_closed_by_the_agent_and_goes_when_acked(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger.commit([(cell(revision=1), True, False)])
        assert ledger.close_left_open() == 0
        ledger.acked({Identity(PRODUCER, 0): 1})
        assert ledger.count() == (0, 0)


def test_exposed_cells_come_first_and_are_never_coarsened(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger.commit([(cell(i, final=True), False, False) for i in range(3)])
        ledger.commit([(cell(3, final=True), True, False)])
        ledger.expose([Identity(PRODUCER, 2)])
        assert [held.exposed for held in ledger.due(9)] == [True, False, False, False]
        assert [c.identity.sequence for c in ledger.coarsenable(3_600, 9)] == [0, 1]


def test_a_parked_cell_is_neither_due_nor_forgotten(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "l")) as ledger:
        ledger.commit([(cell(final=True), False, False)])
        assert ledger.park({Identity(PRODUCER, 0): (1, "too far in the future")}) == 1
        assert ledger.due(9) == []
        assert ledger.parked()[0][1] == "too far in the future"
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
        ledger.commit([(cell(), False, False)])
    with closing(Ledger(path, hardware="board 2")) as ledger:
        assert ledger.count() == (0, 0)
        assert ledger.id != first
        assert ledger.set_aside is not None
        assert ledger.set_aside.name == "l.foreign-1"
    with closing(Ledger(tmp_path / "l.foreign-1", hardware="board 1")) as ledger:
        assert (ledger.id, ledger.count()) == (first, (1, 0))


@pytest.mark.parametrize("damage", ["junk", "truncated", "empty page", "other tables"])
def test_a_corrupt_ledger_never_keeps_the_agent_from_starting(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "l"
    with closing(Ledger(path)) as ledger:
        ledger.commit([(cell(i), False, False) for i in range(200)])
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
        ledger.commit([(cell(), False, False)])


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "l"
    path.mkdir()
    with pytest.raises(LedgerError, match="ledger"):
        Ledger(path)


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
