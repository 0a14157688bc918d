"""Clients of the agent: who is connected, which line comes next, what each has to be told."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from edgemse.cells import Identity, SealedCell
from edgemse.errors import LineError
from edgemse_agent.agent import Agent
from edgemse_agent.lines import (
    LINE_BYTES_MAX,
    Message,
    MonitorHello,
    Request,
    SessionHello,
    parse,
)

__all__ = ["Client", "Intake"]

log = logging.getLogger(__name__)

COMPLAINTS_PER_TICK = 10
"""Bad lines answered in full between two ticks; of the rest a client hears the number."""


class Client:
    """One stream of lines. `write` sends bytes back, and may drop them if nobody reads."""

    def __init__(self, agent: Agent, write: Callable[[bytes], None], name: str) -> None:
        self._agent, self._write, self._name = agent, write, name
        self._buffer = b""
        self._skipping = False
        self._lines = 0
        self._complaints = 0
        self._session: str | None = None
        self._next = 0
        self._told = 0
        self._producer: bytes | None = None
        self._durable: dict[int, int] = {}

    def feed(self, data: bytes) -> None:
        """Take bytes as they come; whole lines are worked off at once."""
        *lines, rest = (self._buffer + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
                continue
            self._line(line)
        if len(rest) > LINE_BYTES_MAX:
            if not self._skipping:
                self._line(rest)  # refused for its length, once
            self._skipping, rest = True, b""
        self._buffer = rest

    def finish(self) -> None:
        """Take the end of the stream: a last line may lack its newline."""
        if self._buffer and not self._skipping and self._session is None:
            self._line(self._buffer)
        self._buffer = b""

    def notify(self) -> None:
        """After a tick: say what is durable now."""
        if self._complaints > COMPLAINTS_PER_TICK:
            more = self._complaints - COMPLAINTS_PER_TICK
            self._send({"error": f"{more} more bad lines, up to line {self._lines}"})
        self._complaints = 0
        if self._session is not None:
            durable = self._agent.durable(self._session)
            if durable > self._told:
                self._told = durable
                self._send({"durable": durable})
        if self._durable:
            cells = sorted(self._durable.items())
            self._durable.clear()
            width = self._agent.monitor_width_seconds
            self._send({"durable_cells": cells, "width_seconds": width})

    def _line(self, line: bytes) -> None:
        line = line.strip()
        if not line:
            return
        self._lines += 1
        self._agent.health.count("lines")
        message: Message | None = None
        wrong = ""
        try:
            message = parse(line)
        except LineError as error:
            wrong = str(error)
        if self._session is None or isinstance(message, SessionHello | Request) or self._is_next():
            if message is not None:
                wrong = self._take(message)
            if wrong:
                self._complain(wrong)

    def _is_next(self) -> bool:
        """Number a line of the session, good or bad; take it only if it is the next."""
        assert self._session is not None
        wanted = self._agent.received(self._session)
        if self._next > wanted:
            self._complain(f"line {self._next} of session {self._session}: {wanted} is the next")
            return False
        self._next += 1
        if self._next <= wanted:
            self._agent.health.count("lines_repeated")
            return False
        self._agent.count_line(self._session)
        return True

    def _take(self, message: Message) -> str:
        """Act on a message; return what is wrong with it, if anything."""
        if isinstance(message, SessionHello):
            self._session, self._next = message.session, message.start
            self._told = 0
            received = self._agent.received(message.session)
            self._send({"ledger": self._agent.ledger.id, "received": received})
        elif isinstance(message, MonitorHello):
            self._producer = message.producer
            width = self._agent.monitor_width_seconds
            self._send({"ledger": self._agent.ledger.id, "width_seconds": width})
        elif isinstance(message, SealedCell):
            if message.identity.producer != self._producer:
                return 'a cell of an unannounced producer; say {"producer": ...} first'
            self._agent.take_cell(message, self._cell_durable)
        elif isinstance(message, Request):
            self._answer(message.name)
        elif not self._agent.take(message):
            return f"id {message[0]!r} has a prediction of this series already"
        return ""

    def _cell_durable(self, identity: Identity, revision: int) -> None:
        self._durable[identity.sequence] = max(revision, self._durable.get(identity.sequence, 0))

    def _answer(self, request: str) -> None:
        agent = self._agent
        if request == "release":
            self._send({"released": agent.ledger.release()})
            return
        parked = [
            {"series": cell.series, "window": cell.window, "reason": reason}
            for cell, reason in agent.ledger.parked()[:100]
        ]
        status = {
            "device": agent.settings.device,
            "collector_online": agent.uplink.online,
            "cells_waiting": agent.waiting,
            "reports_in_flight": agent.uplink.in_flight,
            "ids_waiting": len(agent.pairing),
            "parked": parked,
            "health": agent.health.snapshot(),
        }
        self._send({"status": status})

    def _complain(self, why: str) -> None:
        self._agent.health.count("lines_bad")
        self._complaints += 1
        if self._complaints <= COMPLAINTS_PER_TICK:
            log.warning("%s, line %d: %s", self._name, self._lines, why)
            self._send({"error": f"line {self._lines}: {why}"})

    def _send(self, message: dict[str, object]) -> None:
        self._write(json.dumps(message).encode() + b"\n")


class Intake:
    """All clients of one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._clients: set[Client] = set()

    def join(self, write: Callable[[bytes], None], name: str) -> Client:
        """Add a client."""
        client = Client(self._agent, write, name)
        self._clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        """Take the client's last words and let it go."""
        client.finish()
        self._clients.discard(client)

    def notify(self) -> None:
        """Tell every client what is durable now."""
        for client in self._clients:
            client.notify()
