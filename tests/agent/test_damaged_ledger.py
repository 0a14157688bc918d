"""Ledgers that are damaged, another board's, or newer: what is sound in them is not lost."""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.ledger import Ledger, Written
from edgemse_agent.ledger.sound import checksum
from support.ledgers import BOARD, DAMAGES, Original, cell, flip, lay

from edgemse.cells import Identity, SealedCell
from edgemse.errors import LedgerError

DAMAGED = int(os.environ.get("EDGEMSE_DAMAGES", "100"))
"""How many seeded damages are tried; 2,000 take a minute."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return Original(tmp_path_factory.mktemp("original"))


def held(ledger: Ledger) -> dict[Identity, SealedCell]:
    found = [h.cell for h in ledger.due(10**6)] + [p.cell for p in ledger.parked(10**6)]
    return {each.identity: each for each in found}


def altered(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.create_function("checksum", -1, checksum)
        for statement in statements:
            database.execute(statement)
        database.commit()


def test_whatever_is_damaged_the_agent_starts_and_what_is_sound_is_there(
    original: Original, tmp_path: Path
) -> None:
    flips: Counter[str] = Counter()
    for seed in range(DAMAGED):
        rng = random.Random(seed)
        files = dict(rng.choice((original.killed, original.closed)))
        which = rng.choice([suffix for suffix in files if suffix != ".lock"])
        damage = rng.choice(DAMAGES)
        files[which] = damage(rng, files[which])
        path = lay(tmp_path / "damaged", files)
        with closing(Ledger(path, hardware=BOARD)) as ledger:
            cells, entries = held(ledger), dict(ledger.entries())
            missing = len(original.cells) - len(cells), len(original.entries) - len(entries)
            invented = [each for each in cells.values() if each not in original.revisions]
            said = sum(taken.lost for taken in ledger.taken) + ledger.commits_lost
            put_away = ledger.set_aside
            same_id = ledger.id == original.id
        where = f"seed {seed}: {damage.__name__} of {which or 'the file'}, {missing} missing"
        assert not invented, where
        assert said or missing == (0, 0), where
        assert put_away or missing == (0, 0), where
        assert not same_id or missing[0] <= said, where
        if damage is flip:
            flips.update(tried=1, missing=sum(missing))
        with closing(Ledger(path, hardware=BOARD)) as ledger:
            assert (ledger.set_aside, ledger.taken) == (None, []), where
            assert held(ledger).keys() == cells.keys(), where
    assert flips["missing"] <= 2 * flips["tried"]


def bytes_at(at: int, new: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[at : at + len(new)] = new
        path.write_bytes(content)

    return write


def statement(text: str) -> Callable[[Path], None]:
    return lambda path: altered(path, text)


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (bytes_at(0, b"QSLite"), 0),
        (bytes_at(18, b"\x07\x09"), 0),
        (bytes_at(18, b"\x02\x09"), 0),
        (bytes_at(16, b"\x20"), 0),
        (bytes_at(44, b"\xff"), 0),
        (bytes_at(56, b"\0\0\0\x03"), 0),
        (bytes_at(60, bytes(4)), 0),
        (bytes_at(60, b"\0\1\0\1"), 0),
        (bytes_at(100, bytes(2_000)), 0),
        (statement("UPDATE meta SET id = CAST(x'ff' AS TEXT)"), 0),
        (statement("UPDATE meta SET elapsed = 'long'"), 0),
        (statement("DELETE FROM meta"), 0),
        (statement("UPDATE meta SET cells = 7"), 0),
        (statement("UPDATE sessions SET lines = lines + 1"), 0),
        (statement("UPDATE sessions SET session = CAST(x'ff' AS TEXT)"), 0),
        (statement("UPDATE cells SET segment = CAST(x'ff' AS TEXT) WHERE sequence = 7"), 1),
        (statement("UPDATE cells SET state = x'00' WHERE sequence = 7"), 1),
        (statement("UPDATE cells SET exposed = 1 - exposed WHERE sequence = 7"), 1),
        (statement("UPDATE cells SET start = -60 WHERE sequence = 7"), 1),
        (statement("UPDATE entries SET entry = x'00' WHERE id = 'id 7'"), 1),
        (statement("DROP INDEX cells_due"), 0),
    ],
)
def test_a_damage_costs_no_more_than_what_it_hit(
    damage: Callable[[Path], None], lost: int, original: Original, tmp_path: Path
) -> None:
    path = lay(tmp_path / "damaged", original.closed)
    damage(path)
    with closing(Ledger(path, hardware=BOARD)) as ledger:
        cells, entries = held(ledger), list(ledger.entries())
        missing = len(original.cells) - len(cells) + len(original.entries) - len(entries)
        assert missing == lost
        assert sum(taken.lost for taken in ledger.taken) == lost
        assert set(cells.values()) <= original.revisions
        assert ledger.waiting + ledger.parked_now == len(cells)
        ledger.commit([Written(cell(b"\x07" * 16, 1, 1))])


def test_a_row_that_is_not_sound_leaves_the_rest_as_it_was(
    original: Original, tmp_path: Path
) -> None:
    path = lay(tmp_path / "l", original.closed)
    altered(path, "UPDATE cells SET state = x'00' WHERE sequence = 7")
    with closing(Ledger(path, hardware=BOARD)) as ledger:
        assert (ledger.id, ledger.sessions()) == (original.id, {"session": 50})
        assert sum(h.exposed > 0 for h in ledger.due(999)) < 40
        assert ledger.elapsed_seconds == 100.0
        assert ledger.attributes({"site": "north"}, 2e9)["site"].since == 0
        assert ledger.set_aside == Path(f"{path}.corrupt-1")
    with closing(sqlite3.connect(f"{path}.corrupt-1")) as database:
        (count,) = database.execute("SELECT count(*) FROM cells").fetchone()
    assert count == len(original.cells)


def test_where_a_mark_may_be_missing_clients_meet_another_ledger_and_nothing_is_merged(
    original: Original, tmp_path: Path
) -> None:
    path = lay(tmp_path / "l", original.killed | {"-wal": b""})
    with closing(Ledger(path, hardware=BOARD)) as ledger:
        assert ledger.commits_lost > 200
        assert ledger.waiting == 0
    older = lay(tmp_path / "m", original.killed)
    with closing(Ledger(older, hardware=BOARD)) as ledger:
        ledger.commit(sessions={"another": 7})
    newest = Path(f"{older}.lock").read_bytes()
    path = lay(tmp_path / "l", original.killed | {".lock": newest})  # put back from a copy
    with closing(Ledger(path, hardware=BOARD)) as ledger:
        assert ledger.commits_lost == 1
        assert (ledger.id == original.id, ledger.sessions()) == (False, {})
        assert held(ledger) == original.cells
        assert all(each.exposed for each in ledger.due(999))
        assert ledger.coarsenable(86_400, 999) == []
        born = {key: entry.born - ledger.elapsed_seconds for key, entry in ledger.entries()}
        assert born == {key: entry.born - 100.0 for key, entry in original.entries.items()}


def test_a_ledger_of_another_board_waits_for_a_person_and_is_adopted_once(
    original: Original, tmp_path: Path
) -> None:
    path = lay(tmp_path / "l", original.killed)
    with closing(Ledger(path, hardware="board 2")) as ledger:
        assert (ledger.waiting, ledger.taken) == (0, [])
        (taken,) = ledger.adopt()
        assert taken.file == Path(f"{path}.foreign-1")
        assert (taken.cells, taken.lost) == (len(original.cells), 0)
        assert held(ledger) == original.cells
        assert ledger.adopt() == []
        ledger.acked({each.cell.identity: 99 for each in ledger.due(999)})
    with closing(Ledger(path, hardware="board 2")) as ledger:
        waiting = ledger.waiting
        assert ledger.adopt() == []
        assert ledger.waiting == waiting < len(original.cells)


def test_a_damaged_ledger_of_another_board_waits_too(original: Original, tmp_path: Path) -> None:
    path = lay(tmp_path / "l", original.closed)
    altered(path, "DELETE FROM meta")
    with closing(Ledger(path, hardware="board 2")) as ledger:
        assert ledger.waiting == 0
        assert ledger.set_aside == Path(f"{path}.foreign-1")
        assert [taken.cells for taken in ledger.adopt()] == [len(original.cells)]


def test_of_a_newer_ledger_that_is_adopted_what_is_known_is_read(
    original: Original, tmp_path: Path
) -> None:
    path = lay(tmp_path / "l", original.closed)
    altered(
        path,
        "PRAGMA user_version = 2",
        "UPDATE meta SET schema = 2, crc = checksum(2, id, hardware, elapsed, store, commits)",
        "ALTER TABLE cells ADD COLUMN novelty TEXT",
        "UPDATE cells SET crc = crc + 1",
    )
    with closing(Ledger(path, hardware=BOARD)) as ledger:
        assert ledger.set_aside == Path(f"{path}.newer-1")
        assert (ledger.waiting, ledger.taken) == (0, [])
        assert [taken.cells for taken in ledger.adopt()] == [len(original.cells)]


def test_what_was_put_away_when_the_run_was_killed_is_read_by_the_next(
    original: Original, tmp_path: Path
) -> None:
    path = lay(tmp_path / "l", original.closed)
    path.rename(f"{path}.corrupt-1")
    with closing(Ledger(path, hardware=BOARD)) as ledger:
        assert held(ledger) == original.cells
        assert ledger.id != original.id
    with closing(Ledger(path, hardware=BOARD)) as ledger:
        assert ledger.taken == []


def test_a_ledger_that_was_removed_is_missed(original: Original, tmp_path: Path) -> None:
    path = lay(tmp_path / "l", {".lock": original.closed[".lock"]})
    with closing(Ledger(path, hardware=BOARD)) as ledger:
        assert ledger.commits_lost > 200
    with closing(Ledger(path, hardware=BOARD)) as ledger:
        assert (ledger.commits_lost, ledger.set_aside) == (0, None)


def test_an_adoption_that_cannot_read_raises_the_ledger_s_error_and_changes_nothing(
    original: Original, tmp_path: Path
) -> None:
    path = lay(tmp_path / "l", original.killed)
    with closing(Ledger(path, hardware="board 2")) as ledger:
        file = Path(f"{path}.foreign-1")
        content = file.read_bytes()
        file.unlink()
        file.mkdir()
        with pytest.raises(LedgerError, match="foreign-1: cannot be read"):
            ledger.adopt()
        assert ledger.waiting == 0
        file.rmdir()
        file.write_bytes(content)
        assert len(ledger.adopt()) == 1
