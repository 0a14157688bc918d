"""Putting a fault into code that is loaded: functions get other code, constants another value."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from mutants.making import Mutant

__all__ = ["applied", "module_of"]

CONSTANTS = (str, int, float, tuple, bool)


def module_of(file: str) -> ModuleType:
    """Load the module of a file, named from the clone's root."""
    parts = Path(file).with_suffix("").parts
    return importlib.import_module(".".join(parts[parts[0] == "agent" :]))


def applied(module: ModuleType, source: bytes, mutant: Mutant) -> bool:
    """Let the loaded module have the fault; False if it lies where nothing can be changed.

    Whoever has the function has its new code; a constant is changed wherever it was imported to.
    """
    name = str(module.__file__)
    before, after = (
        dict(_codes(compile(text, name, "exec"))) for text in (source, mutant.applied(source))
    )
    functions = dict(_functions(module))
    changed = False
    for place, code in after.items():
        if place in functions and not _same(code, before[place]):
            functions[place].__code__ = code
            changed = True
    return changed or _constants_changed(module, mutant.applied(source))


def _constants_changed(module: ModuleType, source: bytes) -> bool:
    scope = {"__name__": f"{module.__name__} mutated", "__file__": module.__file__}
    sys.modules[scope["__name__"] or ""] = ModuleType(scope["__name__"] or "")
    exec(compile(source, "mutant", "exec"), scope)
    changed = False
    for name, new in scope.items():
        old = getattr(module, name, None)
        if name.startswith("__") or not isinstance(old, CONSTANTS) or old == new:
            continue
        for each in list(sys.modules.values()):
            if getattr(each, "__dict__", {}).get(name) is old:
                setattr(each, name, new)
                changed = True
    return changed


def _codes(code: CodeType, within: str = "") -> Iterator[tuple[str, CodeType]]:
    for each in code.co_consts:
        if isinstance(each, CodeType) and not each.co_name.startswith("<"):
            place = f"{within}{each.co_name}"
            yield place, each
            yield from _codes(each, f"{place}.")


def _same(left: CodeType, right: CodeType) -> bool:
    """Tell whether two codes do the same, wherever their lines are."""
    if (left.co_code, left.co_names, len(left.co_consts)) != (
        right.co_code,
        right.co_names,
        len(right.co_consts),
    ):
        return False
    return all(
        _same(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else repr(a) == repr(b)
        for a, b in zip(left.co_consts, right.co_consts, strict=True)
    )


def _functions(holder: Any, within: str = "") -> Iterator[tuple[str, FunctionType]]:
    for name, each in vars(holder).items():
        whole = getattr(each, "__wrapped__", each)  # a context manager's, perhaps
        whole = getattr(whole, "fget", whole)
        whole = getattr(whole, "__func__", whole)
        whole = getattr(whole, "__wrapped__", whole)
        if isinstance(whole, FunctionType):
            yield f"{within}{whole.__name__}", whole
        elif isinstance(each, type) and each.__qualname__ == f"{within}{name}":
            yield from _functions(each, f"{within}{name}.")
