"""Reports of the C client are Python's to the byte; acks and presences are taken alike."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from support.compiled_c import PROGRAMS, SANITIZED, compile_c

from edgemse import ErrorStats
from edgemse.cells import Identity
from edgemse.errors import WireError
from edgemse.topics import Topics
from edgemse.wire import Ack, Code, Refusal, decode_ack, decode_report, encode_ack, encode_report

PRODUCER = bytes(range(16))
OTHER = bytes(16)
START = 1_767_225_600
TAKEN, NONFINITE, OUT_OF_RANGE, WEIGHTLESS, NEGATIVE, FULL = map(str, range(6))
CELLS = 8


class Held(NamedTuple):
    """A cell as the box holds it."""

    sequence: int
    revision: int
    handed_over: int
    acked: int
    start: int
    width: int
    series: int
    final: int
    refused: str


class Shown(NamedTuple):
    """The box's counters, and its cells."""

    acks: int
    acks_bad: int
    acks_ahead: int
    stores_changed: int
    turned_away: int
    due: int
    finals_due: int
    cells: list[Held]


class Box:
    """A running box.c."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def say(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer.endswith("\n"), f"ended after {line[:200]!r}"
        return answer[:-1]

    def add(
        self,
        y: float,
        p: float,
        w: float = 1.0,
        *,
        series: int = 0,
        at: int = START,
        width: int = 60,
    ) -> str:
        return self.say(f"add {series} {at} {width} {y!r} {p!r} {w!r}")

    def report(
        self, room: int = 65_536, *, health: int = 0, time_ms: int = 1_767_225_661_250
    ) -> bytes:
        return bytes.fromhex(self.say(f"report {time_ms} 1 {health} {room}"))

    def ack(self, *cells: tuple[int, int], store: str = "a1", refused: str = "") -> str:
        names = {Identity(PRODUCER, sequence): revision for sequence, revision in cells}
        if refused:
            no = [
                Refusal(*name, revision, Code(refused), "why") for name, revision in names.items()
            ]
            return self.say(f"ack {encode_ack(Ack('w', {}, tuple(no), store)).hex()}")
        return self.say(f"ack {encode_ack(Ack('w', names, (), store)).hex()}")

    def heard(self, worker: str, said: str | dict[str, object]) -> bool:
        text = said if isinstance(said, str) else json.dumps(said)
        return self.say(f"heard {worker} {text.encode().hex()}") == "1"

    def show(self) -> Shown:
        parts = self.say("show").split(" ")
        held = []
        for text in parts[7:]:
            *numbers, refused = text.split(",")
            held.append(Held(*map(int, numbers), refused))
        return Shown(*map(int, parts[:7]), sorted(held))

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        self._process.stdout.close()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("box")
    return compile_c(
        PROGRAMS / "box.c",
        folder / "box",
        *SANITIZED,
        f"-DEDGEMSE_CELLS={CELLS}",
        "-DEDGEMSE_BUCKETS=512",
    )


@pytest.fixture
def box(program: Path) -> Iterator[Box]:
    running = Box(program)
    yield running
    running.end()


def test_a_report_carries_what_was_counted(box: Box) -> None:
    for p in (1.5, 2.5, 3.5):
        assert box.add(1.0, p) == TAKEN
    for _ in range(3):
        box.report()
        box.add(1.0, 1.5, 0.0)
        box.add(1.0, 1.5, 1.0)
    report = decode_report(box.report(health=3))
    (cell,) = report.cells
    want = ErrorStats()
    want.update_many([1.0] * 6, [1.5, 2.5, 3.5, 1.5, 1.5, 1.5])
    assert (cell.identity, cell.revision, cell.final) == ((PRODUCER, 0), 4, False)
    assert cell.series == ("pump", "2", "", "hall 3/north", "")
    assert (cell.window, cell.coverage) == ((START, 60), None)
    assert cell.state == want.to_bytes()
    assert (report.device, report.run) == ("device 7", "00ff")
    assert report.health == {"samples": 3, "big": 70_000, "lines": 4_000_000_000}


def test_random_reports_are_pythons_to_the_byte(box: Box) -> None:
    rng = random.Random(1)
    for _ in range(200):
        for _ in range(rng.randrange(60)):
            y, at = rng.gauss(20, 5), START + rng.randrange(240)
            box.add(
                y, y + rng.gauss(0, 1), rng.choice((1.0, 1.0, 2.5)), series=rng.randrange(3), at=at
            )
        if rng.random() < 0.3:
            box.say(f"close {START + rng.randrange(300)}")
        time_ms = rng.choice((0, 127, 200, 60_000, 70_000, 5_000_000_000_000))
        raw = box.report(rng.choice((0, 40, 200, 400, 1_000, 65_536, 100_000)), time_ms=time_ms)
        if raw:
            report = decode_report(raw)
            assert encode_report(report) == raw
            seen = [(c.identity.sequence, c.revision) for c in report.cells]
            box.ack(*(pair for pair in seen if rng.random() < 0.5))


def test_a_growing_cell_gets_a_revision_each_time_that_it_was_handed_over(box: Box) -> None:
    box.add(1, 2)
    box.add(1, 3)
    assert [c.revision for c in decode_report(box.report()).cells] == [1]
    box.add(1, 2)
    box.add(1, 2)
    assert [c.revision for c in decode_report(box.report()).cells] == [2]
    box.say(f"close {START + 59}")
    assert not box.show().cells[0].final
    box.say(f"close {START + 60}")
    (cell,) = decode_report(box.report()).cells
    assert (cell.revision, cell.final) == (3, True)
    box.ack((0, 2))
    assert box.show().due == 1  # acked lower than held
    assert decode_report(box.report()).cells == (cell,)
    box.ack((0, 3))
    assert box.show().cells == []


def test_final_before_it_was_handed_over_is_its_first_revision(box: Box) -> None:
    box.add(1, 2)
    box.say("close 4294967295")
    (cell,) = decode_report(box.report()).cells
    assert (cell.revision, cell.final) == (1, True)
    assert box.add(1, 2) == TAKEN  # the same window, again: another cell
    assert [c.identity.sequence for c in decode_report(box.report()).cells] == [0, 1]


def test_acks_late_doubled_and_forged_do_no_harm(box: Box) -> None:
    box.add(1, 2)
    box.report()
    box.add(1, 2)
    box.ack((0, 9), (7, 1))
    shown = box.show()
    assert (shown.acks_ahead, shown.cells[0].acked, shown.due) == (1, 1, 1)
    box.report()
    box.ack((0, 2))
    box.ack((0, 1))
    assert box.show().cells[0].acked == 2
    other = encode_ack(Ack("w", {Identity(OTHER, 0): 3}))
    assert box.say(f"ack {other.hex()}") == "1"
    assert box.show().cells[0].acked == 2


def test_a_refused_cell_is_set_aside_until_it_is_released(box: Box) -> None:
    box.add(1, 2)
    box.say("close 4294967295")
    box.report()
    box.ack((0, 1), refused="future")
    shown = box.show()
    assert (shown.cells[0].refused, shown.due) == ("future", 0)
    assert decode_report(box.report()).cells == ()
    box.say("release")
    assert len(decode_report(box.report()).cells) == 1
    box.ack((0, 1))
    assert box.show().cells == []


def test_another_store_is_noticed(box: Box) -> None:
    for store in ("", "a1", "a1", "", "b2", "b2"):
        box.ack(store=store)
    assert box.show().stores_changed == 1


def test_windows_widen_while_nobody_takes_the_cells_and_what_finds_no_room_is_counted(
    box: Box,
) -> None:
    day = 86_400
    sent = 0
    for minute in range(12 * 1_440):
        at = START + 60 * minute
        box.say(f"close {at}")
        sent += 1
        if box.add(1, 2, at=at) == FULL:
            break
    shown = box.show()
    assert [cell.width for cell in shown.cells] == [60] * 4 + [3_600] * 2 + [day] * 2
    assert shown.turned_away == 1
    counts = 0
    for cell in decode_report(box.report()).cells:
        counts += ErrorStats.from_bytes(cell.state).count
    assert counts == sent - 1


def test_what_becomes_of_a_sample(box: Box) -> None:
    nan = float("nan")
    assert box.add(nan, 1) == NONFINITE
    assert box.add(1e70, 1) == OUT_OF_RANGE
    assert box.add(1, 2, 0.0) == WEIGHTLESS
    assert box.add(1, 2, -1.0) == NEGATIVE
    (cell,) = decode_report(box.report()).cells
    stats = ErrorStats.from_bytes(cell.state)
    assert (stats.count, stats.nonfinite, stats.out_of_range) == (0, 1, 1)


def mutated(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        how = rng.randrange(4)
        at = rng.randrange(len(out) + 1)
        if how == 0 and at < len(out):
            out[at] = rng.randrange(256)
        elif how == 1:
            out[at:at] = rng.choice(
                (b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8, b"\x91")
            )
        elif how == 2:
            del out[at : at + rng.randrange(4)]
        else:
            del out[at:]
    return bytes(out)


def test_acks_of_strangers_are_read_as_python_reads_them(box: Box) -> None:
    rng = random.Random(2)
    names = {
        Identity(rng.choice((PRODUCER, OTHER)), s): rng.randrange(1, 70_000) for s in range(20)
    }
    no = (Refusal(OTHER, 3, 1, Code.WINDOW, "why " * 80), Refusal(PRODUCER, 300, 9, Code.LIMIT, ""))
    whole = encode_ack(Ack("worker", names, no, "store"))
    assert box.say(f"ack {whole.hex()}") == "1"
    more: dict[str, object] = {
        "x": [1, -5, None, 2.5, {"y": b"z"}, msgspec.msgpack.Ext(5, b"1234")]
    }
    later = msgspec.msgpack.encode([*msgspec.msgpack.decode(whole)[:5], more])
    assert box.say(f"ack {later.hex()}") == "1"
    disagreed = 0
    for _ in range(4_000):
        data = mutated(rng, rng.choice((whole, later, encode_ack(Ack("", {})))))
        try:
            decode_ack(data)
            good = True
        except WireError:
            good = False
        taken = box.say(f"ack {data.hex()}") == "1"
        # Python checks UTF-8, limits of lengths and revisions of 0 as well; no more than that
        assert taken or not good, data.hex()
        disagreed += taken != good
    assert disagreed < 400
    shown = box.show()
    assert shown.cells == []
    assert shown.acks_bad > 1_000


def test_who_listens(box: Box) -> None:
    def said(online: bool, run: str) -> dict[str, object]:
        return {"software": 'x "online": true', "online": online, "run": run, "store": "online"}

    assert not box.heard("one", "")
    assert box.heard("one", said(True, "r1"))
    assert box.heard("one", said(False, "r0"))  # the last will of an earlier run, late
    assert not box.heard("one", said(False, "r1"))
    assert not box.heard("one", '{"attributes": {"online": true}}')
    assert not box.heard("one", '{"x": "online", "y": "\\"online\\": true"}')
    assert box.heard("two", '{"run":"a","online":true}')
    assert box.heard("two", "not JSON")
    assert not box.heard("two", "")
    for worker in "abcdef":  # more than it tells apart: no harm
        box.heard(worker, said(True, "r"))
    for worker in "abcdef":
        online = box.heard(worker, said(False, "r"))
    assert not online


@pytest.mark.parametrize("name", ["pi-1", "hall 3/north", "a+b#c$d%e", "Müller\x7f", "~!\"&'()*"])
def test_topics_spell_names_as_python_does(box: Box, name: str) -> None:
    want = Topics().report(name)
    assert box.say(f"topic 600 {name}") == want
    size = len(want) + 1
    assert box.say(f"topic {size} {name}") == want
    assert box.say(f"topic {size - 1} {name}") == ""
