"""`edgemse-agent send`: lines to the running agent, until they would survive a power cut."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edgemse.errors import LineError, NoAgentError, UnacknowledgedError
from edgemse.monitor.session import SessionConversation
from edgemse_agent.repeated import repeated

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


def lines_of(texts: Iterable[str | bytes]) -> dict[int, dict[str, Any]]:
    """Return the JSON objects by the number of their line, from 1; LineError if one is none.

    Blank lines are left out.
    """
    lines = {}
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            wrong = str(error)
            if isinstance(error, json.JSONDecodeError):  # its own words name a line, too: 1, always
                wrong = f"{error.msg[:1].lower()}{error.msg[1:]} at character {error.pos + 1}"
            raise LineError(
                f"line {number}: not JSON: {wrong}; wanted one object; nothing was sent"
            ) from None
        if not isinstance(line, dict) or NOT_LINES & line.keys():
            raise LineError(
                f"line {number}: got {text.strip()!r:.80}, wanted a sample, prediction or label;"
                ' nothing else is sent (and no {"request": "flush"} needed), and nothing was'
            )
        if twice := repeated(text if isinstance(text, bytes) else text.encode()):
            raise LineError(f"line {number}: the key {twice!r:.80} stands twice; nothing was sent")
        lines[number] = line
    return lines


def send(path: Path, lines: Mapping[int, dict[str, Any]], *, seconds: float = SEND_SECONDS) -> Sent:
    """Send lines to the agent at that socket and wait until all are durable or refused.

    The keys of `lines` are what a refusal calls them. Raises NoAgentError if none answers,
    UnacknowledgedError if it does not say so in time.
    """
    numbers = list(lines)
    session = SessionConversation(lines_max=len(numbers))
    for line in lines.values():
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
                    _hear(session, reply, numbers, refused)
                    connection.sendall(b"".join(session.due()))
                except (OSError, ValueError) as error:
                    raise UnacknowledgedError(
                        f"{len(session)} lines are not durable: {error or 'the agent hung up'};"
                        " edgemse-agent status says how it does"
                    ) from None
    more = (_MORE.match(text) for text in refused)
    return Sent(len(numbers) - sum(int(each[1]) if each else 1 for each in more), refused)


def _hear(
    session: SessionConversation, reply: Any, numbers: Sequence[int], refused: list[str]
) -> None:
    if not isinstance(reply, dict):
        raise ValueError("the agent hung up" if reply is None else f"it answers {reply!r:.80}")
    if "error" in reply:
        refused.append(_NUMBER.sub(lambda found: _ours(found, numbers), str(reply["error"]), 1))
    if "received" in reply:
        session.flush()
    session.heard(reply)


def _ours(found: re.Match[str], numbers: Sequence[int]) -> str:
    """Return whom the agent means, which counts the hello as a line and saw no blank one."""
    place = int(found[1]) - 2
    return f"line {numbers[place]}" if 0 <= place < len(numbers) else found[0]
