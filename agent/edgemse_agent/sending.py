"""`edgemse-agent send`: lines to the running agent, until they would survive a power cut."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from edgemse.errors import LineError, NoAgentError, UnacknowledgedError
from edgemse.monitor.session import SessionConversation

__all__ = ["Sent", "lines_of", "send"]

SEND_SECONDS = 60.0
"""An agent that takes longer than that to write a line down cannot write."""
NOT_LINES = frozenset({"request", "session", "producer"})
_NUMBER = re.compile(r"\bline ([0-9]+)\b")
_MORE = re.compile(r"([0-9]+) more bad lines")


class Sent(NamedTuple):
    """How many lines are durable, and what the agent said of those that it refused."""

    durable: int
    refused: list[str]


def lines_of(texts: Iterable[str | bytes]) -> list[dict[str, Any]]:
    """Return the JSON objects, one of each text; LineError if one is none. Blank ones are none."""
    lines = []
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise LineError(f"line {number}: not JSON: {error}; wanted one object") from None
        if not isinstance(line, dict) or NOT_LINES & line.keys():
            raise LineError(
                f"line {number}: got {text.strip()!r:.80}, wanted a sample, prediction or label;"
                ' nothing else is sent (and no {"request": "flush"} needed)'
            )
        lines.append(line)
    return lines


def send(path: Path, lines: Iterable[dict[str, Any]], *, seconds: float = SEND_SECONDS) -> Sent:
    """Send lines to the agent at that socket and wait until all are durable or refused.

    Raises NoAgentError if none answers, UnacknowledgedError if it does not say so in time.
    """
    waiting = list(lines)
    session = SessionConversation(lines_max=len(waiting))
    for line in waiting:
        session.add(line)
    end = time.monotonic() + seconds
    refused: list[str] = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(path))
            connection.sendall(session.hello())
        except OSError as error:
            raise NoAgentError(f"no agent answers at {path}: {error}; is it running?") from None
        with connection.makefile("rb") as answers:
            while len(session):
                connection.settimeout(max(0.001, end - time.monotonic()))
                try:
                    reply = json.loads(answers.readline() or b"null")
                    _hear(session, reply, refused)
                    connection.sendall(b"".join(session.due()))
                except (OSError, ValueError) as error:
                    raise UnacknowledgedError(
                        f"{len(session)} lines are not durable: {error or 'the agent hung up'};"
                        " edgemse-agent status says how it does"
                    ) from None
    more = (_MORE.match(text) for text in refused)
    return Sent(len(waiting) - sum(int(each[1]) if each else 1 for each in more), refused)


def _hear(session: SessionConversation, reply: Any, refused: list[str]) -> None:
    if not isinstance(reply, dict):
        raise ValueError("the agent hung up" if reply is None else f"it answers {reply!r:.80}")
    if "error" in reply:  # it counts the hello as a line
        text = _NUMBER.sub(lambda found: f"line {int(found[1]) - 1}", str(reply["error"]), count=1)
        refused.append(text)
    if "received" in reply:
        session.flush()
    session.heard(reply)
