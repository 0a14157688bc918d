from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from edgemse.errors import ColumnError, FileUnreadableError, InputError
from edgemse.files import Chunk, Columns, csv_files, parquet_files, read_samples

START = 1_767_225_600.0


def csv_file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "samples.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def parquet_file(tmp_path: Path, select: str) -> Path:
    path = tmp_path / "samples [1].parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


def read(
    path: Path, numbers: Sequence[str] = (), texts: Sequence[str] = (), times: Sequence[str] = ()
) -> Chunk:
    (chunk,) = read_samples(path, Columns(numbers, texts, times))
    return chunk


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_file(tmp_path: Path, delimiter: str) -> None:
    text = '\ufeffd,y,p\n\n"a ""1""",1.5, 2 \n,,inf\nb,-1e3,nan\n'.replace(",", delimiter)
    chunk = read(csv_file(tmp_path, text), ["y", "p"], ["d"])
    assert chunk.texts == {"d": ['a "1"', "", "b"]}
    assert list(chunk.numbers["y"]) == pytest.approx([1.5, math.nan, -1e3], nan_ok=True)
    assert list(chunk.numbers["p"]) == pytest.approx([2.0, math.inf, math.nan], nan_ok=True)
    assert (chunk.rows, chunk.done) == (3, 1.0)


def test_numbers_are_the_nearest_float64(tmp_path: Path) -> None:
    rng = random.Random(4)
    texts = [f"{rng.uniform(-1, 1):.{rng.randint(1, 25)}e}" for _ in range(500)]
    texts += ["0.1", "9007199254740993", "2.2250738585072011e-308", "1e400", "-0.0"]
    chunk = read(csv_file(tmp_path, "y\n" + "\n".join(texts) + "\n"), ["y"])
    assert [x.hex() for x in chunk.numbers["y"]] == [float(text).hex() for text in texts]
    listed = ", ".join(f"'{text}'" for text in texts)
    path = parquet_file(tmp_path, f"SELECT unnest([{listed}]) AS y")
    assert read(path, ["y"]).numbers == chunk.numbers


def test_chunks_follow_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "CHUNK_ROWS", 1_000)
    monkeypatch.setattr(parquet_files, "CHUNK_ROWS", 1_000)
    path = csv_file(tmp_path, "y\n" + "".join(f"{n}\n" for n in range(2_500)))
    parquet = parquet_file(tmp_path, f"SELECT * FROM read_csv('{path}')")
    for each in (path, parquet):
        chunks = list(read_samples(each, Columns(["y"])))
        assert [chunk.rows for chunk in chunks] == [1_000, 1_000, 500]
        assert [n for chunk in chunks for n in chunk.numbers["y"]] == list(range(2_500))
        assert 0 < chunks[0].done <= chunks[1].done <= chunks[2].done == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y,p\n1,2\n1,two\n", r"samples.csv: line 3: column 'p': got 'two', wanted a number"),
        ('y,p\n"1\n",2\n\n3,NA\n', r"line 5: column 'p': got 'NA'"),
        ("y,p\n1,2\n1\n", r"line 3: 1 cells, the header has 2 names; was it cut?"),
    ],
)
def test_what_is_no_number_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(csv_file(tmp_path, text), ["y", "p"])


def test_a_line_is_counted_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "CHUNK_ROWS", 7)
    path = csv_file(tmp_path, "y\n" + "1\n" * 30 + "x\n")
    with pytest.raises(InputError, match="line 32"):
        list(read_samples(path, Columns(["y"])))


def test_times_of_every_kind(tmp_path: Path) -> None:
    cells = ["2026-01-01", "2026-01-01 01:00:00+01:00", "2026-01-01T00:00:00Z", "1767225600", ""]
    chunk = read(csv_file(tmp_path, "t,x\n" + "".join(f"{c},1\n" for c in cells)), times=["t"])
    assert list(chunk.times["t"]) == pytest.approx([START] * 4 + [math.nan], nan_ok=True)
    with pytest.raises(InputError, match=r"line 2: column 't': time 'noon'"):
        read(csv_file(tmp_path, "t\nnoon\n"), times=["t"])
    path = parquet_file(
        tmp_path,
        "SELECT TIMESTAMP '2026-01-01' AS a, TIMESTAMPTZ '2026-01-01 00:00:00+00' AS b,"
        " DATE '2026-01-01' AS c, 1767225600 AS d, '2026-01-01' AS e, NULL::TIMESTAMP AS f",
    )
    times = read(path, times=["a", "b", "c", "d", "e", "f"]).times
    assert [times[name][0] for name in "abcde"] == [START] * 5
    assert math.isnan(times["f"][0])


def test_a_parquet_file(tmp_path: Path) -> None:
    path = parquet_file(
        tmp_path,
        'SELECT * FROM (VALUES (1, 2.5, \'x\'), (NULL, NULL, NULL)) AS v(i, f, "my ""name""")',
    )
    chunk = read(path, ["i", "f"], ['my "name"', "i"])
    assert list(chunk.numbers["i"]) == pytest.approx([1.0, math.nan], nan_ok=True)
    assert list(chunk.numbers["f"]) == pytest.approx([2.5, math.nan], nan_ok=True)
    assert chunk.texts == {'my "name"': ["x", ""], "i": ["1", ""]}
    path = parquet_file(tmp_path, "SELECT 'three' AS y, DATE '2026-01-01' AS d")
    with pytest.raises(InputError, match="row 1: column 'y': got 'three'"):
        read(path, ["y"])
    with pytest.raises(InputError, match="column 'd' holds DATE, wanted numbers"):
        read(path, ["d"])


def test_a_missing_column_lists_those_there_are(tmp_path: Path) -> None:
    for path in (csv_file(tmp_path, "a,b\n1,2\n"), parquet_file(tmp_path, "SELECT 1 AS a, 2 AS b")):
        with pytest.raises(ColumnError, match=r"no column 'c'; the file has a, b"):
            read(path, ["c"])
    with pytest.raises(ColumnError, match="more than one column 'a'"):
        read(csv_file(tmp_path, "a,a\n1,2\n"), ["a"])


def test_unreadable_files(tmp_path: Path) -> None:
    for content in (b"", b"\xff\xfe\x00binary", b"PAR1 and no more", b'y\n"' + b"1" * 200_000):
        with pytest.raises(FileUnreadableError):
            read(csv_file(tmp_path, content), ["y"])
    for path in (tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(FileUnreadableError, match="cannot be read"):
            read(path, ["y"])
