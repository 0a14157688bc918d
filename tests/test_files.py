from __future__ import annotations

import bz2
import gzip
import lzma
import math
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet
import pytest

from edgemse.errors import ColumnError, FileUnreadableError, InputError, SettingsError
from edgemse.files import (
    Chunk,
    Columns,
    Dialect,
    csv_files,
    parquet_files,
    read_samples,
    spooled,
)

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


def ask(path: Path, **how: object) -> Chunk:
    (chunk,) = read_samples(path, Columns(["y", "p"]), Dialect(**how))
    return chunk


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("y,p\n21,5,22,0\n", "line 2: 4 cells, the header has 2 names; a comma inside"),
        ("y,p\n1,1.5\n1,234,5\n", "line 3: 3 cells"),
        ("y,p,q\n1,1.5,ok\n2,2\n3,3.5,ok\n", "line 3: 2 cells, the header has 3 names; was it cut"),
        ("y,p\n1,1.5,2.5\n", "row names need a name in the header"),
        ("y,p\n12.0,12.5\n12_5,12\n", "line 3: column 'y': got '12_5', wanted a number"),
        ("y,p\n1,\uff11\n", "got '\uff11'"),
        ("y,p\n1,NA\n", "--na TEXT"),
        ("y;p\n1,5;2,5\n", "--decimal , takes a decimal comma"),
        ("y,p\n1,0x10\n", "got '0x10'"),
        ("y,p\n1,2\n\0", "line 3: 1 cells"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        ask(csv_file(tmp_path, text))
    assert told in str(caught.value)
    assert str(tmp_path / "samples.csv") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("y,p\n1.0,1.5,\n2.0,2.5,,\n", {}),
        ("y,p\n1.0,1.5\n,\n\n2.0,2.5\n,\n", {}),
        ("sep=;\ny;p\n1.0;1.5\n2.0;2.5\n", {}),
        ('"a, b, c, d";y;p\n1;1.0;1.5\n1;2.0;2.5\n', {}),
        ('"a\n; ; ;",y,p\n1,1.0,1.5\n1,2.0,2.5\n', {}),
        ("y , p\n1.0 , 1.5\n2.0,2.5\n", {}),
        ("y,p\r1.0,1.5\r2.0,2.5\r", {}),
        ("y;p\n1,0;1,5\n2,0;2,5\n", {"decimal": ","}),
        ("y#p\n1.0#1.5\n2.0#2.5\n", {"delimiter": "#"}),
        ("y,p\n1.0,1.5\n-200,3\nx,-200\n2.0,2.5\n", {"na": ("-200", "x")}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_as_people_have_them(
    tmp_path: Path, text: str, how: dict[str, object], encoding: str
) -> None:
    chunk = ask(csv_file(tmp_path, text.encode(encoding)), **how)
    pairs = zip(chunk.numbers["y"], chunk.numbers["p"], strict=True)
    known = [(y, p) for y, p in pairs if math.isfinite(y + p)]
    assert known == [(1.0, 1.5), (2.0, 2.5)]


def test_latin_1_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "y,p,ort\n1,2,K\u00f6ln\n".encode("latin-1"))
    with pytest.raises(FileUnreadableError, match=r"byte 0xF6, .*iconv -f latin1"):
        ask(path)


@pytest.mark.parametrize("how", [{"decimal": ";"}, {"delimiter": ",,"}, {"time_unit": "min"}])
def test_a_dialect_that_is_none_is_refused(how: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        Dialect(**how)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_compressed_files_and_pipes_are_read(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    packed = csv_file(tmp_path, pack(b"y,p\n1,1.5\n"))
    with spooled([packed]) as ((name, path),):
        assert list(ask(path).numbers["p"]) == [1.5]
        assert name == str(packed)
    assert (path == packed) == (pack is bytes)
    assert path == packed or not path.exists()
    read_end, write_end = os.pipe()
    os.write(write_end, packed.read_bytes())
    os.close(write_end)
    with spooled([Path(f"/dev/fd/{read_end}")]) as ((_, path),):
        for _ in range(2):
            assert list(ask(path).numbers["p"]) == [1.5]
    os.close(read_end)


def test_a_file_cut_while_compressed_and_zstd_are_told(tmp_path: Path) -> None:
    cut = csv_file(tmp_path, gzip.compress(b"y,p\n1,1.5\n" * 1_000)[:30])
    with pytest.raises(FileUnreadableError, match="cannot be read to its end"), spooled([cut]):
        pass
    other = csv_file(tmp_path, b"\x28\xb5\x2f\xfd\x04\x00")
    with pytest.raises(FileUnreadableError, match="zstd -d"), spooled([other]):
        pass


def test_a_folder_s_value_serves_only_what_the_file_lacks(tmp_path: Path) -> None:
    folder = tmp_path / "p=5" / "site=north"
    folder.mkdir(parents=True)
    parquet_file(folder, "SELECT 1.0 AS y, 1.5 AS p")
    (chunk,) = read_samples(folder / "samples [1].parquet", Columns(["y", "p"], ["site"]))
    assert (list(chunk.numbers["p"]), chunk.texts["site"]) == ([1.5], ["north"])


def test_names_that_differ_in_case_are_two(tmp_path: Path) -> None:
    path = parquet_file(tmp_path, "SELECT 1.0 AS y, 2.0 AS p")
    table = pyarrow.table({"y": [1.0], "Y": [9.0], "p": [1.5], "P": [7.0]})
    pyarrow.parquet.write_table(table, path)
    (chunk,) = read_samples(path, Columns(["y", "P"]))
    assert {name: list(column) for name, column in chunk.numbers.items()} == {
        "y": [1.0],
        "P": [7.0],
    }


@pytest.mark.parametrize(
    ("select", "told"),
    [
        ("[1.0] AS y, 2.0 AS p", "holds DOUBLE\\[\\]|holds DECIMAL.*\\[\\], wanted numbers"),
        ("TIMESTAMP '2026-01-01' AS y, 2.0 AS p", "holds TIMESTAMP, wanted numbers"),
        ("'12_5' AS y, 2.0 AS p", "row 1: column 'y': got '12_5'"),
    ],
)
def test_parquet_columns_that_are_no_numbers(tmp_path: Path, select: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        ask(parquet_file(tmp_path, f"SELECT {select}"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20260921", 1_789_948_800.0),
        ("1790000000", 1_790_000_000.0),
        ("2026-09-21 14:13:20 +0000", 1_790_000_000.0),
        ("1790000000123", "milliseconds"),
        ("46286.59", "spreadsheet"),
        ("-1", "line 2: column 't'"),
        ("21.09.2026", "which is the day"),
        ("5", "line 2: column 't'"),
        ("1970-01-01", "1970"),
    ],
)
def test_a_time_is_right_or_refused(tmp_path: Path, text: str, seconds: float | str) -> None:
    path = csv_file(tmp_path, f"t\n{text}\n")
    if isinstance(seconds, float):
        assert list(read(path, times=["t"]).times["t"]) == [seconds]
    else:
        with pytest.raises(InputError, match=seconds):
            read(path, times=["t"])
