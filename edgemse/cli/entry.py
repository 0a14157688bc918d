"""Where `edgemse` begins. It imports nothing before it can take a Ctrl-C without a traceback."""

__all__ = ["main"]

EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells say it."""


def main() -> int:
    """Run the command and return its exit code."""
    try:
        from edgemse.interrupts import EndAtOnce

        importing = EndAtOnce(EXIT_INTERRUPTED)
        with importing:
            from edgemse.cli.running import run
        return run(importing)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
