"""`edgemse gate`: the question of that name, answered by an exit code too."""

from __future__ import annotations

import typer

from edgemse.cli.fleet import command_of
from edgemse.errors import NotEnoughDataError
from edgemse.fleet.answers import Answer
from edgemse.fleet.gate import FAIL, NOT_ENOUGH, QUESTION, GateAnswer

__all__ = ["command"]


def _end(answer: Answer) -> None:
    """Exit 0 if it passes, 1 if it fails, 2 if there is not enough data to say."""
    assert isinstance(answer, GateAnswer)
    if answer.verdict == NOT_ENOUGH:
        raise NotEnoughDataError(f"gate: not enough data; {answer.notes[0]}")
    if answer.verdict == FAIL:
        raise typer.Exit(1)


command = command_of(QUESTION, _end)
