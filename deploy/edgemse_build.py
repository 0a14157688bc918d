"""The build backend: setuptools', except that an editable install goes by paths.

Of two source roots setuptools makes an import hook. Python asks hooks last, so that in the folder
above a clone, where the clone itself looks like a namespace package, `import edgemse` found an
empty one; type checkers see no hooks at all. A .pth file names the roots, and a package with an
`__init__.py` goes before a namespace wherever it stands on the path.
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).parent.parent


def build_editable(
    wheel_directory: str,
    config_settings: Mapping[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Compile in place, and return the name of a wheel that holds the paths of the source roots."""
    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    path = Path(wheel_directory) / name
    with zipfile.ZipFile(path) as wheel:
        files = {entry: wheel.read(entry) for entry in wheel.namelist()}
    (record,) = (entry for entry in files if entry.endswith(".dist-info/RECORD"))
    kept = {e: d for e, d in files.items() if not e.startswith("__editable__") and e != record}
    find = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    roots = [f"{(ROOT / where).resolve()}\n" for where in find["find"]["where"]]
    kept["__editable__." + record.split(".dist-info/")[0] + ".pth"] = "".join(roots).encode()
    kept[record] = "".join([*map(_line, kept, kept.values()), f"{record},,\n"]).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for entry, data in kept.items():
            wheel.writestr(entry, data)
    return name


def _line(entry: str, data: bytes) -> str:
    """The line of a file in a wheel's RECORD (PyPA, "Recording installed projects")."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{entry},sha256={digest},{len(data)}\n"
