"""What is not installed: which extra of edgemse brings it."""

from __future__ import annotations

__all__ = ["lacking"]

OPTIONAL = frozenset(
    {"typer", "rich", "duckdb", "numpy", "scipy", "fastapi", "uvicorn", "paho", "msgspec"}
    | {"amqtt", "psutil", "psycopg", "zstandard"}
)


def lacking(error: ModuleNotFoundError, command: str) -> str:
    """Return which package the command lacks and what to install; empty: it is none of these.

    >>> lacking(ModuleNotFoundError(name="duckdb"), "evaluate")
    "duckdb is not installed; pip install 'edgemse[files,parquet]'"
    """
    module = error.name or ""
    if module.startswith("edgemse.stats."):
        return f"{module} is not compiled for this Python; pip install --editable the clone"
    package = module.partition(".")[0]
    if package not in OPTIONAL:
        return ""
    if package == "zstandard" and command == "evaluate":  # a tenth of what it needs otherwise
        return f"{package} is not installed; pip install {package}"
    extra, more = "collector", ""
    if command == "demo":
        extra = "demo"
    elif command == "evaluate":
        extra = "files,parquet" if package == "duckdb" else "files"
    elif package == "typer":  # without which there is no command at all
        more = ", or 'edgemse[files]' for evaluate alone"
    return f"{package} is not installed; pip install 'edgemse[{extra}]'{more}"
