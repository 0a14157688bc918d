"""What a shell completes after `edgemse-agent`, as a script for it to read."""

from __future__ import annotations

import argparse

__all__ = ["SHELLS", "script"]

SHELLS = ("bash",)
_BASH = """\
_edgemse_agent() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    COMPREPLY=()
    case "$before" in
        {files}) compopt -o default; return ;;
        {chosen}) COMPREPLY=($(compgen -W "{shells}" -- "$word")); return ;;
        {others}) return ;;
    esac
    COMPREPLY=($(compgen -W "{words}" -- "$word"))
}}
complete -F _edgemse_agent edgemse-agent"""


def script(parser: argparse.ArgumentParser) -> str:
    """Return a script for bash that completes the parser's commands, options and files."""
    files: list[str] = []
    others: list[str] = []
    words: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        words += action.option_strings or action.choices or []
        if action.option_strings and action.nargs != 0 and not action.choices:
            (files if action.metavar == "FILE" else others).extend(action.option_strings)
    return _BASH.format(
        files="|".join(files),
        chosen="--print-completion",
        shells=" ".join(SHELLS),
        others="|".join(others),
        words=" ".join(words),
    )
