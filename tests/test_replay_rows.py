"""What a replay makes of rows before anything is sent: what it refuses, and its cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.broker import Mosquitto
from support.clock import FakeClock
from support.processes import edgemse

from edgemse.cli import entry
from edgemse.cli import replay as cli_replay
from edgemse.errors import InputError, LedgerError
from edgemse.files import Dialect
from edgemse.mqtt import Broker
from edgemse.replay import Roles, Rows, VirtualFleet, digest_of, fleet
from edgemse.topics import Topics

START = 1_790_000_000
ROLES = Roles("d", "t", "y", "p", "v", "s")


def virtual_fleet(clock: FakeClock | None = None, delay_seconds: float = 0.0) -> VirtualFleet:
    return VirtualFleet(
        Broker("127.0.0.1", 9),
        Topics(),
        bytes(32),
        model="m",
        version="",
        width_seconds=10,
        label_delay_seconds=delay_seconds,
        clock=clock or FakeClock(START),
    )


def feed(path: Path, **how: Any) -> VirtualFleet:
    virtual = virtual_fleet(**how)
    Rows([(str(path), path)], ROLES, Dialect()).feed(virtual, lambda _number, _done: None)
    return virtual


def rows(folder: Path, *lines: str) -> Path:
    path = folder / "samples.csv"
    path.write_text("d,t,y,p,v,s\n" + "".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (",1790000001,1,2,v,s", "column 'd' is empty; every row needs its device"),
        ("  ,1790000001,1,2,v,s", "column 'd' is empty"),
        ("collector,1790000001,1,2,v,s", "column 'd' holds no device: device name 'collector'"),
        (f"{'d' * 300},1790000001,1,2,v,s", "column 'd' holds no name: 300 characters"),
        ("\u00e4" * 200 + ",1790000001,1,2,v,s", "column 'd' holds no device"),
        ("a,1790000001,1,2,v\x1b[31m,s", "column 'v' holds no name: the character U+001B"),
        ("a,1790000001,1,2,v,s\u202e", "column 's' holds no name: the character U+202E"),
        ("a,1970-01-01,1,2,v,s", "column 't': time '1970-01-01': that is 1970"),
        ("a,46286.59,1,2,v,s", "column 't': time '46286.59'"),
        ("a,1790000001,1,2,v", "5 cells, the header has 6 names"),
    ],
)
def test_a_row_that_cannot_be_replayed_is_named(tmp_path: Path, bad: str, told: str) -> None:
    path = rows(tmp_path, "a,1790000000,1,2,v,s", bad)
    with pytest.raises(InputError) as caught:
        feed(path)
    assert str(caught.value).startswith(f"{path}: line 3: {told}")


def test_a_time_column_that_holds_none_is_refused(tmp_path: Path) -> None:
    path = rows(tmp_path, "a,,1,2,v,s", "b,NaT,1,2,v,s")
    with pytest.raises(InputError, match="2 rows, none with a time in column 't'"):
        feed(path)
    outcome = feed(rows(tmp_path, "a,,1,2,v,s", "a,1790000000,1,2,v,s")).outcome
    assert (outcome.rows, outcome.rows_without_time) == (2, 1)


@pytest.mark.parametrize("delay_seconds", [0.0, 25.0])
def test_the_same_rows_make_the_same_cells_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay_seconds: float
) -> None:
    """Rows before, around and after the clock's time, in several rounds of rows per commit."""
    monkeypatch.setattr(fleet, "ROWS_PER_COMMIT", 7)
    lines = [f"d{n % 2},{START + 5 * (n % 9)},{n},{n + 1},v,s{n % 3}" for n in range(60)]
    path = rows(tmp_path, *lines)

    def cells(clock: FakeClock) -> dict[str, list[Any]]:
        virtual = feed(path, clock=clock, delay_seconds=delay_seconds)
        for each in virtual._agents.values():
            clock.passed += 100.0
            each.finish()
        return {
            device: sorted(held.cell for held in each.agent.ledger.due(1_000))
            for device, each in virtual._agents.items()
        }

    early, now, late = (cells(FakeClock(START + shift)) for shift in (-(10**6), 20, 10**6))
    assert early == now == late
    assert all(cell.final for device in now.values() for cell in device)
    assert len({cell.identity for device in now.values() for cell in device}) > 20


def test_nothing_is_sent_before_the_last_row_is_read(tmp_path: Path) -> None:
    virtual = feed(rows(tmp_path, *[f"a,{START + n},1,2,v,s" for n in range(100)]))
    assert virtual.outcome.reports == 0
    assert virtual.progress == "nothing has been sent"


def test_cells_that_find_no_room_end_the_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = feed(rows(tmp_path, f"a,{START},1,2,v,s"))
    (each,) = virtual._agents.values()
    monkeypatch.setattr(each.agent, "commit", lambda **_how: False)
    with pytest.raises(LedgerError, match="no memory"):
        each.finish()


def test_the_digest_follows_contents_and_options(tmp_path: Path) -> None:
    path = rows(tmp_path, "a,1790000000,1,2,v,s")
    first = digest_of([path], ["m"])
    assert digest_of([path], ["m"]) == first != digest_of([path], ["n"])
    rows(tmp_path, "a,1790000000,1,2,v,t")
    assert digest_of([path], ["m"]) != first


COLUMNS = ("--device", "d", "--time", "t", "--y-true", "y", "--y-pred", "p")


def test_a_file_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its digest is that of another file: what is sent would be counted again with the rest."""
    path = rows(tmp_path, f"a,{START},1,2,v,s")

    def grown(*_arguments: object) -> None:
        with path.open("a") as file:
            file.write(f"a,{START},1,2,v,s\n")

    monkeypatch.setattr(Rows, "feed", grown)
    arguments = ["edgemse", "replay", str(path), "--broker", "127.0.0.1:9", *COLUMNS]
    monkeypatch.setattr("sys.argv", arguments)
    assert entry.main() == 65
    assert "grew or changed while it was read" in capsys.readouterr().err


def test_a_replay_through_a_pipe_is_the_same_replay(tmp_path: Path) -> None:
    path = rows(tmp_path, f"a,{START},1,x,v,s")
    done = edgemse("replay", "-", "--broker", "127.0.0.1:9", *COLUMNS, stdin=path.read_text())
    assert done.returncode == 65
    assert "standard input: line 2: column 'p': got 'x'" in done.stderr


def test_an_interruption_says_what_has_arrived(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        progress = "1 of 2 cells are acknowledged"
        running = False

        def start(self) -> None:
            self.running = True

        def stop(self) -> None:
            self.running = False

        def finish(self, **_how: object) -> None:
            raise KeyboardInterrupt

    virtual = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        cli_replay._deliver(virtual, 1.0)  # type: ignore[arg-type]
    assert not virtual.running
    told = "interrupted; 1 of 2 cells are acknowledged. Run the same command again"
    assert told in capsys.readouterr().err


def test_patience_ends_with_what_is_missing(broker: Mosquitto, tmp_path: Path) -> None:
    path = rows(tmp_path, f"a,{START},1,2,v,s", f"b,{START},1,2,v,s")
    options = ("--broker", broker.address, *COLUMNS, "--patience", "1s", "--format", "json")
    done = edgemse("replay", path, *options)
    assert (done.returncode, json.loads(done.stdout or "null")) == (75, None)
    assert "2 of 2 cells not acknowledged" in done.stderr
    assert "no collector is online there" in done.stderr
