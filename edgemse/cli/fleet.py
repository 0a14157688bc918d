"""`edgemse fleet ...`: a command for each question, to a store or to a running collector."""

from __future__ import annotations

import time
from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from edgemse.cli import gate, upkeep
from edgemse.cli.options import By, Format, FormatOption, Limit, Sort
from edgemse.cli.output import show
from edgemse.cli.registry import set_baseline, set_version
from edgemse.cli.source import Source, TokenFile, token_of
from edgemse.errors import AlarmError
from edgemse.fleet.answers import Answer
from edgemse.fleet.asked import SHORTHANDS, Option, text_of
from edgemse.fleet.asking import answer_from
from edgemse.fleet.ordering import Order
from edgemse.fleet.questions import Question, questions

__all__ = ["app", "command_of"]

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only cells whose column or device's attribute is so; may be repeated.",
    ),
]
ExitCode = Annotated[
    bool,
    typer.Option(
        "--exit-code",
        help=f"Exit with {AlarmError.exit_code} if a device is silent, a group drifts, a budget"
        " burns.",
    ),
]
TIME = "ISO 8601, epoch seconds, or 7d ago"


def command_of(
    question: Question, argument: str = "", *, above: bool = False
) -> Callable[..., None]:
    """Return a function with the question's options, for typer to make a command of.

    `argument` names one of them that is given without its name. `above`: it stands above other
    commands, and answers if none of them is given.
    """

    def command(
        source: str | None,
        token_file: Path | None,
        form: Format,
        context: typer.Context | None = None,
        *,
        exit_code: bool = False,
        **given: Any,
    ) -> None:
        lists = {name: [v] if isinstance(v, str) else v for name, v in given.items() if v}
        below = context.invoked_subcommand if context is not None else None
        if below is not None and (source is not None or token_file is not None or lists):
            raise typer.BadParameter(f"options stand behind {below!r}")
        if below is not None:
            return
        if source is None:
            raise typer.BadParameter("--from is missing")
        order = Order.parse({n: lists.pop(n) for n in ("sort", "limit") if n in lists})
        for each in question.options:
            if each.file and each.name in lists:
                lists[each.name] = [text_of(Path(lists[each.name][0]))]
        now = time.time()
        answer = answer_from(source, question, question.parse(lists, now=now), token_of(token_file))
        show(answer, form, order, now)
        gate.end(answer)
        alarm = answer.alarm()
        if exit_code and alarm:
            raise AlarmError(alarm)

    options = {"source": Source, "where": Where}
    options |= {"by": By} if question.by is not None else {}
    options |= {name: _text(name, f"Only this {name}.", "TEXT") for name in SHORTHANDS}
    options["measure"] = _text("measure", "This measure instead of the error.", "TEXT")
    options["since"] = _text("since", f"Windows that start then or later ({TIME}).", "TIME")
    options["until"] = _text("until", f"Windows that start before then ({TIME}).", "TIME")
    options |= {each.name: _option(each) for each in question.options}
    options |= {"sort": Sort, "limit": Limit}
    options |= {"exit_code": ExitCode} if question.answer.alarm is not Answer.alarm else {}
    options |= {"token_file": TokenFile, "form": FormatOption}
    options |= {"context": typer.Context} if above else {}
    if argument:
        options[argument] = Annotated[str, typer.Argument(help=f"The {argument}.")]
    defaults = {argument: Parameter.empty, "form": Format.TABLE, "exit_code": False}
    defaults |= {} if above else {"source": Parameter.empty}
    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=defaults.get(name), annotation=kind)
        for name, kind in options.items()
    ]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = options
    command.__doc__ = _paragraphs(question.ask.__doc__ or "")
    return command


def _paragraphs(text: str) -> str:
    """Return the text with each paragraph in one line: the terminal breaks them anew."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _option(option: Option) -> Any:
    kind = list[str] if option.many else str
    return _text(option.name, option.help, option.metavar, kind)


def _text(name: str, help: str, metavar: str, kind: type = str) -> Any:  # noqa: A002 - typer's word
    flag = f"--{name.replace('_', '-')}"
    return Annotated[kind | None, typer.Option(flag, metavar=metavar, help=help)]


def _group(question: Question, setting: Callable[..., None]) -> typer.Typer:
    """Return the commands around a question whose answer people can set."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(command_of(question, above=True))
    group.command("show")(command_of(question))
    group.command("set")(setting)
    return group


SETTINGS: dict[str, Callable[..., None]] = {"baseline": set_baseline, "versions": set_version}
app = typer.Typer(help="Ask a store, or a running collector.", no_args_is_help=True)
for _question in questions():
    if _question.name in SETTINGS:
        app.add_typer(_group(_question, SETTINGS[_question.name]), name=_question.name)
    else:
        app.command(_question.name)(command_of(_question))
app.command("forget")(upkeep.forget_command)
app.command("retire")(upkeep.retire_command)
app.command("rename")(upkeep.rename_command)
