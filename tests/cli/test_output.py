"""Where the answers go: full disks, readers that have gone, plain letters; help, and wrong use."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.forks import Forked
from support.processes import EDGEMSE
from support.processes import edgemse as forked

import edgemse

FORMS = ("table", "json", "csv")
AGENT = str(Path(EDGEMSE).with_name("edgemse-agent"))


@pytest.fixture
def evaluate(tmp_path: Path) -> list[str]:
    path = tmp_path / "samples.csv"
    path.write_text("y,p,site\n1,1.5,K\u00f6ln\n2,2,Bonn\n", encoding="utf-8")
    return [EDGEMSE, "evaluate", str(path), "--y-true", "y", "--y-pred", "p", "--by", "site"]


def run(command: list[str], **settings: str) -> tuple[int, str, str]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | settings
    )
    return done.returncode, done.stdout, done.stderr


def end_of(command: list[str], stdout: int) -> tuple[int, str]:
    """Return the exit code, and standard error, of an `edgemse` that writes there."""
    with tempfile.TemporaryFile() as told:
        code = Forked("edgemse", command[1:], stdout=stdout, stderr=told).wait(60)
        told.seek(0)
        return code, told.read().decode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_one_line(evaluate: list[str], form: str) -> None:
    with Path("/dev/full").open("w") as full:
        ended = end_of([*evaluate, "--format", form], full.fileno())
    assert ended == (84, "edgemse: standard output: No space left on device\n")


@pytest.mark.parametrize("form", FORMS)
def test_a_reader_that_has_gone_is_no_error(evaluate: list[str], form: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    ended = end_of([*evaluate, "--format", form], write_end)
    os.close(write_end)
    assert ended == (0, "")


def test_a_closed_standard_output_is_no_error(evaluate: list[str]) -> None:
    closing = ["/bin/sh", "-c", '"$@" >&-', "sh", *evaluate]
    assert run(closing) == (0, "", "")


@pytest.mark.parametrize("form", FORMS)
def test_letters_that_the_terminal_lacks(evaluate: list[str], form: str) -> None:
    code, out, err = run([*evaluate, "--format", form], PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    if form == "json":
        groups = [group["by"]["site"] for group in json.loads(out)["groups"]]
        assert groups == ["Bonn", "K\u00f6ln"]
    elif form == "csv":
        assert [row["site"] for row in csv.DictReader(io.StringIO(out))] == ["Bonn", "K\\xf6ln"]
    else:
        assert "K\\xf6ln" in out


@pytest.mark.parametrize("form", FORMS)
def test_names_do_not_reach_into_the_terminal(tmp_path: Path, form: str) -> None:
    path, name = tmp_path / "samples.csv", "a\x1b[2J\x9b\u202eb"
    path.write_text(f"y,p,site\n1,1.5,{name}\n", encoding="utf-8")
    options = ["--y-true", "y", "--y-pred", "p", "--by", "site", "--format", form]
    code, out, err = run([EDGEMSE, "evaluate", str(path), *options], PYTHONIOENCODING="utf-8")
    assert (code, err) == (0, "")
    assert "a\\u001b[2J\\u009b\\u202eb" in out
    assert not set("\x1b\x9b\u202e") & set(out)
    if form == "json":
        assert json.loads(out)["groups"][0]["by"]["site"] == name


def test_nor_do_errors() -> None:
    code, out, err = run([EDGEMSE, "fleet", "devices", "--from", "a\x1b[2Jb"])
    assert (code, out, err[:15]) == (72, "", "edgemse: store ")
    assert "a\\u001b[2Jb" in err
    assert "\x1b" not in err


@pytest.mark.parametrize("program", [EDGEMSE, AGENT])
def test_both_programs_look_alike(program: str) -> None:
    assert run([program, "--version"]) == (0, f"edgemse {edgemse.__version__}\n", "")
    short, long = run([program, "-h"]), run([program, "--help"])
    assert short == long
    assert short[0] == 0
    assert "usage: " in short[1].lower()
    code, out, err = run([program, "--colour"])
    assert (code, out, err.count("\n")) == (64, "", 1)
    assert err.startswith(f"{Path(program).name}: ")
    assert "--colour" in err


def test_wrong_use_is_one_line_that_says_whose_help_to_read(evaluate: list[str]) -> None:
    for arguments in (["evaluate"], ["evaluate", "x.csv", "--colour"], ["paint"]):
        done = forked(*arguments)
        code, out, err = done.returncode, done.stdout, done.stderr
        assert (code, out, err.count("\n")) == (64, "", 1), err
        assert f"edgemse{' evaluate' if 'evaluate' in arguments else ''} -h" in err
    assert "'table', 'json', 'csv'" in run([*evaluate, "--format", "xml"])[2]
    for arguments in ([], ["fleet"]):
        done = forked(*arguments)
        assert (done.returncode, "Commands:" in done.stderr) == (64, True)


def test_help_shows_what_stands_in_square_brackets() -> None:
    assert "Weights of the samples [all 1]." in run([EDGEMSE, "evaluate", "-h"])[1]


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "edgemse", "--version"]
    assert run(command) == (0, f"edgemse {edgemse.__version__}\n", "")


def test_a_spreadsheet_runs_nothing_of_what_a_device_is_called(tmp_path: Path) -> None:
    names = ["=HYPERLINK(1)", "@sum", "+1+2", "-a", "-5", "+1.5e3", "pump-1"]
    path = tmp_path / "samples.csv"
    path.write_text("y,p,=site\n" + "".join(f"1,-1,{name}\n" for name in names))
    columns = ["--y-true", "y", "--y-pred", "p", "--by", "=site", "--format", "csv"]
    code, out, err = run([EDGEMSE, "evaluate", str(path), *columns])
    assert (code, err) == (0, "")
    header, *rows = csv.reader(io.StringIO(out))
    assert header[0] == "'=site"
    assert {row[0] for row in rows} == {"'=HYPERLINK(1)", "'@sum", "'+1+2", "'-a", *names[4:]}
    assert {row[header.index("bias")] for row in rows} == {"-2.0"}


def test_what_is_given_twice_is_wrong_use(evaluate: list[str], tmp_path: Path) -> None:
    path = Path(evaluate[2])
    link = tmp_path / "again.csv"
    link.symlink_to(path)
    for other in (path, link):
        code, out, err = run([*evaluate, str(other)])
        assert (code, out, err.count("\n")) == (64, "", 1)
        assert f"{path} is given twice" in err
    code, out, err = run([*evaluate[:-4], "--y-pred", "y"])
    assert (code, out, err.count("\n")) == (64, "", 1)
    assert "--y-true and --y-pred: both are 'y'" in err


@pytest.mark.parametrize("form", ["csv", "markdown"])
@pytest.mark.parametrize("command", [("replay",), ("labels", "send")])
def test_what_has_no_rows_has_no_format_for_rows(command: tuple[str, ...], form: str) -> None:
    code, out, err = run([EDGEMSE, *command, "none.csv", "--format", form])
    assert (code, out, err.count("\n")) == (64, "", 1)
    assert "'table', 'json'" in err


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ([EDGEMSE, "evaluate", "none.csv", "--y-true", "y", "--y-pred", "p"], 66),
        ([EDGEMSE, "evaluate"], 64),
        ([AGENT, "--config", "none.toml", "--check"], 78),
    ],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_an_error_that_finds_no_room_keeps_its_exit_code(command: list[str], code: int) -> None:
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(command, stderr=full, timeout=60).returncode == code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_line_on_the_way_finds_no_room_and_nothing_ends() -> None:
    code = "from edgemse.printing import tell; tell('a'); tell('b', last=True); print('on')"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, timeout=60
        )
    assert (done.returncode, done.stdout) == (0, b"on\n")
