"""Frozen objects to JSON and back: the one place where NaN becomes null, and null NaN again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from edgemse.errors import StoreError

__all__ = ["decode", "encode"]


def encode(value: Any) -> Any:
    """Return what json.dumps takes: objects by their fields' names, NaN and infinities as None.

    >>> encode({"a": (1.5, float("nan"))})
    {'a': [1.5, None]}
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if is_dataclass(value):
        own = getattr(value, "as_json", None)
        if own is not None:
            return own()
        return {each.name: encode(getattr(value, each.name)) for each in fields(value)}
    if hasattr(value, "_asdict"):
        return encode(value._asdict())
    if isinstance(value, Mapping):
        return {name: encode(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [encode(each) for each in value]
    return value


def decode(kind: Any, data: Any) -> Any:
    """Return the object of that type whose JSON this is; keys that it does not know are ignored.

    Raises StoreError if a key is missing: another version of edgemse has written it.
    """
    if kind is float:
        return math.nan if data is None else float(data)
    if is_dataclass(kind):
        own = getattr(kind, "of_json", None)
        return own(data) if own is not None else _object(kind, _defaults(kind), data)
    if hasattr(kind, "_fields"):
        return _object(kind, dict.fromkeys(kind._fields, MISSING), data)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (inner,) = (part for part in parts if part is not NoneType)
        return None if data is None else decode(inner, data)
    if origin is tuple:
        return tuple(decode(parts[0], each) for each in data)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {name: decode(parts[1], each) for name, each in data.items()}
    return data


def _defaults(kind: Any) -> dict[str, Any]:
    return {each.name: each.default for each in fields(kind)}


def _object(kind: Any, defaults: Mapping[str, Any], data: Any) -> Any:
    hints = get_type_hints(kind)
    missing = [n for n, default in defaults.items() if default is MISSING and n not in data]
    if missing:
        raise StoreError(
            f"an answer without {', '.join(missing)}: the collector is of another version of"
            " edgemse; use the same one here"
        )
    return kind(**{name: decode(hints[name], data[name]) for name in defaults if name in data})
