"""Where `edgemse-agent` begins: says in one line what is not installed."""

from __future__ import annotations

import sys

__all__ = ["main"]

EXIT_UNAVAILABLE = 69
OPTIONAL = frozenset({"paho", "msgspec"})


def main() -> int:
    """Run the command and return its exit code."""
    try:
        from edgemse_agent.command import main as command
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in OPTIONAL:
            raise
        print(
            f"edgemse-agent: {error.name} is not installed; pip install 'edgemse[agent]'",
            file=sys.stderr,
        )
        return EXIT_UNAVAILABLE
    return command()
