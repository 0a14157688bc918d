"""Where `edgemse-agent` begins: a Ctrl-C while it loads, or a missing package, is no traceback."""

__all__ = ["main"]

EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells say it."""
EXIT_UNAVAILABLE = 69
OPTIONAL = frozenset({"paho", "msgspec"})


def main() -> int:
    """Run the command and return its exit code."""
    try:
        from edgemse.interrupts import EndAtOnce

        with EndAtOnce(EXIT_INTERRUPTED):
            try:
                from edgemse_agent.command import main as command
            except ModuleNotFoundError as error:
                return _missing(error)
        return command()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _missing(error: ModuleNotFoundError) -> int:
    import sys

    module = error.name or ""
    package = module.partition(".")[0]
    if module.startswith(("edgemse.stats.", "edgemse_agent.")):
        wanting = f"{module} is not compiled for this Python; pip install --editable the clone"
    elif package in OPTIONAL:
        wanting = f"{package} is not installed; pip install 'edgemse[agent]'"
    else:
        raise error
    print(f"edgemse-agent: {wanting}", file=sys.stderr)
    return EXIT_UNAVAILABLE
