"""The settings that an agent runs with: file and options together, and where each came from."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgemse.errors import SettingsError
from edgemse.settings import PASSWORD_VARIABLE, read_toml
from edgemse_agent.finding import CONFIG, state_home
from edgemse_agent.hardware import AUTO_DEVICE, board, default_device
from edgemse_agent.intake.rules import MqttRule
from edgemse_agent.settings import AgentSettings, read

__all__ = ["effective", "printed"]

OPTIONS = {
    "device": "device",
    "ledger": "ledger",
    "socket": "socket",
    "broker.address": "broker",
}
"""Keys of the settings that are options too."""
RULES = "mqtt"
"""The key of the rules: tables, of which there may be many."""
ORIGIN_COLUMN = 44
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def effective(options: argparse.Namespace) -> AgentSettings:
    """Read the settings file, if there is one, and let the options have the last word."""
    path = _file(options)
    if path is not None:
        settings = read(path)
    elif options.device or options.command or options.broker:
        device = options.device or default_device()
        home = state_home() / device
        path = None if options.stdin else home / "agent.sock"
        settings = AgentSettings(device, ledger=home / "ledger.sqlite", socket=path)
    else:
        raise SettingsError(
            f"no settings: {CONFIG} is not there; say --config FILE, or --broker HOST:PORT"
        )
    changes = {
        name: value
        for name in ("device", "ledger", "socket")
        if (value := getattr(options, name)) is not None
    }
    if options.broker:
        changes["broker"] = dataclasses.replace(settings.broker, address=options.broker)
    return dataclasses.replace(settings, **changes)


def printed(
    options: argparse.Namespace, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Yield the lines of a settings file that says the same, each with where it came from.

    Secrets are not in them: only where the password is.
    """
    settings = effective(options)
    origins = _origins(options)
    values = dataclasses.asdict(settings)
    if settings.broker.password_file is None and environment.get(PASSWORD_VARIABLE):
        origins["broker.password_file"] = f"the password is in ${PASSWORD_VARIABLE}"
    for key, value in values.items():
        if not isinstance(value, dict) and not (key == RULES and value):
            yield _line(key, value, origins.get(key))
    for table, entries in values.items():
        if isinstance(entries, dict):
            yield f"\n[{table}]"
            for key, value in entries.items():
                yield _line(key, value, origins.get(f"{table}.{key}"))
    for rule in settings.mqtt:
        yield f"\n[[{RULES}]]"
        for key, value in _said(rule):
            yield _line(key, value, origins.get(RULES))


def _origins(options: argparse.Namespace) -> dict[str, str]:
    """Return where settings come from, by key; those that are not in it are defaults."""
    path = _file(options)
    given = {} if path is None else read_toml(path)
    origins = dict.fromkeys(_keys(given), str(path))
    if path is None:
        named = "--device" if options.device else _named_by()
        origins |= dict.fromkeys(["device", "ledger", "socket"], named)
    elif given.get("device") == AUTO_DEVICE:
        origins["device"] = f'{path}: "{AUTO_DEVICE}", {_named_by()}'
    return origins | {
        key: f"--{option}"
        for key, option in OPTIONS.items()
        if getattr(options, option) is not None
    }


def _said(rule: MqttRule) -> Iterator[tuple[str, Any]]:
    """Yield the keys that a rule says: it has many more, most of which exclude each other."""
    for each in dataclasses.fields(rule):
        if (value := getattr(rule, each.name)) not in (each.default, {}):
            yield each.name, value


def _named_by() -> str:
    """Return where a default device's name comes from."""
    source = board().source
    return f"the host's name and {source}" if source else "the host's name"


def _file(options: argparse.Namespace) -> Path | None:
    path: Path | None = options.config or (CONFIG if CONFIG.exists() else None)
    return path


def _keys(values: dict[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner in value)
        else:
            yield key


def _line(key: str, value: Any, origin: str | None) -> str:
    name = key if _BARE.fullmatch(key) else json.dumps(key)
    line = f"# {name}: none" if value is None else f"{name} = {_value(value)}"
    return f"{line.ljust(ORIGIN_COLUMN)} # {origin or 'default'}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        entries = (f"{json.dumps(key)} = {_value(each)}" for key, each in value.items())
        return f"{{ {', '.join(entries)} }}"
    # A text of TOML is one of JSON, but that it may not hold DEL as it is.
    return json.dumps(str(value) if isinstance(value, Path) else value).replace("\x7f", "\\u007f")
