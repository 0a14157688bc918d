"""Forget, retire, rename: what goes, what stays, what comes late; on every engine."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cells import START, batch, cell, offered
from support.engines import Factory

from edgemse.cells import Cell, Identity
from edgemse.errors import SettingsError
from edgemse.presence import Attribute, Presence
from edgemse.stores import Batch, DevicePresence, DeviceReport, Quarantined, Store
from edgemse.stores.attributes import FOR_EVER_SECONDS
from edgemse.stores.audit import Actor
from edgemse.stores.devices import forget, rename, retire, unretire

ANNA = Actor("anna", "desk-3", "laptop")
HOUR = 3_600
LAST = 4
"""The revision that is final in a random course of things."""


@pytest.fixture
def store(engine: Factory, tmp_path: Path) -> Iterator[Store]:
    store = engine(tmp_path, lambda: START + 100.0)
    yield store
    store.close()


def rows(store: Store, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    with store.reading() as reading:
        return reading.rows(sql, parameters).rows


def devices(store: Store) -> list[object]:
    return [name for (name,) in rows(store, "SELECT DISTINCT device FROM cells ORDER BY device")]


def say(store: Store, device: str, at: int = START, run: str = "r", **attributes: str) -> None:
    said = {name: Attribute(value, at) for name, value in attributes.items()}
    heard = DevicePresence(device, at * 1000, Presence(True, "edgemse 1", run, attributes=said))
    store.commit(Batch(presences=[heard], reports=[DeviceReport(device, at * 1000, 0, True, {})]))


def do(store: Store, what, *arguments, now_ms: int = START * 1000, **options):
    with store.writing() as writing:
        return what(writing, *arguments, ANNA, now_ms, **options)


def forgotten(store: Store) -> object:
    return rows(store, "SELECT value FROM counters WHERE name = 'cells_forgotten'")[0][0]


def test_final_cells_go_and_their_names_stay(store: Store) -> None:
    gone = [cell(1, sequence, final=True) for sequence in (0, 1, 2, 5, 7)]
    gone += [cell(2, 0, final=True)]
    store.commit(batch(*gone, device="old"))
    store.commit(batch(cell(3, final=True), device="other"))
    say(store, "old", site="north")
    store.commit(Batch(quarantined=[Quarantined("old", 1, "why", 3, b"abc")]))
    assert do(store, forget, "old") == {"cells": 6, "open": 0}
    assert devices(store) == ["other"]
    for table in ("devices", "attributes", "quarantine"):
        assert rows(store, f"SELECT * FROM {table}") == [], table
    ranges = rows(store, "SELECT * FROM absorbed ORDER BY producer, first_sequence")
    p, q = gone[0].identity.producer, gone[-1].identity.producer
    assert ranges == [(p, 0, 2, ""), (p, 5, 5, ""), (p, 7, 7, ""), (q, 0, 0, "")]
    # What comes late is acknowledged, and does not count again.
    assert store.commit(batch(*gone, device="old")) == {each.identity: 1 for each in gone}
    assert devices(store) == ["other"]
    assert forgotten(store) == 6
    new = cell(1, 3, final=True)  # between the ranges: it was never here
    assert store.commit(batch(new, device="old")) == {new.identity: 1}
    assert devices(store) == ["old", "other"]


def test_open_cells_go_when_they_are_final(store: Store) -> None:
    store.commit(batch(cell(1, 0, final=True), cell(1, 1, revision=2), cell(1, 2)))
    assert do(store, forget, "pi-1") == {"cells": 1, "open": 2}
    grown = cell(1, 1, revision=3)
    assert store.commit(batch(grown)) == {grown.identity: 3}
    assert rows(store, "SELECT sequence, revision FROM cells ORDER BY sequence") == [(1, 3), (2, 1)]
    final = cell(1, 1, revision=4, final=True)
    assert store.commit(batch(final)) == {final.identity: 4}
    assert rows(store, "SELECT sequence FROM cells") == [(2,)]
    assert rows(store, "SELECT sequence FROM leaving") == [(2,)]
    for late in (final, grown):
        assert store.commit(batch(late)) == {late.identity: late.revision}
    assert rows(store, "SELECT sequence FROM cells") == [(2,)]
    assert forgotten(store) == 2
    # Once more, for a device that will not come back: at once.
    assert do(store, forget, "pi-1", grown=True) == {"cells": 1, "open": 0}
    assert rows(store, "SELECT * FROM cells") == rows(store, "SELECT * FROM leaving") == []
    assert store.commit(batch(cell(1, 2, revision=9))) == {cell(1, 2).identity: 9}
    assert rows(store, "SELECT * FROM cells") == []
    assert forgotten(store) == 3


def test_forgetting_twice_waits_for_the_same_cells(store: Store) -> None:
    store.commit(batch(cell(1, 0)))
    assert do(store, forget, "pi-1") == do(store, forget, "pi-1") == {"cells": 0, "open": 1}
    assert rows(store, "SELECT count(*) FROM leaving") == [(1,)]


def test_a_final_and_an_open_cell_of_one_batch(store: Store) -> None:
    store.commit(batch(cell(1, 0), cell(1, 1, final=True)))
    do(store, forget, "pi-1")
    mixed = [cell(1, 0, revision=2, final=True), cell(1, 1, final=True), cell(4, 0)]
    assert store.commit(batch(*mixed)) == {each.identity: each.revision for each in mixed}
    assert rows(store, "SELECT producer FROM cells") == [(mixed[2].identity.producer,)]


def test_retired_and_back(store: Store) -> None:
    store.commit(batch(cell(1, final=True)))
    do(store, retire, "pi-1", now_ms=5)
    do(store, retire, "pi-1", now_ms=9)
    assert rows(store, "SELECT device, since_ms FROM retired") == [("pi-1", 5)]
    assert devices(store) == ["pi-1"]
    do(store, unretire, "pi-1")
    assert rows(store, "SELECT * FROM retired") == []
    with pytest.raises(SettingsError, match="not retired; nothing was done"):
        do(store, unretire, "pi-1")


def test_a_renamed_device_keeps_its_figures_and_what_it_still_sends(store: Store) -> None:
    store.commit(batch(cell(1, 0, final=True), cell(1, 1), device="old"))
    say(store, "old", site="north")
    assert do(store, rename, "old", "new") == {"cells": 2}
    assert devices(store) == ["new"]
    store.commit(batch(cell(1, 1, revision=2, final=True), cell(1, 2), device="old"))
    say(store, "old", START + 60, run="s", site="north")
    assert devices(store) == ["new"]
    assert rows(store, "SELECT device, report_received_ms, run FROM devices") == [
        ("new", (START + 60) * 1000, "s")
    ]
    assert rows(store, "SELECT device, value FROM attributes") == [("new", "north")]
    # Its own name again: what is here stays, what comes is its own.
    assert do(store, rename, "old", "old") == {"cells": 0}
    store.commit(batch(cell(2, 0), device="old"))
    assert devices(store) == ["new", "old"]


def test_names_follow_each_other_and_go_back(store: Store) -> None:
    store.commit(batch(cell(1), device="a"))
    do(store, rename, "a", "b")
    do(store, rename, "b", "c")
    assert rows(store, "SELECT device, shown FROM aliases ORDER BY device") == [
        ("a", "c"),
        ("b", "c"),
    ]
    store.commit(batch(cell(2), device="a"))
    assert devices(store) == ["c"]
    store.commit(batch(cell(9), device="x"))
    with pytest.raises(SettingsError, match="'b' is called 'c'; give that name"):
        do(store, rename, "x", "b")
    do(store, forget, "x", grown=True)
    do(store, rename, "c", "a")
    store.commit(batch(cell(3), device="a"))
    assert devices(store) == ["a"]
    assert rows(store, "SELECT device, shown FROM aliases ORDER BY device") == [
        ("b", "a"),
        ("c", "a"),
    ]


def test_two_devices_become_one_with_the_history_of_both(store: Store) -> None:
    def at(number: int, device: str, hour: int) -> None:
        store.commit(batch(cell(number, start=START + hour * HOUR, final=True), device=device))

    at(1, "old", 0)
    at(2, "new", 10)
    say(store, "old", START, site="north", hall="1")
    say(store, "old", START + 2 * HOUR, site="south", hall="1")
    say(store, "new", START + 10 * HOUR, site="west", line="7")
    do(store, rename, "old", "new")
    found = rows(
        store,
        "SELECT name, value, since_seconds, until_seconds FROM attributes WHERE device = 'new'"
        " ORDER BY name, since_seconds",
    )
    change, moved = START + 2 * HOUR, START + 10 * HOUR
    assert found == [
        ("hall", "1", 0, FOR_EVER_SECONDS),
        ("line", "7", 0, FOR_EVER_SECONDS),
        ("site", "north", 0, change),
        ("site", "south", change, moved),
        ("site", "west", moved, FOR_EVER_SECONDS),
    ]
    assert rows(store, "SELECT device FROM attributes WHERE device <> 'new'") == []
    assert rows(store, "SELECT device FROM devices") == [("new",)]


def test_what_is_not_there_and_what_is_no_name(store: Store) -> None:
    for what in (forget, retire):
        with pytest.raises(SettingsError, match="no device 'nobody'; edgemse fleet devices lists"):
            do(store, what, "nobody")
    store.commit(batch(cell(1), device="a"))
    for name, why in (("", "nothing"), ("a\n", r"U\+000A"), ("x" * 300, "300 characters")):
        with pytest.raises(SettingsError, match=why):
            do(store, rename, "a", name)
    with pytest.raises(SettingsError, match="'a' has that name; nothing was done"):
        do(store, rename, "a", "a")
    do(store, rename, "a", "b")
    with pytest.raises(SettingsError, match="no device 'a'; it is called 'b' now"):
        do(store, forget, "a")
    assert len(rows(store, "SELECT * FROM audit")) == 1  # what was refused was not done


def test_the_audit_says_who_did_what(store: Store) -> None:
    store.commit(batch(cell(1, final=True), device="a"))
    do(store, rename, "a", "b", now_ms=1)
    do(store, retire, "b", now_ms=2)
    do(store, forget, "b", now_ms=3)
    found = rows(store, "SELECT at_ms, who, host, token, action, device FROM audit ORDER BY id")
    assert found == [
        (1, "anna", "desk-3", "laptop", "rename", "a"),
        (2, "anna", "desk-3", "laptop", "retire", "b"),
        (3, "anna", "desk-3", "laptop", "forget", "b"),
    ]
    details = [json.loads(str(row[0])) for row in rows(store, "SELECT details FROM audit")]
    assert details == [{"to": "b", "cells": 1}, {}, {"cells": 1, "open": 0}]


def test_a_batch_of_two_names_of_one_device(store: Store) -> None:
    store.commit(batch(cell(1), device="a"))
    do(store, rename, "a", "b")
    cells: list[tuple[Cell, str]] = [(cell(2), "a"), (cell(3), "b"), (cell(4), "c")]
    store.commit(Batch(cells=offered(*((device, each) for each, device in cells))))
    assert rows(store, "SELECT device, count(*) FROM cells GROUP BY device ORDER BY device") == [
        ("b", 3),
        ("c", 1),
    ]


def test_series_and_producers_go_with_the_name(store: Store) -> None:
    sent = cell(1)
    for device in ("a", "b"):  # the agent was given another name, and went on with its producer
        store.commit(Batch(cells=offered((device, sent)), series=[(device, sent.series)]))
    assert rows(store, "SELECT device FROM renames") == [("b",)]
    do(store, rename, "a", "b")
    assert rows(store, "SELECT device FROM producers") == [("b",)]
    assert rows(store, "SELECT device FROM renames") == []
    assert rows(store, "SELECT device, model FROM series") == [("b", sent.series.model)]
    do(store, forget, "b", grown=True)
    assert rows(store, "SELECT * FROM series") == []


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_when_nothing_counts_that_was_forgotten(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    held: dict[Identity, int] = {}
    leaving: set[Identity] = set()
    gone: set[Identity] = set()
    for _ in range(40):
        if rng.random() < 0.2:
            if held:
                do(store, forget, "pi-1")
            finals = {identity for identity, revision in held.items() if revision == LAST}
            gone |= finals
            leaving |= held.keys() - finals
            held = {identity: held[identity] for identity in held.keys() - finals}
        numbers = [(rng.randint(1, 2), rng.randint(0, 4), rng.randint(1, LAST)) for _ in range(3)]
        cells = [cell(p, s, revision, final=revision == LAST) for p, s, revision in numbers]
        answer = store.commit(batch(*cells))
        newest: dict[Identity, int] = {}
        for each in cells:
            newest[each.identity] = max(each.revision, newest.get(each.identity, 0))
        for identity, revision in newest.items():
            if identity not in gone and identity in leaving and revision == LAST:
                gone.add(identity)
                held.pop(identity, None)
            if identity in gone:
                assert answer[identity] == revision
                continue
            held[identity] = max(revision, held.get(identity, 0))
            assert answer[identity] == held[identity]
        found = rows(store, "SELECT producer, sequence, revision FROM cells")
        assert {Identity(*row[:2]): row[2] for row in found} == held  # type: ignore[arg-type]
