"""The short way of a line: it reads what the long way reads, and leaves behind what that would."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from edgemse_agent.agent import Agent
from edgemse_agent.intake.clients import Clients, LineClient
from edgemse_agent.intake.usual import read
from edgemse_agent.ledger import Ledger
from edgemse_agent.ledger.rows import entry_of
from edgemse_agent.settings import AgentSettings, PairingSettings, WindowSettings
from edgemse_agent.taking import Taken
from support.clock import FakeClock
from support.usual import check_usual

NUMBERS: list[Callable[[random.Random], str]] = [
    lambda rng: repr(rng.gauss(20.0, 5.0)),
    lambda rng: f"{rng.gauss(0.0, 1.0):.3f}",
    lambda rng: str(rng.randrange(-1_000, 1_000)),
    lambda rng: str(rng.randrange(10 ** rng.randrange(1, 25))),
    lambda rng: repr(rng.uniform(-1, 1) * 10.0 ** rng.randrange(-330, 308)),
    lambda rng: f"{rng.randrange(10**6)}.{rng.randrange(10 ** rng.randrange(1, 30))}",
    lambda rng: f"{rng.randrange(10**3)}e{rng.choice(('', '+', '-'))}{rng.randrange(400)}",
    lambda rng: "0." + "0" * rng.randrange(40) + str(rng.randrange(10**17)),
    lambda rng: rng.choice(("-0", "-0.0", "0", "00", "1.", ".5", "1e5", "1E-5", "+1", "NaN")),
    lambda rng: rng.choice(("9007199254740993", "9007199254740992.5", "1e999", "1e22", "1e23")),
    lambda rng: rng.choice(("Infinity", "-1", "null", "true", '"1"', "[1]", "{}", "1_0")),
]
NAMES: list[Callable[[random.Random], str]] = [
    lambda rng: f'"s{rng.randrange(30)}"',
    lambda rng: str(rng.randrange(1_000)),
    lambda rng: f'"{"a" * rng.choice((0, 1, 255, 256, 257))}"',
    lambda rng: rng.choice(('"M\u00fcller"', r'"a\u0041"', '"\x7f"', '"tab\t"', "-1", "01", "1.0")),
]
KEYS = ("y_true", "y_pred", "id", "segment", "ts", "n", "model", "version", "output", "weight")


def line_of(rng: random.Random) -> bytes:
    """Return a line that is usual, or nearly."""
    keys = list(rng.choice((("y_true", "y_pred"), ("id", "y_pred"), ("id", "y_true"))))
    keys += [key for key in KEYS if rng.random() < 0.1]
    keys += ["loss"] * (rng.random() < 0.02)
    rng.shuffle(keys)
    space = rng.choice(("", "", " ", "\t"))
    parts = []
    for key in keys:
        kinds = NAMES if key in ("id", "segment", "model", "version", "output", "loss") else NUMBERS
        value = kinds[0 if rng.random() < 0.6 else rng.randrange(len(kinds))](rng)
        if key == "ts" and rng.random() < 0.8:
            value = repr(1.7e9 + rng.random())
        if key == "n" and rng.random() < 0.8:
            value = str(rng.randrange(100))
        parts.append(f'"{key}":{space}{value}')
    line = bytearray(("{" + f",{space}".join(parts) + "}").encode())
    if rng.random() < 0.2:
        line[rng.randrange(len(line))] = rng.randrange(256)
    return bytes(line).replace(b"\n", b" ")


def test_what_the_short_way_reads_is_what_the_long_way_says() -> None:
    rng = random.Random(1)
    usual = sum(check_usual(line_of(rng)) for _ in range(60_000))
    assert usual > 20_000


@pytest.mark.parametrize("cut", range(len(b'{"id":"a","y_pred":-1.5e3,"n":0}')))
def test_a_line_that_was_cut_is_left_to_the_long_way(cut: int) -> None:
    assert read(b'{"id":"a","y_pred":-1.5e3,"n":0}') is not None
    assert read(b'{"id":"a","y_pred":-1.5e3,"n":0}'[:cut]) is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"y_true":1,"y_true":1,"y_pred":2}',  # said twice
        b'{"y_true":1,"y_pred":2,"weight":0}',
        b'{"y_true":1,"y_pred":2,"model":""}',
        b'{"y_true":1,"y_pred":2,"ts":5}',
        b'{"y_true":1,"y_pred":2,"loss":"huber"}',
        b'{"y_pred":2}',
        b'{"id":1,"y_true":2,"weight":1}',
        b'{"y_true":1,"y_pred":2}}',
        b'[{"y_true":1,"y_pred":2}]',
    ],
)
def test_what_is_not_usual_is_left_to_the_long_way(line: bytes) -> None:
    assert read(line) is None


class Side:
    """An agent with one client, on the short way or not."""

    def __init__(self) -> None:
        settings = AgentSettings(
            "pi",
            pairing=PairingSettings(age_max_seconds=40.0, pending_max=30, matched_max=20),
            windows=WindowSettings(series_max=6),
        )
        self.clock, self.ledger = FakeClock(), Ledger(None)
        self.agent = Agent(settings, self.ledger, self.clock, producer=bytes(16))
        self.replies: list[bytes] = []
        self.client = Clients(self.agent).join(self.replies.append, "test")

    def state(self) -> dict[str, Any]:
        """Return everything that lines leave behind."""
        agent = self.agent
        pairing = agent.pairing
        rows = [*pairing.rows(stored=True), *pairing.rows(stored=False)]
        return {
            "gone": {key for (key,) in pairing.gone()},
            "changed": {key: entry_of(content) for key, content, _ in rows},
            "health": agent.status().health,
            "cells": {
                (cell.series, cell.window): (
                    cell.stats.to_bytes(),
                    cell.coverage.to_bytes(),
                    cell.grown,
                    cell.final,
                )
                for cell in agent.growing
            },
            "replies": [line.replace(self.ledger.id.encode(), b"") for line in self.replies],
            "sessions": agent.received("s"),
            "ledger": dict(self.ledger.entries()),
        }


def played(rng: random.Random, number: int) -> bytes:
    """Return the next line of a stream; ids come again, and labels before their predictions."""
    key, value = rng.randrange(60), round(rng.gauss(0.0, 1.0), rng.choice((1, 3, 17)))
    line: dict[str, object] = rng.choice(
        (
            {"y_true": value, "y_pred": 1.0},
            {"id": key, "y_pred": value},
            {"id": key, "y_pred": value},
            {"id": str(key), "y_true": value},
            {"id": key, "y_true": value},
        )
    )
    line = dict(line) | {"n": number}
    if rng.random() < 0.7:
        line["segment"] = f"s{rng.randrange(4)}"
    if rng.random() < 0.2:
        line["ts"] = 1_767_225_600.0 + rng.randrange(200)
    if rng.random() < 0.1:
        line["version"] = rng.choice("12")
    if rng.random() < 0.05 and "y_pred" in line:
        line |= {"loss": "huber(delta=1)"}
    if rng.random() < 0.05 and set(line) >= {"y_pred", "id"}:
        line |= {"lower": -1.0, "upper": 1.0}
    if rng.random() < 0.02:
        line["y_true"] = float("nan")
    return json.dumps(line).encode() + b"\n"


@pytest.mark.parametrize("seed", range(20))
def test_both_ways_leave_the_same_behind(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    short, long = Side(), Side()
    session = rng.random() < 0.5
    number, usual = 0, [0]
    take = short.agent.take_usual

    def counted(*arguments: Any) -> Taken:
        taken = take(*arguments)
        usual.append(taken.lines)
        return taken

    monkeypatch.setattr(short.agent, "take_usual", counted)
    with closing(short.ledger), closing(long.ledger):
        for _ in range(40):
            lines = [played(rng, number + i) for i in range(rng.randrange(40))]
            if session:
                lines.insert(0, b'{"session": "s", "from": 0}\n')
            if session and rng.random() < 0.2:  # one again, and perhaps one with a wrong number
                lines.insert(rng.randrange(len(lines)), lines[-1])
            data = b"".join(lines)
            cut = rng.randrange(len(data) + 1)
            for side in (short, long):
                with monkeypatch.context() as patch:
                    if side is long:
                        patch.setattr(LineClient, "_take_usual", lambda _self, _data, at: at)
                    side.client.feed(data[:cut])
                    side.client.feed(data[cut:])
                side.clock.passed += 3.0
                side.agent.tick()
            number = short.agent.received("s") if session else number + len(lines)
            assert short.state() == long.state()
    assert sum(usual) > number // 10
