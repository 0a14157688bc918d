"""Clients of an agent's socket, written from docs/agent.md; they import nothing of edgemse."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

REPLY_SECONDS = 0.05
PATIENCE_SECONDS = 12.0
"""Without any reply for so long while lines wait, a client hangs up and begins again."""
LINES_AT_ONCE = 200
LATE_SECONDS = 90.0
"""How far samples date back: their windows were closed long ago."""


class Source:
    """What one feeder is to send, and the errors that it comes to.

    Every third batch is pairs: predictions whose labels come later, or came before.
    """

    def __init__(self, seed: str, segment: str) -> None:
        self.segment = segment
        self.errors: list[float] = []
        self._random = random.Random(seed)
        self._labels: list[dict[str, Any]] = []
        self._ids = 0

    def batch(self, now: float) -> list[dict[str, Any]]:
        """Return the next lines."""
        count = self._random.randrange(1, 60)
        kind = self._random.randrange(3)
        if kind == 0 and self._labels:
            self._random.shuffle(self._labels)
            taken, self._labels = self._labels[:count], self._labels[count:]
            return taken
        make = self._pair if kind == 1 else self._sample
        return [make(now) for _ in range(count)]

    def rest(self) -> list[dict[str, Any]]:
        """Return the labels that are still owed."""
        taken, self._labels = self._labels, []
        return taken

    def _numbers(self, now: float) -> tuple[float, float, float]:
        true, error = self._random.uniform(-50, 50), self._random.gauss(0.3, 2.0)
        predicted = true + error
        self.errors.append(predicted - true)
        return true, predicted, now - self._random.uniform(0, LATE_SECONDS)

    def _sample(self, now: float) -> dict[str, Any]:
        true, predicted, ts = self._numbers(now)
        return {"y_true": true, "y_pred": predicted, "ts": ts, "segment": self.segment}

    def _pair(self, now: float) -> dict[str, Any]:
        true, predicted, ts = self._numbers(now)
        self._ids += 1
        key = f"{self.segment}-{self._ids}"
        prediction = {"id": key, "y_pred": predicted, "ts": ts, "segment": self.segment}
        label = {"id": key, "y_true": true, "ts": ts}
        if self._random.random() < 0.2:  # the label may come first
            prediction, label = label, prediction
        self._labels.append(label)
        return prediction


class SessionFeeder(threading.Thread):
    """Sends a Source's lines in a session until all of them are durable, whatever breaks."""

    def __init__(self, path: Path, segment: str, seed: str) -> None:
        super().__init__(name=segment, daemon=True)
        self.source = Source(seed, segment)
        self.wrong: list[str] = []
        self.durable = 0
        self.reconnects = 0
        self._path = path
        self._random = random.Random(f"{seed} client")
        self._session = f"{segment}-{self._random.getrandbits(64):x}"
        self._held: deque[tuple[int, bytes]] = deque()
        self._next = 0
        self._ledger: str | None = None
        self._ending = threading.Event()

    @property
    def waiting(self) -> int:
        """How many lines are not durable yet."""
        return len(self._held)

    def end(self) -> None:
        """Make no more samples; the thread ends when the last line is durable."""
        self._ending.set()

    def run(self) -> None:
        """Talk, and begin again whenever the conversation breaks."""
        finished = False
        while not finished:
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(PATIENCE_SECONDS)
                    client.connect(str(self._path))
                    finished = self._talk(client)
            except (OSError, ValueError):
                pass_time(0.1)
            self.reconnects += not finished

    def _talk(self, client: socket.socket) -> bool:
        first = self._held[0][0] if self._held else self._next
        client.sendall(encoded({"session": self._session, "from": first}))
        replies = Replies(client)
        wanted = self._welcome(replies.one(PATIENCE_SECONDS))
        heard = time.monotonic()
        while True:
            due = [line for number, line in self._held if number >= wanted][:LINES_AT_ONCE]
            wanted += len(due)
            if due and self._random.random() < 0.01:  # hang up in the middle of a line
                client.sendall(b"".join(due)[:-7])
                return False
            client.sendall(b"".join(due))
            if self._ending.is_set():
                client.sendall(encoded({"request": "flush"}))
            for reply in replies.some(REPLY_SECONDS):
                heard = time.monotonic()
                if "expected" in reply:
                    return False
                self._take(reply)
            if self._held and time.monotonic() - heard > PATIENCE_SECONDS:
                return False
            if not self._held and self._ending.is_set():
                return True
            self._make()

    def _make(self) -> None:
        rest = self._ending.is_set()
        for line in self.source.rest() if rest else self.source.batch(time.time()):
            self._held.append((self._next, encoded({**line, "n": self._next})))
            self._next += 1

    def _welcome(self, reply: dict[str, Any]) -> int:
        if "ledger" not in reply:
            raise ValueError(reply)
        if self._ledger not in (None, reply["ledger"]):
            self.wrong.append(f"{self.name}: another ledger")
        self._ledger = reply["ledger"]
        if reply["received"] < self.durable:
            self.wrong.append(f"{self.name}: {reply} after {self.durable} lines were durable")
        return int(reply["received"])

    def _take(self, reply: dict[str, Any]) -> None:
        if "error" in reply:
            self.wrong.append(f"{self.name}: {reply['error']}")
        if "durable" in reply:
            self.durable = max(self.durable, reply["durable"])
            while self._held and self._held[0][0] < self.durable:
                self._held.popleft()


class Replies:
    """The lines that come from a socket."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._rest = b""

    def some(self, seconds: float) -> list[dict[str, Any]]:
        """Return what is there within so long; OSError once the other end has hung up."""
        self._client.settimeout(seconds)
        try:
            data = self._client.recv(65_536)
        except TimeoutError:
            return []
        finally:
            self._client.settimeout(PATIENCE_SECONDS)
        if not data:
            raise ConnectionResetError
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def one(self, seconds: float) -> dict[str, Any]:
        """Return the first reply, or raise TimeoutError."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.some(REPLY_SECONDS)
            if found:
                return found[0]
        raise TimeoutError


def encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def pass_time(seconds: float) -> None:
    threading.Event().wait(seconds)


def ask_status(path: Path) -> dict[str, Any]:
    """Return what the agent says of itself, or raise OSError."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(encoded({"request": "status"}))
        found: dict[str, Any] = Replies(client).one(5)["status"]
        return found
