"""Files that are cut, damaged, of another kind, or that mean something else than they seem to."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from edgemse.errors import EdgemseError, FileUnreadableError, InputError, SettingsError
from edgemse.files import Chunk, Columns, Dialect, opening, read_samples, spooled

AT = 1_790_000_000
"""2026-09-21T14:13:20Z"""
PLAIN = b"y,p\n" + b"1,1.5\n" * 1_000


def read(path: Path, columns: Columns, **how: Any) -> Chunk:
    (chunk,) = read_samples(path, columns, Dialect(**how))
    return chunk


def csv(folder: Path, content: str | bytes) -> Path:
    path = folder / "samples.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(folder: Path, **columns: Any) -> Path:
    path = folder / "samples.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('y,p,s\n1,2,a\n1,2,"b\n3,4,c\n', "line 3: not CSV: a quote opens here"),
        ('y,p,s\n1,2,"b\n3,4,"c"\n5,6,d\n', "line 2: not CSV: a quoted cell goes on"),
        ('"y,p\n1,2\n', "line 1: not CSV: a quote opens here"),
        ("y,p,s\n1,2,a\n1,2,b\0\0\n", "line 3: column 's' holds NUL bytes"),
        ("y,p,s\n1,2," + "a" * 200_000 + "\n", "line 2: not CSV: field larger than"),
        ("y,p,s\n1,2,a\ny,p,s\n1,2,b\n", "line 3: column 'y': got 'y'"),
        ("y,p,s\n1,2,a\n# gap\n1,2,b\n", "line 3: 1 cell, the header has 3 names"),
        ("y,p,s\n1,2,a\n1,2", "line 3: 2 cells"),
        ('s,y,p\n"a\nb",1,2\n"c\nd",1,x\n', "line 4: column 'p': got 'x'"),
        ('y,p,s\n"1,234",2,a\n', "--decimal , if it is a decimal mark"),
        ('y,p,s\n"1,234,567.5",2,a\n', "without commas between thousands"),
        ("y;p;s\n1.234,5;2;a\n", "wanted a number, or an empty cell"),
    ],
)
def test_a_row_that_swallows_or_shifts_others_is_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(csv(tmp_path, text), Columns(["y", "p"], ["s"]))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "\n;;\ny;p;\n1;2;\n",  # what Excel leaves above the header
        '"sep=;"\r\ny;p\r\n1;2\r\n',
        "y,p,,\n1,2\n",  # cells below the nameless end of the header may be missing
        "y,p\n1,2\n , \n   \n",
        "Y,y,p\n9,1,2\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_what_surrounds_the_rows_does_no_harm(tmp_path: Path, text: str, encoding: str) -> None:
    numbers = read(csv(tmp_path, text.encode(encoding)), Columns(["y", "p"])).numbers
    assert {name: list(column) for name, column in numbers.items()} == {"y": [1.0], "p": [2.0]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04\x14\0\x08\x08", "a zip archive or a spreadsheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook"),
        (b"ARROW1\0\0", "an Arrow or Feather file"),
        (b"y\0,\0p\0\n\0", "UTF-16 without its mark"),
        (b" \n\t\n", "no line of column names"),
        (b"y,p,s\n1,2,a\n" * 9 + b"1,2,K\xf6ln\n", "line 19: .*byte 0xF6"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(FileUnreadableError, match=told):
        read(csv(tmp_path, content), Columns(["y", "p"]))


def test_what_is_missing_may_be_written_as_a_number(tmp_path: Path) -> None:
    text = csv(tmp_path, "y,p\n-200,1\n-200.0,2\n NA ,3\n-nan,4\n5,-2e2\n")
    typed = parquet(tmp_path, y=[-200, 7], p=[1.0, -200.0])
    for path, known in ((text, [0, 0, 0, 0, 0]), (typed, [0, 0])):
        chunk = read(path, Columns(["y", "p"]), na=("-200", "NA"))
        both = zip(chunk.numbers["y"], chunk.numbers["p"], strict=True)
        assert [int(math.isfinite(y + p)) for y, p in both] == known
    text.write_text("y;p\n-200,0;1\n")
    assert math.isnan(read(text, Columns(["y"]), na=("-200",), decimal=",").numbers["y"][0])


@pytest.mark.parametrize("delimiter", ['"', "\n", "\r", "\0", ",,"])
def test_what_cannot_stand_between_cells(delimiter: str) -> None:
    with pytest.raises(SettingsError, match="--delimiter"):
        Dialect(delimiter)


def test_a_tab_as_shells_pass_it_on(tmp_path: Path) -> None:
    path = csv(tmp_path, "y x\tp\n1\t2\n")
    assert list(read(path, Columns(["p"]), delimiter=r"\t").numbers["p"]) == [2.0]


@pytest.mark.parametrize(
    ("values", "kind", "seconds"),
    [
        ([AT * 10**9 + 1, None], pyarrow.timestamp("ns"), AT),
        ([AT], pyarrow.timestamp("s", "Europe/Berlin"), AT),
        ([500_000_000], pyarrow.timestamp("s"), 500_000_000),
        ([20_717], pyarrow.date32(), 20_717 * 86_400),
        ([float(AT), math.nan], pyarrow.float64(), AT),
        ([AT], pyarrow.int64(), AT),
        ([20_260_921], pyarrow.int32(), 20_717 * 86_400),
        ([AT], pyarrow.timestamp("ms"), "row 1: column 't': time .* that is 1970"),
        ([AT * 1_000], pyarrow.timestamp("s"), "beyond the calendar"),
        ([AT * 1_000], pyarrow.int64(), "milliseconds since 1970.*--time-unit"),
        ([AT * 1_000.0], pyarrow.float64(), "milliseconds since 1970.*--time-unit"),
        ([46_286.59], pyarrow.float64(), "a spreadsheet's day number"),
        ([5], pyarrow.time64("us"), "holds TIME, wanted times"),
        ([1.5e9], pyarrow.float32(), "holds FLOAT, wanted times"),
        ([[AT]], pyarrow.list_(pyarrow.int64()), "wanted times"),
        ([True], pyarrow.bool_(), "holds BOOLEAN, wanted times"),
    ],
)
def test_times_in_parquet(tmp_path: Path, values: Any, kind: Any, seconds: float | str) -> None:
    path = parquet(tmp_path, t=pyarrow.array(values, kind))
    if isinstance(seconds, str):
        with pytest.raises(InputError, match=seconds):
            read(path, Columns(times=["t"]))
    else:
        first, *rest = read(path, Columns(times=["t"])).times["t"]
        assert first == pytest.approx(seconds, abs=1e-5)
        assert all(map(math.isnan, rest))


def test_a_unit_that_is_said_goes_for_numbers_only(tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        whole=[AT * 1_000],
        real=[AT * 1_000.0],
        text=[str(AT * 1_000)],
        moment=pyarrow.array([AT], pyarrow.timestamp("s")),
    )
    names = ["whole", "real", "text", "moment"]
    times = read(path, Columns(times=names), time_unit="ms").times
    assert [list(times[name]) for name in names] == [[AT]] * 4


@pytest.mark.parametrize("text", ["", "NaT", "nan", "-"])
def test_a_time_that_is_missing(tmp_path: Path, text: str) -> None:
    path = csv(tmp_path, f"t,y\n{text},1\n")
    assert math.isnan(read(path, Columns(times=["t"]), na=("-",)).times["t"][0])


def test_the_hint_of_a_unit_is_for_numbers(tmp_path: Path) -> None:
    for text, hinted in (("17", True), ("978300760", True), ("noon", False), ("1.2.2026", False)):
        with pytest.raises(InputError) as caught:
            read(csv(tmp_path, f"t\n{text}\n"), Columns(times=["t"]))
        assert ("--time-unit" in str(caught.value)) == hinted


def test_folders_as_hive_and_spark_name_them(tmp_path: Path) -> None:
    for folder, value in (("site=hall%203", "hall 3"), ("site=__HIVE_DEFAULT_PARTITION__", "")):
        (tmp_path / folder).mkdir()
        path = parquet(tmp_path / folder, y=[1.0])
        assert read(path, Columns(["y"], ["site"])).texts == {"site": [value]}


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(PLAIN, mtime=0)[:-12],
        gzip.compress(PLAIN, mtime=0)[:-6] + b"\0" * 6,
        gzip.compress(PLAIN, mtime=0) + b"junk",
        bz2.compress(PLAIN)[:-4],
        b"BZh,y,p\n1,2,3\n",
        lzma.compress(PLAIN)[:-8],
        zstandard.ZstdCompressor().compress(PLAIN)[:-3],
        zstandard.ZstdCompressor().compress(PLAIN)[:9] + b"zzzz",
        zstandard.ZstdCompressor().compress(PLAIN) + b"junk",
    ],
)
def test_a_compressed_file_is_whole_or_refused(tmp_path: Path, packed: bytes) -> None:
    path = csv(tmp_path, packed)
    with pytest.raises(FileUnreadableError) as caught, spooled([path]):
        pass
    assert str(caught.value).startswith(f"{path}: cannot be read to its end: ")


def test_a_pipe_that_brings_byte_by_byte_is_known_for_what_it_is() -> None:
    class Slow(io.RawIOBase):
        left = gzip.compress(PLAIN)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            part, self.left = self.left[:1], self.left[1:]
            buffer[: len(part)] = part
            return len(part)

    stdin = io.TextIOWrapper(io.BufferedReader(Slow()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        with spooled([Path("-")]) as ((name, path),):
            assert (name, path.read_bytes()) == ("standard input", PLAIN)
    assert not path.exists()


def test_standard_input_is_named_once_and_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileUnreadableError, match="named twice"), spooled([Path("-"), Path("-")]):
        pass
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(FileUnreadableError, match="standard input: cannot"), spooled([Path("-")]):
        pass


def test_a_full_disk_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - closed by `spooled`
    monkeypatch.setattr(opening.tempfile, "NamedTemporaryFile", lambda **_: full)
    path = csv(tmp_path, gzip.compress(PLAIN))
    with pytest.raises(FileUnreadableError, match=r"no room for a copy .*TMPDIR"), spooled([path]):
        pass
    assert full.closed


def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path: Path) -> None:
    """Every way to cut a file, and every byte of it in turn another, ends in rows or one error."""
    whole = b'sep=;\ny;p;"s;t"\n1,5;2;"a ""b"""\n\n3;4e1;c;\n'
    damaged = [whole[:n] for n in range(len(whole))]
    damaged += [
        whole[:n] + bytes([b]) + whole[n + 1 :] for n in range(len(whole)) for b in b'\0\n";\xff'
    ]
    refused = 0
    for content in damaged:
        try:
            asked = Columns(["y", "p"], ["s;t"])
            list(read_samples(csv(tmp_path, content), asked, Dialect(decimal=",")))
        except EdgemseError:
            refused += 1
    assert 0 < refused < len(damaged)


def test_a_cell_below_the_nameless_end_of_the_header_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    path.write_text("y,p,,\n1,2,,\n21,5,22,0\n")  # decimal commas without quotes
    with pytest.raises(InputError, match="line 3: 4 cells, the header has 2 names"):
        list(read_samples(path, Columns(["y", "p"])))
