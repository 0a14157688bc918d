"""`edgemse objectives ...`: what is made of a file of objectives."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from edgemse.cli.fleet import command_of
from edgemse.cli.source import Source, TokenFile, token_of
from edgemse.export import prometheus
from edgemse.fleet.asked import text_of
from edgemse.fleet.asking import answer_from
from edgemse.fleet.objectives import ObjectivesAnswer
from edgemse.fleet.promised import objectives_of
from edgemse.fleet.questions import find
from edgemse.printing import say

__all__ = ["app", "metrics", "rules"]

Objectives = Annotated[
    Path, typer.Option(metavar="FILE", help="The objectives, in TOML (docs/objectives.md).")
]
app = typer.Typer(
    no_args_is_help=True, help="A file of objectives: first targets, metrics and rules."
)
app.command("suggest")(command_of(find("targets")))


@app.command("prometheus")
def rules(objectives: Objectives) -> None:
    """Print rules for Prometheus: pairs of windows that burn, and the alerts on them."""
    say(prometheus.rules(objectives_of(text_of(objectives), str(objectives))))


@app.command("metrics")
def metrics(source: Source, objectives: Objectives, token_file: TokenFile = None) -> None:
    """Print the objectives' figures in Prometheus' text format, for what collects text files."""
    question, now = find("objectives"), time.time()
    asked = question.parse({"objectives": [text_of(objectives)]}, now=now)
    answer = answer_from(source, question, asked, token_of(token_file))
    assert isinstance(answer, ObjectivesAnswer)
    say(prometheus.metrics(answer, now))
