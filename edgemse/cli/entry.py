"""Where `edgemse` begins: every error that is ours becomes one line and an exit code."""

from __future__ import annotations

import os
import sys

from edgemse.errors import EdgemseError

__all__ = ["main"]

EXIT_INTERRUPTED = 130
EXIT_WRONG_USE = 64
"""EX_USAGE of sysexits.h; typer's own 2 means not enough data here."""
TYPER_WRONG_USE = 2
EXIT_UNAVAILABLE = 69
OPTIONAL = frozenset(
    {"typer", "rich", "duckdb", "numpy", "scipy", "fastapi", "uvicorn", "paho", "msgspec"}
    | {"amqtt", "psutil", "zstandard"}
)


def main() -> int:
    """Run the command and return its exit code."""
    try:
        from edgemse.cli.app import app

        app()
    except SystemExit as end:  # how typer ends, always
        return EXIT_WRONG_USE if end.code == TYPER_WRONG_USE else int(end.code or 0)
    except EdgemseError as error:
        return _complain(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in OPTIONAL:
            raise
        extra = "demo" if package in ("amqtt", "psutil") else "collector"
        return _complain(
            f"{package} is not installed; pip install 'edgemse[{extra}]'", EXIT_UNAVAILABLE
        )
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone; the interpreter must not try to flush into the pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def _complain(message: str, exit_code: int) -> int:
    print(f"edgemse: {' '.join(message.split())}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
