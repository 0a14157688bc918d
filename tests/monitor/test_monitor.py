"""Monitor without an agent: what it holds, how it stays small, what a fork does."""

from __future__ import annotations

import base64
import contextlib
import json
import multiprocessing
import os
import socket
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import pytest
from edgemse_agent.lines import parse
from support.waiting import eventually

from edgemse import ErrorStats, Monitor
from edgemse.cells import OVERFLOW, Identity, SealedCell, Series, check
from edgemse.counters import Counters
from edgemse.errors import UnacknowledgedError
from edgemse.monitor import monitor as monitor_module
from edgemse.monitor.cells import CellConversation
from edgemse.monitor.monitor import MEANINGS
from edgemse.monitor.session import SessionConversation

EMPTY = ErrorStats().to_bytes()


def said(lines: list[bytes]) -> list[dict]:
    return [json.loads(line) for line in lines]


def conversation(**bounds: int) -> CellConversation:
    return CellConversation(
        "m", "1", Counters(MEANINGS), **({"cells_max": 100, "series_max": 10} | bounds)
    )


def test_a_cell_is_sent_when_it_grew_and_kept_until_durable() -> None:
    cells = conversation()
    cells.due()
    cells.add("", "", 10.0, 0.0, 1.0)
    (first,) = said(cells.due())
    assert (first["revision"], first["final"], first["window"]) == (1, False, [0, 60])
    assert cells.due() == []
    cells.hello()
    assert said(cells.due()) == [first]
    cells.close_ended(62.0)
    (last,) = said(cells.due())
    assert (last["sequence"], last["revision"], last["final"]) == (first["sequence"], 2, True)
    cells.heard({"durable_cells": [[0, 1]]})
    assert cells.undurable == 1
    cells.heard({"durable_cells": [[0, 2]]})
    assert cells.undurable == 0
    cells.hello()
    assert cells.due() == []


def test_windows_become_wider_while_nobody_takes_the_cells_and_when_told() -> None:
    cells = conversation(cells_max=100)
    for minute in range(60 * 24 * 30):
        cells.add("", "", 60.0 * minute, 0.0, 1.0)
        cells.close_ended(60.0 * minute)
    sent = said(cells.due())
    assert len(sent) < 130
    assert {cell["window"][1] for cell in sent} == {60, 3_600, 86_400}
    told = conversation()
    told.heard({"ledger": "x", "width_seconds": 3_600})
    told.add("", "", 10.0, 0.0, 1.0)
    assert said(told.due())[0]["window"] == [0, 3_600]


def test_too_many_segments_fold_into_the_overflow() -> None:
    cells = conversation(series_max=3)
    for i in range(20):
        cells.add("", str(i), 10.0, 0.0, 1.0)
    sent = said(cells.due())
    assert {cell["series"][3] for cell in sent} == {"0", "1", "2", OVERFLOW}
    assert cells._counters["samples_overflowed"] == 17


def test_a_cell_that_is_refused_is_given_up_and_counted() -> None:
    cells = conversation()
    cells.add("", "", 10.0, 0.0, 1.0)
    cells.add("", "b", 10.0, 0.0, 1.0)
    cells.due()
    cells.heard({"refused_cell": [0, 1, "a name"]})
    assert (cells.undurable, cells._counters["cells_refused"]) == (1, 1)
    cells.add("", "", 11.0, 0.0, 1.0)
    assert [line["sequence"] for line in said(cells.due())] == [2]


def test_losses_and_measures_have_cells_of_their_own() -> None:
    cells = conversation()
    cells.add("", "", 10.0, 0.0, 3.0)
    cells.follow((("loss:huber(delta=1)", 2.5),), "", "", 10.0)
    cells.follow((("latency", 0.2),), "", "", 10.0)
    measures = {
        line["series"][4]: ErrorStats.from_bytes(base64.b64decode(line["state"])).bias
        for line in said(cells.due())
    }
    assert measures == {"": 3.0, "loss:huber(delta=1)": 2.5, "latency": 0.2}


def test_lines_go_on_where_the_ledger_stands() -> None:
    session = SessionConversation(lines_max=10)
    for i in range(5):
        session.add({"id": i})
    assert session.due() == []
    hello = json.loads(session.hello())
    assert hello["from"] == 0
    session.heard({"ledger": "l", "received": 0})
    assert [(line["id"], line["n"]) for line in said(session.due())] == [(i, i) for i in range(5)]
    assert session.due() == []
    session.heard({"durable": 3})
    assert len(session) == 2
    assert json.loads(session.hello()) == {"session": hello["session"], "from": 3}
    session.heard({"ledger": "l", "received": 4})
    assert [(line["id"], line["n"]) for line in said(session.due())] == [(4, 4)]
    session.hello()
    session.heard({"ledger": "l", "received": 3})
    assert [(line["id"], line["n"]) for line in said(session.due())] == [(3, 3), (4, 4)]


def test_replies_read_together_change_no_line_s_number() -> None:
    session = SessionConversation(lines_max=10)
    for i in range(3):
        session.add({"id": i})
    session.hello()
    session.heard({"ledger": "l", "received": 0})
    session.due()
    session.add({"id": 3})
    session.hello()
    session.heard({"ledger": "l", "received": 2})
    session.heard({"durable": 3})  # of a connection before: more than the answer said
    assert [(line["id"], line["n"]) for line in said(session.due())] == [(3, 3)]


def test_it_begins_again_when_the_agent_expects_another_line() -> None:
    session = SessionConversation(lines_max=10)
    session.add({"id": 0})
    session.hello()
    session.heard({"ledger": "l", "received": 0})
    session.due()
    session.heard({"expected": 0})
    (hello,) = said(session.due())
    assert hello["from"] == 0
    session.heard({"ledger": "l", "received": 0})
    assert [line["n"] for line in said(session.due())] == [0]


@pytest.mark.parametrize("received", [0, 5])
def test_another_ledger_makes_it_give_up_what_was_sent(received: int) -> None:
    session = SessionConversation(lines_max=10)
    for i in range(4):
        session.add({"id": i})
    first = json.loads(session.hello())
    session.heard({"ledger": "l", "received": 0})
    session.due()
    session.heard({"durable": 1})
    session.add({"id": "new"})
    session.hello()
    session.heard({"ledger": "another", "received": received})
    (again,) = said(session.due())
    assert again["session"] != first["session"]
    assert session.given_up == 3
    session.heard({"ledger": "another", "received": 0})
    assert [(line["id"], line["n"]) for line in said(session.due())] == [("new", 0)]


def test_a_ledger_that_knows_less_than_it_confirmed_is_another_one() -> None:
    session = SessionConversation(lines_max=10)
    session.add({"id": 0})
    first = json.loads(session.hello())
    session.heard({"ledger": "l", "received": 0})
    session.due()
    session.heard({"durable": 1})
    session.hello()
    session.heard({"ledger": "l", "received": 0})
    assert said(session.due())[0]["session"] != first["session"]


def test_lines_are_bounded() -> None:
    session = SessionConversation(lines_max=2)
    for i in range(5):
        session.add({"id": i})
    assert (len(session), session.dropped) == (2, 3)


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Monitor]:
    monitor = Monitor(socket=tmp_path / "nobody.sock")
    yield monitor
    with contextlib.suppress(UnacknowledgedError):
        monitor.close(0.01)


@pytest.mark.parametrize(
    ("call", "kind", "told"),
    [
        (lambda m: m.observe(1.0, 2.0, segment=3), TypeError, "segment: got 3, wanted a str"),
        (lambda m: m.observe(1.0, 2.0, segment="x" * 257), ValueError, "257 characters"),
        (lambda m: m.observe(1.0, 2.0, segment="\ud800"), ValueError, "U\\+D800"),
        (lambda m: m.observe(1.0, 2.0, output="a\nb"), ValueError, "U\\+000A"),
        (lambda m: m.observe(1.0, 2.0, ts=1_767_225_600_000), ValueError, r"\(milliseconds\?\)"),
        (lambda m: m.observe(1.0, 2.0, ts=1.7672256e15), ValueError, r"\(microseconds\?\)"),
        (lambda m: m.observe(1.0, 2.0, ts=-5), ValueError, "got -5, wanted .* of 1971 to 2242$"),
        (lambda m: m.observe(1.0, 2.0, ts=10**5000), ValueError, "got 1.79.*e.308, wanted .*2242$"),
        (lambda m: m.observe(1.0, 2.0, ts=1e18), ValueError, "wanted seconds since 1970"),
        (lambda m: m.observe(1.0, 2.0, ts="noon"), TypeError, "wanted seconds since 1970"),
        (lambda m: m.observe("x", 2.0), TypeError, "number|float|str"),
        (lambda m: m.observe(1.0, 2.0, loss="hubris"), ValueError, "names no loss"),
        (lambda m: m.predict(1.5, 2.0), TypeError, "id: got 1.5"),
        (lambda m: m.predict(True, 2.0), TypeError, "id: got True"),
        (lambda m: m.predict(10**255, 2.0), ValueError, "more than 255 digits"),
        (lambda m: m.label(-(10**5_000), 2.0), ValueError, "more than 255 digits"),
        (lambda m: m.predict(1, "x"), TypeError, "y_pred"),
        (lambda m: m.predict(1, "2.5"), TypeError, "y_pred: got '2.5', wanted a number"),
        (lambda m: m.label(1, 10**400), ValueError, "y_true: got a whole number beyond"),
        (lambda m: m.predict(1, 2.0, weight=0), ValueError, "weight: got 0.0"),
        (lambda m: m.label(1, None), TypeError, "y_true"),
        (lambda m: m.label(1, 2.0, output="\u202e"), ValueError, "U\\+202E"),
        (lambda m: m.follow("", 2.0), ValueError, "measure"),
        (lambda m: m.follow("loss:brier", 2.0), ValueError, "say loss beside"),
        (lambda m: m.follow("interval:width", 2.0), ValueError, "say lower and upper"),
        (lambda m: m.observe(1.0, 2.0, lower=1.0), ValueError, "wanted both ends"),
        (lambda m: m.observe(1.0, 2.0, lower=1.0, upper=0.5), ValueError, "is above upper"),
        (lambda m: m.observe(1.0, 2.0, latency="x"), TypeError, "latency"),
        (lambda m: m.observe(1.0, 2.0, features={"": 1.0}), ValueError, "an empty name"),
        (lambda m: m.observe(1.0, 2.0, features={3: 1.0}), TypeError, "wanted a str"),
        (lambda m: m.observe(1.0, 2.0, features=[1.0]), TypeError, "wanted numbers by name"),
        (lambda m: m.predict(1, 2.0, upper=1.0), ValueError, "wanted both ends"),
        (lambda m: m.predict(1, 2.0, features={"a": None}), TypeError, "wanted a number"),
        (lambda m: m.follow("latency", "0.2"), TypeError, "value: got '0.2', wanted a number"),
    ],
)
def test_what_the_agent_would_refuse_for_ever_is_refused_at_the_call(
    lonely: Monitor, call: Any, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        call(lonely)
    assert lonely.counters()["lines_waiting"] == 0


@pytest.mark.parametrize("huge", [10**400, -(10**400), Fraction(10) ** 400, 1e300])
def test_a_number_that_no_float64_holds_is_counted_as_out_of_range(
    lonely: Monitor, huge: float
) -> None:
    lonely.observe(huge, 2.0, loss="huber(delta=1)")
    lonely.observe(2.0, huge)
    lonely.observe(huge, huge)
    lonely.observe(1.0, 2.0, weight=abs(huge))
    lonely.follow("latency", 1.0, weight=abs(huge))
    cells = {cell.series.measure: cell.stats for cell in lonely._cells._growing}
    assert {name: (s.count, s.out_of_range) for name, s in cells.items()} == {
        "": (0, 4),
        "loss:huber(delta=1)": (0, 1),
        "latency": (0, 1),
    }


@pytest.mark.parametrize(("says", "start"), [(-100.0, 0), (1e13, 2**33 - 32)])
def test_a_clock_that_cannot_be_loses_no_sample(tmp_path: Path, says: float, start: int) -> None:
    monitor = Monitor(socket=tmp_path / "nobody.sock", clock=lambda: says)
    monitor.observe(1.0, 2.0)
    monitor.follow("latency", 0.2)
    monitor.predict(1, 2.0)
    monitor.label(1, 2.0)
    (window,) = {cell.window for cell in monitor._cells._growing}
    assert window.start <= start < window.end
    check(SealedCell(Identity(bytes(16), 0), 1, True, Series("m"), window, EMPTY, None))
    assert monitor.counters()["times_bounded"] == 2
    assert [set(line) & {"ts"} for line in monitor._session._lines] == [set(), set()]
    with pytest.raises(UnacknowledgedError):
        monitor.close(0.01)


def test_numpy_s_numbers_are_numbers(lonely: Monitor) -> None:
    lonely.observe(numpy.float32(1.0), numpy.int64(2), ts=numpy.float64(1_767_225_600.0))
    lonely.predict(numpy.int64(7), numpy.float32(2.0), ts=numpy.int64(1_767_225_600))
    lonely.label(numpy.int64(7), numpy.float64(2.0))
    counted = lonely.counters()
    assert (counted["cells_undurable"], counted["lines_waiting"]) == (1, 2)


@pytest.mark.parametrize("ts", [31_536_000, 40_000_000.5, 623_233_641, 1e9, 8_500_000_000.0])
def test_every_time_that_it_takes_is_one_that_the_agent_takes(lonely: Monitor, ts: float) -> None:
    lonely.predict(1, 2.0, ts=ts)
    lonely.label(1, 2.0, ts=ts)
    lonely._session.hello()
    lonely._session.heard({"ledger": "l", "received": 0})
    assert [parse(line).line.time for line in lonely._session.due()] == [ts, ts]


def test_it_shows_what_it_holds_and_its_last_error(lonely: Monitor) -> None:
    lonely.observe(1.0, 2.0)
    eventually(lambda: "last error: no agent listens" in repr(lonely))
    assert "cells_undurable=1" in repr(lonely)
    lonely.predict("a", 2.0)
    assert "lines_waiting=1" in repr(lonely)
    assert repr(lonely).startswith(f"Monitor({str(lonely._path)!r}, 'model', ''")


def test_it_shows_what_the_agent_complained_of(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "a.sock"))
        server.listen()
        with Monitor(socket=tmp_path / "a.sock", model="m") as monitor:
            agent, _ = server.accept()
            with agent:
                agent.sendall(b'{"error": "line 1: wrong"}\n')
                shown = "'m', '', complaints=1, last error: line 1: wrong)"
                eventually(lambda: repr(monitor).endswith(shown))


def test_nothing_is_observed_after_close(lonely: Monitor) -> None:
    lonely.close()
    for call in (lonely.observe, lonely.predict, lonely.label):
        with pytest.raises(ValueError, match="closed"):
            call(1, 2.0)


def test_nobody_there_is_told_when_it_must_be_durable(tmp_path: Path) -> None:
    monitor = Monitor(socket=tmp_path / "nobody.sock")
    monitor.observe(1.0, 2.0)
    monitor.predict(1, 2.0)
    with pytest.raises(UnacknowledgedError, match="does the agent run at"):
        monitor.flush(0.2)
    assert monitor.counters()["cells_undurable"] == 1
    with pytest.raises(UnacknowledgedError, match="1 cell, 1 line not durable"):
        monitor.close(0.2)
    monitor.close(0.2)


def test_a_worker_of_multiprocessing_hands_over_as_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = tmp_path / "ended"
    monkeypatch.setattr(monitor_module, "_at_exit", lambda: ended.write_text(str(os.getpid())))
    worker = multiprocessing.get_context("fork").Process(target=os.getpid)
    worker.start()
    worker.join(30)
    assert ended.read_text() == str(worker.pid)


def test_waiting_does_not_ask_over_and_over(tmp_path: Path) -> None:
    heard = b""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "a.sock"))
        listener.listen()
        monitor = Monitor(socket=tmp_path / "a.sock")
        monitor.observe(1.0, 2.0)
        with listener.accept()[0] as mute:
            with pytest.raises(UnacknowledgedError):
                monitor.flush(0.5)
            while b"flush" not in heard:
                heard += mute.recv(65_536)
            mute.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while chunk := mute.recv(65_536):
                    heard += chunk
        with pytest.raises(UnacknowledgedError):
            monitor.close(0.1)
    assert heard.count(b'"sequence"') == heard.count(b'"flush"') == 1


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
