"""What only PostgreSQL can do, or do wrong: passwords, rights, other writers, an end."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from support.broker import free_port
from support.cells import START, batch, cell, filled
from support.postgres import PASSWORD, ROLE, SECRET_ROLE, Postgres
from support.waiting import eventually

from edgemse.cells import Identity
from edgemse.errors import (
    StoreError,
    StoreLockedError,
    StoreRefusedError,
    StoreUnreachableError,
    StoreVersionError,
)
from edgemse.fleet import ask
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores import Batch, DeviceReport, Quarantined, Store, open_store
from edgemse.stores.devices import Actor, rename
from edgemse.stores.migrations import scripts_after
from edgemse.stores.tables import CELLS, PRODUCERS, QUARANTINE

ANNA = Actor("anna", "desk-3")
COUNT = "SELECT count(*) FROM cells"


@pytest.fixture
def address(postgres: Postgres) -> str:
    return postgres.schema()


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    store = open_store(address)
    yield store
    store.close()


def rows(store: Store, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    with store.reading() as reading:
        return reading.rows(sql, parameters).rows


def waits(postgres: Postgres, many: int = 1) -> Callable[[], bool]:
    """Return what tells whether so many transactions wait for a lock."""

    def waiting() -> bool:
        with postgres.admin(ROLE) as admin:
            row = admin.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
        return row == (many,)

    return waiting


def test_a_role_that_is_no_superuser_makes_and_uses_a_store(
    postgres: Postgres, store: Store
) -> None:
    with postgres.admin(ROLE) as admin:
        found = admin.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s", (ROLE,)
        ).fetchone()
    assert found == (False, False, False)
    assert rows(store, "SELECT version FROM schema_versions ORDER BY 1") == [
        (number,) for number, _ in scripts_after(0, "postgres")
    ]


def test_a_copy_is_left_to_pg_dump(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="pg_dump"):
        store.copy_to(tmp_path / "copy.duckdb")
    assert not list(tmp_path.iterdir())


def test_numbers_of_scripts_are_given_once() -> None:
    for dialect in ("duckdb", "postgres"):
        numbers = [number for number, _ in scripts_after(0, dialect)]
        assert len(numbers) == len({*numbers}), dialect


def test_collectors_that_start_at_once_make_one_store(address: str) -> None:
    opened: list[Store] = []
    threads = [Thread(target=lambda: opened.append(open_store(address))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    assert len({store.id for store in opened}) == 1
    for store in opened:
        store.close()


def test_a_reader_makes_nothing(address: str, postgres: Postgres) -> None:
    for options in ({"read_only": True}, {"must_exist": True}):
        with pytest.raises(StoreError, match="is empty; run edgemse collector on it once"):
            open_store(address, **options)
    with postgres.admin(ROLE) as admin:
        admin.execute("CREATE SCHEMA AUTHORIZATION edgemse")
        admin.execute("CREATE TABLE edgemse.pumps (name TEXT)")
    for read_only in (True, False):
        with pytest.raises(StoreError, match="not a store of edgemse"):
            open_store(postgres.address("edgemse"), read_only=read_only)


def test_a_store_of_a_newer_edgemse_is_refused(store: Store, address: str) -> None:
    with store.writing() as writing:
        writing.execute("INSERT INTO schema_versions VALUES (9999, 0)")
    with pytest.raises(StoreVersionError, match="schema version 9999"):
        open_store(address)


def test_who_may_only_read_is_answered_and_writes_nothing(
    store: Store, address: str, postgres: Postgres
) -> None:
    store.commit(batch(cell()))
    schema = address.rpartition("%3D")[2]
    with postgres.admin(ROLE) as admin:
        admin.execute(f"CREATE ROLE reader{schema} LOGIN")
        admin.execute(f"GRANT USAGE ON SCHEMA {schema} TO reader{schema}")
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader{schema}")
    as_reader = postgres.address(schema, role=f"reader{schema}")
    assert ask(as_reader, "variance").total.count == 20  # type: ignore[attr-defined]
    reader = open_store(as_reader, read_only=True)
    try:
        with pytest.raises(StoreRefusedError, match=r"permission denied.*docs/collector\.md"):
            reader.commit(batch(cell(2)))
    finally:
        reader.close()
    with pytest.raises(StoreRefusedError, match="permission denied"):
        open_store(postgres.address("public", role=f"reader{schema}"))


def test_passwords_come_from_files_and_services_and_are_never_shown(
    postgres: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with postgres.admin(ROLE) as admin:
        admin.execute(f"CREATE SCHEMA IF NOT EXISTS locked AUTHORIZATION {SECRET_ROLE}")
    bare = postgres.address("locked", role=SECRET_ROLE)
    told: list[str] = []

    def refused(address: str) -> None:
        with pytest.raises(StoreRefusedError) as caught:
            open_store(address)
        told.append(str(caught.value))
        assert caught.value.exit_code == 76

    refused(bare)
    refused(postgres.address("locked", role=SECRET_ROLE, password=f"{PASSWORD}!"))
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:*:*:{SECRET_ROLE}:{PASSWORD}\n")
    passwords.chmod(0o600)
    service = tmp_path / "services"
    lines = f"host=127.0.0.1\nport={postgres.port}\ndbname={ROLE}\nuser={SECRET_ROLE}\n"
    service.write_text(f"[fleet]\n{lines}password={PASSWORD}\noptions=-csearch_path=locked\n")
    names = []
    for variable, value, place in (
        ("PGPASSFILE", str(passwords), bare),
        ("PGPASSWORD", PASSWORD, bare),
        ("PGSERVICEFILE", str(service), "postgresql://?service=fleet"),
        ("PGAPPNAME", "", postgres.address("locked", role=SECRET_ROLE, password=PASSWORD)),
    ):
        with monkeypatch.context() as patch, caplog.at_level(logging.DEBUG):
            patch.setenv(variable, value)
            opened = open_store(place)
            names.append(opened.id)
            told.append(opened.where)
            with pytest.raises(StoreError) as caught, opened.writing() as writing:
                writing.execute("INSERT INTO nowhere VALUES (1)")
            told.append(str(caught.value))
            opened.close()
    assert len({*names}) == 1
    assert "postgresql:///?service=fleet" in told
    assert not any("pa ss" in text or "pa%20ss" in text for text in [*told, caplog.text])


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:se%zzcret@h/d",
        "postgresql://u:secret@h:port/d",
        "postgresql://u:secret@[::1",
    ],
)
def test_an_address_that_cannot_be_read_is_not_repeated(address: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(address)
    assert "cret" not in str(caught.value)


def test_where_nobody_listens(postgres: Postgres) -> None:
    place = f"postgresql://u:secret@127.0.0.1:{free_port()}/d"
    with pytest.raises(StoreUnreachableError, match="cannot be reached") as caught:
        open_store(place)
    assert "secret" not in str(caught.value)
    with pytest.raises(StoreRefusedError, match="nowhere"):
        open_store(postgres.address().replace(f"/{ROLE}", "/nowhere"))
    with pytest.raises(StoreError, match=r"postgres\+psycopg://\.\.\.: wanted") as other:
        open_store("postgres+psycopg://u:secret@h/d")
    assert "secret" not in str(other.value)


def test_what_failed_is_not_taken_for_committed(store: Store) -> None:
    def write() -> None:
        with store.writing() as writing:
            writing.put(QUARANTINE, [("a", 0, "no", 1, b"", "")])
            with pytest.raises(psycopg.Error):
                writing.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(StoreError, match="a statement before has failed"):
        write()
    assert rows(store, "SELECT count(*) FROM quarantine") == [(0,)]
    store.commit(batch(cell()))
    assert rows(store, COUNT) == [(1,)]


def test_what_no_database_takes_is_an_error_of_that_commit(store: Store) -> None:
    for name in ("a\0b", "a\ud800b"):
        with pytest.raises(StoreError, match="cannot be written"):
            store.commit(Batch(quarantined=[Quarantined(name, 0, "no", 1, b"")]))
    store.commit(batch(cell()))


def test_errors_so_small_that_their_squares_are_nothing(store: Store) -> None:
    """PostgreSQL ends a question where a product is too small; such cells must not do that."""
    tiny = ErrorStats()
    tiny.update_many([0.0] * 3, [3e-100, 1e-90, 2e-170])
    other = ErrorStats()
    other.update_many([0.0] * 2, [4e-120, -1e-80])
    store.commit(batch(cell(1, stats=tiny), cell(2, stats=other)))
    with store.reading() as reading:
        before = reading.rows(COUNT).rows
        answer = ask(reading, "variance")
        store.commit(batch(cell(3, stats=filled(3))))
        assert reading.rows(COUNT).rows == before
        assert repr(ask(reading, "variance")) == repr(answer)
    total = answer.total  # type: ignore[attr-defined]
    assert total.mse == pytest.approx((1e-160 + 1e-180) / 5, rel=1e-12)


def test_a_group_is_whole_however_the_server_plans(store: Store, address: str) -> None:
    """Workers that add up in different orders had two origins, and two halves, of one group."""
    for number in range(1, 40):
        taken = [cell(number, n, start=START + 60 * n) for n in range(20)]
        store.commit(batch(*taken, device=f"pi-{number % 4}"))
    plans = ("min_parallel_table_scan_size", "parallel_setup_cost", "parallel_tuple_cost")
    eager = address + "".join(f"%20-c%20{each}%3D0" for each in plans)
    other = open_store(eager, read_only=True)
    try:
        with other.reading() as reading:
            plan = reading.rows("EXPLAIN SELECT device, sum(mean) FROM cells GROUP BY device")
            assert not any("Gather" in line for (line,) in plan)
            answers = {repr(ask(reading, "variance", by=["device"])) for _ in range(5)}
        assert len(answers) == 1
    finally:
        other.close()


def test_a_commit_waits_for_a_rename_and_follows_it(
    store: Store, address: str, postgres: Postgres
) -> None:
    store.commit(batch(cell(1), device="a"))
    other = open_store(address)
    commits = [Thread(target=other.commit, args=(batch(cell(n, 1), device="a"),)) for n in (1, 2)]
    with store.writing() as writing:
        rename(writing, "a", "b", ANNA, 0)
        for thread in commits:
            thread.start()
        eventually(waits(postgres, 2))
    for thread in commits:
        thread.join()
    assert rows(store, "SELECT device, count(*) FROM cells GROUP BY device") == [("b", 3)]
    other.close()


def test_a_rename_waits_for_a_commit(store: Store, address: str, postgres: Postgres) -> None:
    store.commit(batch(cell(1), device="a"))
    other = open_store(address)

    def renamed() -> None:
        with other.writing() as writing:
            rename(writing, "a", "b", ANNA, 0)

    thread = Thread(target=renamed)
    with store.writing() as writing:
        writing.lock(PRODUCERS, [cell(1).identity.producer])
        thread.start()
        eventually(waits(postgres))
        late = cell(1, 7)
        row = (*late.identity, 1, True, "a", *late.series, *late.window)
        writing.put(CELLS, [(*row, *rows_of(store)[0][len(row) :])])
    thread.join()
    assert rows(store, "SELECT device, count(*) FROM cells GROUP BY device") == [("b", 2)]
    other.close()


def rows_of(store: Store) -> list[tuple[object, ...]]:
    return rows(store, f"SELECT {', '.join(CELLS.columns)} FROM cells")


def test_several_collectors_write_the_same_devices_at_once(address: str) -> None:
    """Refusals are added, the highest revisions stay, and no deadlock keeps a commit out."""
    rng = random.Random(3)
    stores = [open_store(address) for _ in range(3)]
    offers = [
        (number, sequence, revision)
        for number in range(6)
        for sequence in range(3)
        for revision in (1, 2, 3)
    ]
    failed: list[StoreError] = []

    def collect(store: Store, seed: int) -> None:
        mine = random.Random(seed)
        for _ in range(25):
            taken = [cell(*each) for each in mine.sample(offers, 12)]
            reports = [DeviceReport(f"pi-{n}", 0, 0, True, {}, "run", 1) for n in range(5)]
            mine.shuffle(reports)
            done = batch(*taken)
            done.reports = reports
            done.series = [(f"pi-{mine.randrange(5)}", cell().series) for _ in range(4)]
            try:
                held = store.commit(done)
            except StoreError as error:
                failed.append(error)
            else:
                assert all(held[each.identity] >= each.revision for each in taken)

    threads = [Thread(target=collect, args=(each, rng.random())) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert rows(stores[0], "SELECT DISTINCT cells_refused FROM devices") == [(75,)]
    for store in stores:
        store.close()


def test_who_waits_too_long_is_told(
    store: Store, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgemse.stores import postgres as engine

    monkeypatch.setattr(engine, "WRITE", engine.WRITE.replace("'60s'", "'50ms'"))
    other = open_store(address)
    with store.writing() as writing:
        writing.lock(PRODUCERS)
        with pytest.raises(StoreLockedError, match="pg_stat_activity"):
            other.commit(batch(cell()))
    assert other.commit(batch(cell())) == {cell().identity: 1}
    other.close()


def test_a_commit_whose_connection_is_cut_fails_and_the_next_one_connects(
    store: Store, postgres: Postgres
) -> None:
    def cut() -> None:
        with postgres.admin() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (ROLE,)
            )

    def write() -> None:
        with store.writing() as writing:
            writing.put(QUARANTINE, [("a", 0, "no", 1, b"", "")])
            cut()
            writing.execute("UPDATE counters SET value = value")

    def read() -> None:
        with store.reading() as reading:
            cut()
            reading.rows(COUNT)

    cut()
    store.commit(batch(cell()))  # between two commits nothing is lost, nor said
    assert rows(store, COUNT) == [(1,)]
    with pytest.raises(StoreUnreachableError, match="cannot be written"):
        write()
    with pytest.raises(StoreUnreachableError, match="cannot be read"):
        read()
    store.commit(batch(cell(2)))
    assert rows(store, f"{COUNT} UNION ALL SELECT count(*) FROM quarantine") == [(2,), (0,)]


def test_a_server_that_is_killed_under_load_keeps_what_was_committed(
    own_postgres: Postgres,
) -> None:
    address = own_postgres.schema()
    stores = [open_store(address) for _ in range(2)]
    held: dict[Identity, int] = {}
    failures: list[StoreError] = []
    wanted = 300

    def commit(store: Store, number: int) -> None:
        for sequence in range(wanted):
            offer = batch(cell(number, sequence), cell(9, sequence, number))
            while True:
                try:
                    held.update(store.commit(offer))
                    break
                except StoreError as error:
                    failures.append(error)

    threads = [Thread(target=commit, args=(each, n)) for n, each in enumerate(stores, 1)]
    for thread in threads:
        thread.start()
    for part in (60, 200, 350):
        eventually(lambda part=part: len(held) >= part)
        own_postgres.kill()
        acknowledged = dict(held)
        own_postgres.start()
        again = open_store(address, read_only=True)
        found = rows(again, "SELECT producer, sequence, revision FROM cells")
        again.close()
        kept: dict[Identity, int] = {Identity(p, s): r for p, s, r in found}  # type: ignore
        assert all(kept.get(each, 0) >= acknowledged[each] for each in acknowledged)
    for thread in threads:
        thread.join()
    assert {type(each): str(each) for each in failures}.keys() == {StoreUnreachableError}
    assert rows(stores[0], COUNT) == [(3 * wanted,)]
    for store in stores:
        store.close()


def test_a_collector_that_stands_still_holds_up_the_others_for_a_time_only(
    address: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgemse.stores import postgres as engine

    monkeypatch.setattr(engine, "WRITE", engine.WRITE.replace("'30s'", "'100ms'"))
    still = open_store(address)

    def stand_still() -> None:
        with still.writing() as writing:
            writing.lock(PRODUCERS)
            store.commit(batch(cell()))  # returns, although nobody lets go
            writing.execute("UPDATE counters SET value = value")

    with pytest.raises(StoreError, match="cannot be written"):
        stand_still()
    still.commit(batch(cell(2)))
    assert rows(store, COUNT) == [(2,)]
    still.close()
