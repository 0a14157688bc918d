"""TOML files to typed settings: every key is known, typed and checked, or the file is refused."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from edgemse.errors import SettingsError
from edgemse.times import duration

__all__ = ["PASSWORD_VARIABLE", "between", "load", "one_of", "read_secret", "read_toml"]

S = TypeVar("S")

PASSWORD_VARIABLE = "EDGEMSE_BROKER_PASSWORD"  # noqa: S105 - the name of a variable
"""Holds the password where no `password_file` is set; a command line would show it to everybody."""
_SECONDS = "_seconds"
"""How the keys of durations end."""

LARGEST = 2**1023
"""Whole numbers from here on may be no float."""


def between(low: float, high: float) -> dict[str, Any]:
    """Return a field's metadata that holds its value to [low, high]."""
    return {"check": lambda value: None if low <= value <= high else f"{low:g} to {high:g}"}


def one_of(*known: object) -> dict[str, Any]:
    """Return a field's metadata that holds its value to the ones that are known."""
    wanted = f"one of {', '.join(map(str, known))}"
    return {"check": lambda value: None if value in known else wanted}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the file's tables, or raise SettingsError that names the file and the place."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8: {error}") from None


def read_secret(path: Path, key: str) -> str:
    """Return the text of a file that holds a secret, its last line end apart.

    `key` is the setting that names the file. Raises SettingsError if it cannot be read, is empty,
    or if others than its owner and its group may read or write it.
    """
    try:
        with path.open() as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{key} {path}: cannot be read: {error}") from None
    if mode & stat.S_IRWXO:
        raise SettingsError(
            f"{key} {path}: everybody may use it (mode {mode:04o}); say chmod 640 {path}"
        )
    if not text:
        raise SettingsError(f"{key} {path}: is empty; wanted the secret alone")
    return text


def load(kind: type[S], values: dict[str, Any], where: str) -> S:
    """Return the dataclass `kind` filled from a TOML table, nested tables included.

    Types are checked by the annotations (bool, int, float, str, Path, lists and dicts of these,
    nested dataclasses; an int is taken for a float), ranges by the field's metadata `check`, a
    function from the value to None or what was wanted instead. A key that ends in `_seconds` takes
    a duration ("1h") too. Raises SettingsError naming the file (`where`), the key, the value got
    and the value wanted.
    """
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    for key in values:
        if key not in known:
            raise SettingsError(f"{where}: unknown key {key!r}; known are {', '.join(known)}")
    arguments: dict[str, Any] = {}
    for name, field in known.items():
        if name in values:
            value, place = values[name], f"{where}: {name}"
            if name.endswith(_SECONDS) and isinstance(value, str):
                value = _seconds(value, place)
            value = _converted(hints[name], value, place)
            check: Callable[[Any], str | None] | None = field.metadata.get("check")
            wanted = check(value) if check else None
            if wanted:
                raise SettingsError(f"{where}: {name}: got {values[name]!r}, wanted {wanted}")
            arguments[name] = value
        elif field.default is MISSING and field.default_factory is MISSING:
            raise SettingsError(f"{where}: {name} is missing; wanted {_described(hints[name])}")
    try:
        return kind(**arguments)
    except SettingsError as error:  # from the dataclass itself, which does not know the file
        raise SettingsError(f"{where}: {error}") from None


def _seconds(text: str, where: str) -> int | float:
    """Return a duration's seconds, as an int where they are whole."""
    try:
        seconds = duration(text)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}, or the seconds as a number") from None
    return int(seconds) if seconds.is_integer() else seconds


def _converted(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _converted(hint, value, where)
    if is_dataclass(hint) and isinstance(value, dict):
        return load(hint, value, where)  # type: ignore[arg-type]  # a class, not an instance
    if origin is list and isinstance(value, list):
        numbered = enumerate(value, 1)
        return [_converted(arguments[0], item, f"{where}: number {n}") for n, item in numbered]
    if origin is dict and isinstance(value, dict):
        return {
            key: _converted(arguments[1], item, f"{where}.{key}") for key, item in value.items()
        }
    if hint is float and type(value) is int and abs(value) < LARGEST:
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value).expanduser()
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise SettingsError(f"{where}: got {value!r:.80}, wanted {_described(hint)}")


def _described(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
    if get_origin(hint) is list:
        return f"a list, each {_described(get_args(hint)[0])}"
    if is_dataclass(hint) or get_origin(hint) is dict:
        return "a table"
    return names.get(hint, "a path" if hint is Path else str(hint))
