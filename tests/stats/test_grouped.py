"""Histograms merged by group: what merging one by one gives, from whoever holds the bytes."""

import random
import threading
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stats.samples import SEED
from stats.test_histogram import ERRORS, counted

from edgemse import ResidualHistogram
from edgemse.errors import CorruptStateError, UnsupportedVersionError
from edgemse.stats.grouped import merge_histograms

ROWS = st.lists(st.tuples(st.integers(-3, 3), ERRORS), max_size=12)


def one_by_one(rows):
    merged = defaultdict(ResidualHistogram)
    for group, raw in rows:
        merged[group].merge(ResidualHistogram.from_bytes(raw))
    return dict(merged)


def same(got, want):
    assert list(got) == list(want)
    assert got == want
    assert [h.to_bytes() for h in got.values()] == [h.to_bytes() for h in want.values()]


@given(ROWS)
def test_an_iterable_gives_what_merging_one_by_one_gives(rows):
    rows = [(group, counted(errors).to_bytes()) for group, errors in rows]
    same(merge_histograms(rows), one_by_one(rows))
    same(merge_histograms((f"g{g}", memoryview(raw)) for g, raw in rows), {
        f"g{g}": h for g, h in one_by_one(rows).items()
    })  # fmt: skip


def table(arrow, rows, binary="binary", pieces=1):
    numbers = arrow.array([group for group, _ in rows], arrow.int64())
    column = arrow.array([raw for _, raw in rows], getattr(arrow, binary)())
    whole = arrow.table({"g": numbers, "histogram": column})
    step = max(1, -(-len(rows) // pieces))
    return arrow.concat_tables([whole[i : i + step] for i in range(0, len(rows), step)] or [whole])


@given(rows=ROWS, pieces=st.integers(1, 4))
def test_so_does_an_arrow_stream(rows, pieces):
    arrow = pytest.importorskip("pyarrow")
    rows = [(group, counted(errors).to_bytes()) for group, errors in rows]
    want = one_by_one(rows)
    for binary in ("binary", "large_binary"):
        whole = table(arrow, rows, binary, pieces)
        same(merge_histograms(whole), want)
        same(merge_histograms(whole[1:]), one_by_one(rows[1:]))  # buffers with an offset


def test_a_part_without_histogram_leaves_its_group_without():
    arrow = pytest.importorskip("pyarrow")
    a, b = counted([1.0, -2.0]).to_bytes(), counted([3.0]).to_bytes()
    rows = [(1, a), (2, None), (1, b), (2, a), (3, a), (3, b""), (3, a)]
    rows.append((4, counted([]).to_bytes()))
    want = {1: counted([1.0, -2.0, 3.0]), 2: None, 3: None, 4: ResidualHistogram()}
    assert merge_histograms(rows) == want
    assert merge_histograms(table(arrow, rows)) == want
    assert list(merge_histograms(table(arrow, rows, "large_binary", 3))) == [1, 2, 3, 4]
    assert merge_histograms([]) == merge_histograms(table(arrow, [])) == {}


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (b"\x41", CorruptStateError, "group 7 in row 2 is none"),
        (b"\x01\x00\x00", CorruptStateError, "group 7 in row 2 starts with 0x01"),
        (b"\x43\x00", UnsupportedVersionError, "group 7 in row 2 is of version 3"),
    ],
)
def test_bad_bytes_are_refused_with_their_row(bad, error, words):
    arrow = pytest.importorskip("pyarrow")
    good = counted([1.0]).to_bytes()
    rows = [(1, good), (7, good), (7, bad), (1, good)]
    for source in (rows, table(arrow, rows), table(arrow, rows, pieces=3)):
        with pytest.raises(error, match=words):
            merge_histograms(source)


def test_two_threads_give_what_one_gives(monkeypatch):
    arrow = pytest.importorskip("pyarrow")
    rng = random.Random(SEED)
    parts = [counted([rng.gauss(0, 1) for _ in range(9)]).to_bytes() for _ in range(50)] + [b""]
    rows = [(rng.randrange(2_000), rng.choice(parts[: 50 + (n % 97 == 0)])) for n in range(20_000)]
    whole = table(arrow, rows)
    alone = merge_histograms(whole.combine_chunks())
    assert None in alone.values()
    cut = table(arrow, rows, pieces=40)
    for _ in range(5):
        together = merge_histograms(cut)
        assert list(together) == list(alone)
        assert together == alone

    def none_left(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    assert merge_histograms(cut) == alone


def test_of_two_threads_the_first_bad_row_is_told():
    arrow = pytest.importorskip("pyarrow")
    raw = counted([1.0, 2.0, -3.0]).to_bytes()
    rows = [(n % 7, raw) for n in range(4_000)]
    for bad in (3_999, 2_345, 777):
        rows[bad] = (bad, b"\x41")
        for pieces in (1, 8, 40):
            with pytest.raises(CorruptStateError, match=f"group {bad} in row {bad} is none"):
                merge_histograms(table(arrow, rows, pieces=pieces))
    most = counted([1.0])
    for _ in range(52):
        most.merge(most)
    rows = [(1, raw)] * 10 + [(1, most.to_bytes())] * 2
    with pytest.raises(OverflowError, match="group 1"):
        merge_histograms(table(arrow, rows, pieces=12))


def test_other_columns_are_refused():
    arrow = pytest.importorskip("pyarrow")
    raw = [counted([1.0]).to_bytes()]
    for columns in (
        {"g": arrow.array([1], arrow.int32()), "h": raw},
        {"g": [1], "h": ["text"]},
        {"g": [1]},
        {"g": [1], "h": raw, "more": [1]},
        {"g": [1], "h": arrow.array(raw).dictionary_encode()},
    ):
        with pytest.raises(TypeError, match="wanted are two columns"):
            merge_histograms(arrow.table(columns))
    with pytest.raises(ValueError, match="row 1 has no group"):
        merge_histograms(arrow.table({"g": [1, None], "h": raw * 2}))
    for source in (3, [3], [(1, "text")], [([], raw[0])]):
        with pytest.raises(TypeError):
            merge_histograms(source)


def test_a_stream_that_fails_says_why():
    arrow = pytest.importorskip("pyarrow")
    whole = table(arrow, [(1, counted([1.0]).to_bytes())])

    def batches():
        yield from whole.to_batches()
        raise OSError("the disk is gone")

    reader = arrow.RecordBatchReader.from_batches(whole.schema, batches())
    with pytest.raises(RuntimeError, match="the disk is gone"):
        merge_histograms(reader)


def test_counts_that_a_double_cannot_hold_are_refused():
    h = counted([1.0])
    for _ in range(52):
        h.merge(h)
    rows = [("a", h.to_bytes())] * 2
    assert merge_histograms(rows)["a"].count == 2**53
    with pytest.raises(OverflowError, match="group 'a'"):
        merge_histograms([*rows, ("a", counted([2.0]).to_bytes())])


def test_many_groups_in_any_order_from_duckdb():
    duckdb = pytest.importorskip("duckdb")
    rng = random.Random(SEED)
    parts = [
        counted([rng.gauss(0, 1) * 10 ** rng.uniform(-9, 9) for _ in range(9)]) for _ in range(50)
    ]
    with duckdb.connect() as store:
        store.execute("CREATE TABLE cells (g BIGINT, histogram BLOB)")
        rows = [
            (rng.choice((1, -1)) * rng.randrange(3000) << rng.choice((0, 40)), p.to_bytes())
            for p in parts * 60
        ]
        store.executemany("INSERT INTO cells VALUES (?, ?)", rows)
        relation = store.sql("SELECT g, histogram FROM cells")
        got = merge_histograms(relation)
        assert got == one_by_one(rows)
        assert len(got) > 1000
        nothing = store.sql("SELECT g, histogram FROM cells WHERE g IS NULL")
        assert merge_histograms(nothing) == {}


def test_other_threads_run_meanwhile():
    arrow = pytest.importorskip("pyarrow")
    rng = random.Random(SEED)
    raw = counted([rng.gauss(0, 1) for _ in range(2000)]).to_bytes()
    whole = table(arrow, [(1, raw)] * 20_000)
    passes, done = 0, threading.Event()

    def work() -> None:
        assert merge_histograms(whole)[1].count == 2000 * 20_000
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        passes += 1
    thread.join()
    assert passes > 10
