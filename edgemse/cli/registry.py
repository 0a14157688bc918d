"""`edgemse fleet baseline set`, `edgemse fleet versions set`: what people say of a version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemse.cli.source import Source, TokenFile, token_of
from edgemse.cli.upkeep import acting
from edgemse.errors import SettingsError
from edgemse.fleet.asking import apply
from edgemse.names import counted, shown
from edgemse.printing import say

if TYPE_CHECKING:
    from edgemse.fleet.registry import Done

__all__ = ["set_baseline", "set_version"]

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="Its version.")]


def set_baseline(
    model: Model,
    version: Version,
    source: Source,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What edgemse evaluate --save has written."),
    ] = None,
    rmse: Annotated[
        float | None, typer.Option(metavar="RMSE", help="A bare figure instead of a file.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", help="Samples that the bare figure is of.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="The bare figure is of this part; the others stay."
        ),
    ] = None,
    token_file: TokenFile = None,
) -> None:
    """Set the offline baseline of a version, in place of the one that it had.

    A file has the whole statistics of a validation run, so that a gap to it has an interval; how
    sure a bare figure is nobody knows.
    """
    # Not above: edgemse evaluate has no msgspec.
    from edgemse.fleet.registry import BaselinePart, BaselineSetting
    from edgemse.fleet.saved import load_states

    if (file is None) == (rmse is None):
        raise SettingsError("baseline: wanted --file FILE or --rmse RMSE")
    who, host = acting()
    if file is not None:
        if count is not None or where:
            raise SettingsError("baseline: --count and --where go with --rmse; a file has both")
        saved = load_states(file)
        setting = BaselineSetting.of_saved(model, version, saved, who=who, host=host)
        _left_out(len(saved) - len(setting.parts))
    else:
        part = BaselinePart(by=_part(where or []), rmse=rmse, count=count)
        setting = BaselineSetting(model, version, [part], bool(where), who=who, host=host)
    done = apply(source, setting, token=token_of(token_file))
    dropped = f"; gone: {counted(done.dropped, 'earlier one')}" if done.dropped else ""
    _tell(model, version, f"baseline of {counted(done.set, 'part')} set{dropped}", done)


def set_version(
    model: Model,
    version: Version,
    source: Source,
    owner: Annotated[str | None, typer.Option(metavar="TEXT", help="Who answers for it.")] = None,
    git: Annotated[
        str | None, typer.Option(metavar="HASH", help="The commit that it was made by.")
    ] = None,
    training_data: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What it was trained on: a snapshot's name.")
    ] = None,
    preprocessing_sha: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKSUM",
            help="Of its preprocessing; devices report theirs as the attribute preprocessing.",
        ),
    ] = None,
    token_file: TokenFile = None,
) -> None:
    """Register what a version was made of.

    What is not given stays as it was; an empty text takes it back.
    """
    from edgemse.fleet.registry import VersionSetting

    who, host = acting()
    facts = (owner, git, training_data, preprocessing_sha)
    setting = VersionSetting(model, version, *facts, who=who, host=host)
    _tell(model, version, "registered", apply(source, setting, token=token_of(token_file)))


def _part(where: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in where:
        name, equals, value = text.partition("=")
        if not equals or not name or name in found or name in ("model", "version", "measure"):
            raise SettingsError(
                f"where {text!r:.80}: wanted NAME=VALUE, such as segment=day, each NAME once"
            )
        found[name] = value
    return found


def _left_out(groups: int) -> None:
    if groups:
        say(
            f"left out: {counted(groups, 'group')} of the file without a sample or without an error"
        )


def _tell(model: str, version: str, what: str, done: Done) -> None:
    later = "" if done.cells else "; the store has no cell of it yet"
    say(shown(f"{model} {version}: {what}{later}"))
