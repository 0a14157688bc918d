"""Clients of the agent: who is connected, which line comes next, what each has to be told."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from edgemse.cells import Identity, SealedCell
from edgemse_agent.agent import Agent
from edgemse_agent.calendar import STEP_SECONDS
from edgemse_agent.lines import (
    LINE_BYTES_MAX,
    LabelLine,
    Line,
    MonitorHello,
    Parsed,
    Request,
    SessionHello,
    ends_of,
    parse,
    too_long,
)
from edgemse_agent.pairing import SERIES_PER_ID_MAX

__all__ = ["Clients", "LineClient"]

log = logging.getLogger(__name__)

FLUSH = Request("flush")
COMPLAINTS_PER_TICK = 10
"""Bad lines answered in full between two ticks; of the rest a client hears the number."""


class LineClient:
    """One stream of lines. `write` sends bytes back, and may drop them if nobody reads.

    A stream of `labels_only`, as comes from the broker, may say labels, a session's hello and
    flush; as many hear the answers, these name the session.
    """

    def __init__(
        self,
        agent: Agent,
        write: Callable[[bytes], None],
        name: str,
        *,
        labels_only: bool = False,
        began: int = 0,
    ) -> None:
        self._agent, self._write, self._name = agent, write, name
        self._labels_only, self._began = labels_only, began
        self._buffer = b""
        self._long_bytes = 0
        """So many bytes of a line came that is too long: only its ends are in the buffer."""
        self._lines = 0
        self._complaints = 0
        self.session: str | None = None
        """The session that the client has named."""
        self._lost = False
        """Whether the client counts otherwise than the ledger: it has to begin again."""
        self._told = 0
        self._producer: bytes | None = None
        self._durable: dict[int, int] = {}
        self._turned_away = False
        self._offset = 0.0
        """What the Monitor was told that leads from the boot's clock to the time."""

    def feed(self, data: bytes) -> None:
        """Take bytes as they come; whole lines are worked off at once."""
        if self._long_bytes:
            begun, newline, data = data.partition(b"\n")
            self._lengthen(begun)
            if not newline:
                return
            self._end_long()
        data = self._buffer + data if self._buffer else data
        at = self._take_usual(data, 0)
        while (end := data.find(b"\n", at)) >= 0:
            self._line(data[at:end])
            at = self._take_usual(data, end + 1)
        rest = data[at:]
        self._buffer = rest
        if len(rest) > LINE_BYTES_MAX:
            self._buffer = b""
            self._lengthen(rest)

    def finish(self) -> None:
        """Take the end of the stream: a last line may lack its newline."""
        if self._long_bytes:
            self._end_long()
        elif self._buffer and self.session is None:
            self._line(self._buffer)
        self._buffer = b""
        self._say_how_many_more()

    def notify(self) -> None:
        """After a tick: say what is durable now."""
        self._say_how_many_more()
        if self.session is not None:
            durable = self._agent.durable(self.session)
            if durable > self._told:
                self._told = durable
                self._send({"durable": durable})
        if self._durable:
            cells = sorted(self._durable.items())
            self._durable.clear()
            width = self._agent.monitor_width_seconds
            self._send({"durable_cells": cells, "width_seconds": width})
        offset = self._agent.calendar.offset
        if self._producer is not None and abs(offset - self._offset) > STEP_SECONDS:
            self._offset = offset
            self._send({"offset_seconds": offset})
        if self._turned_away and not self._agent.relay.crowded:
            self._turned_away = False
            self._send({"again": True})

    def _lengthen(self, more: bytes) -> None:
        self._long_bytes += len(more)
        self._buffer = ends_of(self._buffer + more)

    def _end_long(self) -> None:
        parsed = too_long(self._buffer, self._long_bytes)
        self._long_bytes, self._buffer = 0, b""
        self._line(b"", parsed)

    def _take_usual(self, data: bytes, at: int) -> int:
        """Work usual lines off, and return where the first one begins that is not.

        Not of a stream that may say labels only, nor of a session that has to begin again.
        """
        if self._labels_only or self._lost:
            return at
        try:
            taken = self._agent.take_usual(data, at, self.session)
        except Exception as error:  # a bug of the short way: the long one takes what is left
            self._agent.note_defect(f"{self._name}, behind line {self._lines}", error)
            return at
        self._lines += taken.lines
        self._agent.counters.count("lines", taken.lines)
        return taken.at

    def _line(self, line: bytes, parsed: Parsed | None = None) -> None:
        """Work a line off; one that was too long comes `parsed`."""
        try:
            self._read(line, parsed)
        except Exception as error:  # a bug costs one line, and neither its client nor the agent
            self._agent.note_defect(f"{self._name}, line {self._lines}", error)
            self.complain("a defect of the agent; its log has it")

    def _read(self, line: bytes, parsed: Parsed | None) -> None:
        self._lines += 1
        line = line.strip()
        if not line and parsed is None:
            return
        self._agent.counters.count("lines")
        parsed = parsed or parse(line)
        of_session = not isinstance(parsed.line, SessionHello | Request)
        if self.session is not None and of_session and not self._is_next(self.session, parsed.n):
            return
        wrong = parsed.wrong if parsed.line is None else self._take(parsed.line)
        if wrong:
            self.complain(wrong, parsed.n)
            self._refuse(parsed, wrong)

    def _is_next(self, session: str, n: int | None) -> bool:
        """Tell whether to take the line with this number, and count it as taken, good or bad.

        The number travels with the line, so that both ends mean the same one whatever was lost
        with an earlier connection.
        """
        wanted = self._agent.received(session)
        if not self._lost and n is not None and n < wanted:
            self._agent.counters.count("lines_repeated")
        elif self._lost or n != wanted:
            self._agent.counters.count("lines_ignored")
            if not self._lost:
                self._send({"expected": wanted})
            self._lost = True
        else:
            self._agent.count_line(session)
            return True
        return False

    def _take(self, line: Line) -> str:
        """Act on a line; return what is wrong with it, if anything."""
        if isinstance(line, SessionHello):
            self.session, self._lost, self._told = line.session, False, 0
            if not self._agent.has_room_for(line.session):
                self._lost = True
                self._agent.counters.count("sessions_refused")
                return "too many sessions since the ledger last took something; try again later"
            received = self._agent.received(line.session)
            self._send({"ledger": self._agent.ledger.id, "received": received})
        elif self._labels_only and not isinstance(line, LabelLine) and line != FLUSH:
            return "not a label; wanted an id and y_true"
        elif isinstance(line, MonitorHello):
            self._producer = line.producer
            width = self._agent.monitor_width_seconds
            self._offset = self._agent.calendar.offset
            self._send(
                {
                    "ledger": self._agent.ledger.id,
                    "width_seconds": width,
                    "offset_seconds": self._offset,
                }
            )
        elif isinstance(line, SealedCell):
            if line.identity.producer != self._producer:
                return 'a cell of an unannounced producer; say {"producer": ...} first'
            taken = self._agent.take_cell(line, self._cell_durable, self._began)
            self._turned_away |= not taken
        elif isinstance(line, Request):
            self._answer(line.name)
        elif not self._agent.take(line):
            return (
                f"id {line[0]!r} has a prediction of this series already,"
                f" or of {SERIES_PER_ID_MAX} others"
            )
        return ""

    def _refuse(self, parsed: Parsed, why: str) -> None:
        """Tell a Monitor which cell will never be taken, so that it does not send it for ever."""
        if parsed.refused is not None and self._producer is not None:
            self._send({"refused_cell": [*parsed.refused, why]})

    def _cell_durable(self, identity: Identity, revision: int) -> None:
        self._durable[identity.sequence] = max(revision, self._durable.get(identity.sequence, 0))

    def _answer(self, request: str) -> None:
        if request == "flush":
            self._agent.flush(self._producer)
        elif request == "release":
            self._send({"released": self._agent.release()})
        else:
            self._send({"status": self._agent.status().to_json()})

    def complain(self, why: str, n: int | None = None) -> None:
        """Count, log and tell what is wrong with what was said last, and its number `n` if any."""
        self._agent.counters.count("lines_bad")
        self._complaints += 1
        told = self._complaints <= COMPLAINTS_PER_TICK
        if told:
            log.warning("%s, line %d: %s", self._name, self._lines, why)
        # Whoever sends labels hears of each: a message is short, and a label that is not known to
        # be refused would be taken for confirmed.
        if told or (self._labels_only and n is not None):
            numbered: dict[str, object] = {} if n is None else {"n": n}
            self._send(numbered | {"error": f"line {self._lines}: {why}"})

    def _say_how_many_more(self) -> None:
        if self._complaints > COMPLAINTS_PER_TICK:
            more = self._complaints - COMPLAINTS_PER_TICK
            log.warning("%s: %d more bad lines, up to line %d", self._name, more, self._lines)
            self._send({"error": f"{more} more bad lines, up to line {self._lines}"})
        self._complaints = 0

    def _send(self, message: dict[str, object]) -> None:
        if self._labels_only and self.session is not None:
            message = {"session": self.session, **message}
        self._write(json.dumps(message).encode() + b"\n")


class Clients:
    """All clients of one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._clients: set[LineClient] = set()
        self._joined = 0

    def __len__(self) -> int:
        return len(self._clients)

    def join(
        self, write: Callable[[bytes], None], name: str, *, labels_only: bool = False
    ) -> LineClient:
        """Add a client."""
        self._joined += 1
        client = LineClient(self._agent, write, name, labels_only=labels_only, began=self._joined)
        self._clients.add(client)
        return client

    def leave(self, client: LineClient) -> None:
        """Take the client's last words and let it go."""
        client.finish()
        self._clients.discard(client)

    def notify(self) -> None:
        """Tell every client what is durable now."""
        for client in self._clients:
            client.notify()
