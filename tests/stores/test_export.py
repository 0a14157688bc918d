"""A store to Parquet and back: the same bits, and what is imported twice counts once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from support.cells import SERIES, START, batch, cell, filled
from support.engines import Factory
from support.postgres import Postgres
from support.processes import edgemse, total_of

from edgemse.cells import Series
from edgemse.errors import EdgemseError, FileUnreadableError, InputError, OutputError
from edgemse.presence import Attribute, Presence
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores import Batch, DevicePresence, DeviceReport, Store, open_store, statements
from edgemse.stores.devices import Actor, forget, rename, retire
from edgemse.stores.duckdb import DuckDBStore
from edgemse.stores.importing import import_store
from edgemse.stores.parquet import NAMES, cells_files, export_store
from edgemse.stores.tables import CELLS, DEPENDENCE

DAY = 86_400
BY = Actor("anna", "desk")
ODD = ("a/b", "%", "é 1", "..", "__HIVE_DEFAULT_PARTITION__", "x" * 256, "ü" * 100)
"""Names of models that a file system, or Hive, would trip over."""


def content(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Return every row; floats compare by repr, so that -0.0 is not 0.0."""
    with store.reading() as reading:
        return {
            table.name: [
                tuple(map(repr, row)) for row in reading.rows(statements.everything(table))
            ]
            for table in (CELLS, *NAMES)
        }


def birth(device: str, at: int, **attributes: str) -> Batch:
    said = {name: Attribute(value, at) for name, value in attributes.items()}
    presence = Presence(True, "edgemse 1", f"run {at}", attributes=said)
    return Batch(presences=[DevicePresence(device, at * 1_000, presence)])


def then() -> float:
    return float(START)


def fleet(path: Path) -> DuckDBStore:
    """Return a store with a bit of everything."""
    store = DuckDBStore(path, now=then)
    fill(store)
    return store


def fill(store: Store) -> None:
    coverage = Coverage()
    coverage.predictions = 7
    coverage.match(9)
    bare = ErrorStats()
    bare.update(1.0, 1.0 - 2**-1074)
    bare.update(float("nan"), 1.0)
    for number, model in enumerate(ODD):
        series = Series(model, "v1", "out", "north", "loss:huber" if number % 2 else "")
        store.commit(batch(cell(number, 1, 3, series=series, coverage=coverage, final=True)))
    store.commit(batch(cell(50, 0, 1, stats=bare), cell(50, 1, stats=ErrorStats())))
    for day in range(3):
        cells = [cell(60, day * 10 + n, start=START + DAY * day) for n in range(4)]
        store.commit(batch(*cells, device="pump/7"))
    store.commit(batch(cell(61), cell(61, 1, final=True), device="gone"))
    store.commit(batch(cell(60, 99), device="impostor"))
    store.commit(Batch(series=[("pump/7", SERIES)]))
    store.commit(Batch(reports=[DeviceReport("pump/7", 5, 4, True, {"lines": 3}, "run")]))
    store.commit(birth("pump/7", START, site="north", firmware="1"))
    store.commit(birth("pump/7", START + 5 * 3_600, site="south", firmware="1"))
    with store.writing() as writing:
        forget(writing, "gone", BY, START * 1_000)
        rename(writing, "pump/7", "pump 8", BY, START * 1_000)
        retire(writing, "pi-1", BY, START * 1_000)
        kept = (cell(1).identity.producer, 1, "pi-1", *SERIES, START, 60, 2.0, 1.0, 0.5, 0.7)
        writing.put(DEPENDENCE, [kept])


def test_a_store_comes_back_bit_for_bit(engine: Factory, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    store = engine(tmp_path / "a", then)
    fill(store)
    done = export_store(store, tmp_path / "export")
    assert done == (len(ODD) + 3, 0)
    again = engine(tmp_path / "b", then)
    cells = len(content(store)["cells"])
    assert import_store(tmp_path / "export", again) == (cells, cells, 0)
    assert content(again) == content(store)
    assert all(rows for rows in content(store).values())  # no table that proves nothing
    assert import_store(tmp_path / "export", again) == (cells, 0, 0)
    assert content(again) == content(store)
    assert again.id != store.id
    late = batch(cell(61, 1, 2, final=True), cell(61, 0, 2, final=True), device="gone")
    again.commit(late)  # forgotten there, and so here: the open one goes now that it is final
    assert len(content(again)["cells"]) == cells - 1
    for each in (store, again):
        each.close()


def test_a_store_moves_to_postgresql_and_back(postgres: Postgres, tmp_path: Path) -> None:
    store = fleet(tmp_path / "a.duckdb")
    far, again = open_store(postgres.schema()), DuckDBStore(tmp_path / "b.duckdb")
    for place, (one, other) in enumerate([(store, far), (far, again)]):
        export_store(one, tmp_path / f"export-{place}")
        import_store(tmp_path / f"export-{place}", other)
    assert content(again) == content(store)
    with far.reading() as reading:  # who asks at once has a plan that fits
        ((known,),) = reading.rows(
            "SELECT count(DISTINCT tablename) FROM pg_stats WHERE schemaname = current_schema()"
            " AND tablename IN ('cells', 'devices', 'attributes')"
        )
    assert known == 3
    for each in (store, far, again):
        each.close()


def test_an_export_goes_on_by_days(tmp_path: Path) -> None:
    store, folder = fleet(tmp_path / "a.duckdb"), tmp_path / "export"
    export_store(store, folder)
    before = {path: path.stat().st_mtime_ns for path in cells_files(folder)}
    store.commit(batch(cell(60, 10, 2, start=START + DAY, stats=filled(9)), device="pump/7"))
    store.commit(batch(cell(70, 0, start=START + 3 * DAY)))
    late = cell(70, 1, start=START)  # of a day that is not written again
    store.commit(batch(late))
    assert export_store(store, folder, since=START + DAY + 7_000) == (3, 0)
    touched = [p for p in cells_files(folder) if before.get(p) != p.stat().st_mtime_ns]
    assert [path.parts[-3] for path in touched] == [f"day=2026-01-0{day}" for day in (2, 3, 4)]
    again = DuckDBStore(tmp_path / "b.duckdb")
    import_store(folder, again)
    assert len(content(again)["cells"]) == len(content(store)["cells"]) - 1
    export_store(store, folder, since=START)
    assert import_store(folder, again).taken == 1
    assert content(again) == content(store)
    with store.writing() as writing:
        forget(writing, "pump 8", BY, 0, grown=True)
    assert export_store(store, folder).removed == 2
    assert import_store(folder, again).gone == 0
    for each in (store, again):
        each.close()


def test_a_restored_copy_gets_back_what_came_since(tmp_path: Path) -> None:
    store, folder = fleet(tmp_path / "a.duckdb"), tmp_path / "export"
    store.copy_to(tmp_path / "copy.duckdb")
    store.commit(batch(cell(60, 1, 5, stats=filled(3)), cell(80), device="pump/7"))
    store.commit(birth("pump/7", START + 9 * 3_600, site="west", firmware="2"))
    store.commit(birth("pi-2", START, site="east"))
    export_store(store, folder, since=START)
    restored = DuckDBStore(tmp_path / "copy.duckdb")
    assert import_store(folder, restored).taken == 2
    want, got = content(store), content(restored)
    device = got.pop("devices"), want.pop("devices")
    assert got == want
    assert [row[0] for row in device[0]] == [row[0] for row in device[1]]
    restored.commit(birth("pi-2", START + 9 * 3_600, site="else"))
    newer = content(restored)["attributes"]
    import_store(folder, restored)  # what is older changes nothing
    assert content(restored)["attributes"] == newer
    for each in (store, restored):
        each.close()


def test_two_stores_that_heard_a_device_in_turn_make_one_history(tmp_path: Path) -> None:
    stores = [DuckDBStore(tmp_path / f"{name}.duckdb") for name in "ab"]
    stores[0].commit(birth("pi-1", START, site="north"))
    stores[1].commit(birth("pi-1", START + DAY, site="south"))
    folders = []
    for store in stores:
        folders.append(tmp_path / f"export-{len(folders)}")
        export_store(store, folders[-1])
    histories = []
    for order in itertools.permutations(folders):
        one = DuckDBStore(tmp_path / f"{len(histories)}.duckdb")
        for folder in (*order, *order):
            import_store(folder, one)
        with one.reading() as reading:
            spans = "SELECT value, since_seconds FROM attributes ORDER BY since_seconds"
            histories.append(reading.rows(spans).rows)
        one.close()
    assert histories == [[("north", 0), ("south", START + DAY)]] * 2
    for store in stores:
        store.close()


def _text(folder: Path) -> None:
    (folder / "export.json").write_text("{}")


def _cut(folder: Path) -> None:
    path = cells_files(folder)[0]
    path.write_bytes(path.read_bytes()[:-20])


def _other(folder: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS producer) TO '{folder}/names/series.parquet'")


def _lost(folder: Path) -> None:
    (folder / "names" / "aliases.parquet").unlink()


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (_text, InputError, "wanted format 1"),
        (_cut, FileUnreadableError, "export once more"),
        (_other, InputError, "not the columns of series"),
        (_lost, FileUnreadableError, "aliases"),
    ],
)
def test_a_damaged_export_is_refused(
    tmp_path: Path, damage: Callable[[Path], None], error: type[EdgemseError], words: str
) -> None:
    store, folder = fleet(tmp_path / "a.duckdb"), tmp_path / "export"
    export_store(store, folder)
    damage(folder)
    again = DuckDBStore(tmp_path / "b.duckdb")
    with pytest.raises(error, match=words):
        import_store(folder, again)
    with pytest.raises(InputError, match="wanted a folder that edgemse export wrote"):
        import_store(tmp_path, again)
    for each in (store, again):
        each.close()


def test_a_folder_belongs_to_one_store(tmp_path: Path) -> None:
    store, folder = fleet(tmp_path / "a.duckdb"), tmp_path / "export"
    export_store(store, folder)
    for number in range(2):  # of a store that a collector holds there are only copies to export
        store.copy_to(tmp_path / f"copy-{number}.duckdb")
        copy = DuckDBStore(tmp_path / f"copy-{number}.duckdb")
        export_store(copy, folder)
        copy.close()
        store.commit(batch(cell(90, number)))
    other = DuckDBStore(tmp_path / "b.duckdb")
    with pytest.raises(OutputError, match="holds an export of the store"):
        export_store(other, folder)
    with pytest.raises(OutputError, match="holds something else"):
        export_store(other, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        export_store(other, tmp_path / "file")
    for each in (store, other):
        each.close()


def test_the_commands(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.duckdb", tmp_path / "export"
    fleet(path).close()
    done = edgemse("export", "--from", path, folder, "--since", "2026-01-02")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{folder}: 2 days of models written, 0 removed\n"
    done = edgemse("export", "--from", path, folder)
    assert done.stdout == f"{folder}: {len(ODD) + 3} days of models written, 0 removed\n"
    for taken in (23, 0):
        done = edgemse("import", folder, "--store", tmp_path / "b.duckdb")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"23 cells: {taken} taken, 0 gone for good\n"
    one, other = (total_of(tmp_path / f"{name}.duckdb") for name in "ab")
    assert [group["by"] for group in one["groups"]] == [group["by"] for group in other["groups"]]
    del one["total"]["by"], other["total"]["by"]
    assert other["total"] == pytest.approx(one["total"], rel=1e-12)
    done = edgemse("import", tmp_path, "--store", tmp_path / "b.duckdb")
    assert (done.returncode, done.stderr.count("\n")) == (65, 1)
