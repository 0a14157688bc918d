"""Which edgemse this is."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["installed_version"]


def installed_version() -> str:
    """Return the version of the distribution that is installed, as importlib.metadata would.

    By its folder's name alone (PyPA, "Recording installed projects"), because that module brings a
    mebibyte of others along, which an agent needs for nothing else; where there is no such folder,
    as in a zip file, it is asked.
    """
    for entry in sys.path:
        for found in Path(entry).glob("edgemse-*.dist-info"):
            return found.name.removesuffix(".dist-info").partition("-")[2]
    from importlib.metadata import version

    return version("edgemse")
