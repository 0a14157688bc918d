"""What a gate's verdict is to a shell: `edgemse gate` and `edgemse fleet gate` are one command."""

from __future__ import annotations

import typer

from edgemse.errors import NotEnoughDataError
from edgemse.fleet.answers import Answer
from edgemse.fleet.gate import FAIL, NOT_ENOUGH, GateAnswer

__all__ = ["end"]


def end(answer: Answer) -> None:
    """Exit 0 if it passes or is no gate's, 1 if it fails, 2 if there is not enough data to say."""
    if not isinstance(answer, GateAnswer):
        return
    if not answer.cells_found:  # which has been said
        raise typer.Exit(NotEnoughDataError.exit_code)
    if answer.verdict == NOT_ENOUGH:
        raise NotEnoughDataError(f"gate: not enough data; {answer.notes[0]}")
    if answer.verdict == FAIL:
        raise typer.Exit(1)
