"""Which agent is meant where nobody names one: the one that runs here."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from edgemse.errors import NoAgentError, SettingsError
from edgemse_agent.settings import read

__all__ = ["CONFIG", "find", "places", "state_home"]

CONFIG = Path("/etc/edgemse/agent.toml")
RUNTIME = Path("/run/edgemse")
"""Where the unit file's agents have their sockets."""
PROBE_SECONDS = 1.0


class _Place(NamedTuple):
    """A socket where an agent may listen, and why it does not; empty: it does."""

    path: Path
    why_not: str


def state_home() -> Path:
    """Return the folder in which agents without a settings file have a folder each."""
    configured = os.environ.get("XDG_STATE_HOME")
    return (Path(configured) if configured else Path.home() / ".local" / "state") / "edgemse"


def places(device: str | None) -> list[Path]:
    """Return the sockets in the default places, of that device or of all."""
    found = []
    if CONFIG.exists() and os.access(CONFIG, os.R_OK):  # others may ask without reading it
        settings = read(CONFIG)
        if settings.socket is not None and device in (None, settings.device):
            found.append(settings.socket)
    if device is not None:
        return [*found, state_home() / device / "agent.sock"]
    found += sorted(RUNTIME.glob("*.sock")) + sorted(state_home().glob("*/agent.sock"))
    return list(dict.fromkeys(found))


def find(paths: Iterable[Path]) -> Path:
    """Return the one of the sockets at which an agent listens.

    Raises NoAgentError if none does, SettingsError that lists them if several do.
    """
    tried = [_Place(path, _why_not(path)) for path in paths]
    running = [place.path for place in tried if not place.why_not]
    if len(running) > 1:
        listed = ", ".join(map(str, running))
        raise SettingsError(f"several agents run here: {listed}; say which, --socket FILE")
    if running:
        return running[0]
    looked = "".join(f"; {path}: {why_not}" for path, why_not in tried)
    raise NoAgentError(
        f"no agent answers here{looked or f'; no socket in {RUNTIME} or {state_home()}'};"
        " --socket FILE names another place"
    )


def _why_not(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except TimeoutError:
            return ""  # it listens, and is too busy to take anybody
        except OSError as error:
            return error.strerror or str(error)
    return ""
