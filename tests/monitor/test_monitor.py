"""Monitor without an agent: what it holds, how it stays small, what a fork does."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from edgemse import Monitor
from edgemse.errors import UnacknowledgedError
from edgemse.monitor.own_cells import OVERFLOW, OwnCells
from edgemse.monitor.own_lines import OwnLines


def cells_of(lines: list[bytes]) -> list[dict]:
    return [json.loads(line) for line in lines]


def own_cells(**bounds: int) -> OwnCells:
    return OwnCells("m", "1", **({"cells_max": 100, "series_max": 10} | bounds))


def test_a_cell_is_sent_when_it_grew_and_kept_until_durable() -> None:
    cells = own_cells()
    cells.add("", "", 10.0, 0.0, 1.0)
    (first,) = cells_of(cells.lines(again=False))
    assert (first["revision"], first["final"], first["window"]) == (1, False, [0, 60])
    assert cells.lines(again=False) == []
    assert len(cells.lines(again=True)) == 1
    cells.close_ended(61.0)
    (last,) = cells_of(cells.lines(again=False))
    assert (last["sequence"], last["revision"], last["final"]) == (first["sequence"], 2, True)
    cells.durable(0, 1)
    assert cells.undurable == 1
    cells.durable(0, 2)
    assert cells.undurable == 0
    assert cells.lines(again=True) == []


def test_windows_become_wider_while_nobody_takes_the_cells() -> None:
    cells = own_cells(cells_max=100)
    for minute in range(60 * 24 * 30):
        cells.add("", "", 60.0 * minute, 0.0, 1.0)
        cells.close_ended(60.0 * minute)
    sent = cells_of(cells.lines(again=True))
    assert len(sent) < 130
    assert {cell["window"][1] for cell in sent} == {60, 3_600, 86_400}


def test_too_many_segments_fold_into_the_overflow() -> None:
    cells = own_cells(series_max=3)
    for i in range(20):
        cells.add("", str(i), 10.0, 0.0, 1.0)
    sent = cells_of(cells.lines(again=False))
    assert {cell["series"][3] for cell in sent} == {"0", "1", "2", OVERFLOW}
    assert cells.overflowed >= 1


def test_lines_go_on_where_the_ledger_stands() -> None:
    lines = OwnLines(lines_max=10)
    for i in range(5):
        lines.add({"id": i})
    assert lines.due() == []
    hello = lines.hello()
    assert hello["from"] == 0
    assert lines.resume("ledger", 0) is None
    assert len(lines.due()) == 5
    lines.durable(3)
    assert len(lines) == 2
    assert lines.hello() == {"session": hello["session"], "from": 3}
    assert lines.resume("ledger", 5) is None
    assert [json.loads(line)["id"] for line in lines.due()] == [3, 4]


@pytest.mark.parametrize("received", [0, 5])
def test_another_ledger_makes_it_give_up_what_was_sent(received: int) -> None:
    lines = OwnLines(lines_max=10)
    for i in range(4):
        lines.add({"id": i})
    first = lines.hello()
    lines.resume("ledger", 0)
    lines.due()
    lines.durable(1)
    lines.add({"id": "new"})
    lines.hello()
    again = lines.resume("another", received)
    assert again is not None
    assert again["session"] != first["session"]
    assert lines.given_up == 3
    assert lines.resume("another", 0) is None
    assert [json.loads(line)["id"] for line in lines.due()] == ["new"]


def test_a_ledger_that_knows_less_than_it_confirmed_is_another_one() -> None:
    lines = OwnLines(lines_max=10)
    lines.add({"id": 0})
    lines.hello()
    lines.resume("ledger", 0)
    lines.due()
    lines.durable(1)
    lines.hello()
    assert lines.resume("ledger", 0) is not None


def test_lines_are_bounded() -> None:
    lines = OwnLines(lines_max=2)
    for i in range(5):
        lines.add({"id": i})
    assert (len(lines), lines.dropped) == (2, 3)


def test_nobody_there_is_told_when_it_must_be_durable(tmp_path: Path) -> None:
    monitor = Monitor(socket=tmp_path / "nobody.sock")
    monitor.observe(1.0, 2.0)
    monitor.predict(1, 2.0)
    with pytest.raises(UnacknowledgedError, match="does the agent run at"):
        monitor.flush(0.2)
    assert monitor.counters()["cells_undurable"] == 1
    with pytest.raises(UnacknowledgedError, match="1 cells, 1 lines are not durable"):
        monitor.close(0.2)
    monitor.close(0.2)


def _in_child(monitor: Monitor, parent: bytes, answers: object) -> None:
    fresh = monitor._cells.producer != parent and monitor.counters()["cells_undurable"] == 0
    monitor.observe(1.0, 2.0)
    answers.put((fresh, monitor._thread.is_alive(), monitor.counters()["cells_undurable"]))
    answers.close()
    answers.join_thread()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_a_monitor_of_its_own(tmp_path: Path) -> None:
    monitor = Monitor(socket=tmp_path / "nobody.sock")
    monitor.observe(1.0, 2.0)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_child, args=(monitor, monitor._cells.producer, answers))
    child.start()
    assert answers.get(timeout=30) == (True, True, 1)
    child.join(30)
    assert child.exitcode == 0
    assert monitor.counters()["cells_undurable"] == 1
    with pytest.raises(UnacknowledgedError):
        monitor.close(0.1)
    answers.close()
    answers.join_thread()
