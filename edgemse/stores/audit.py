"""Who did what to a device, or said what of a version: a row each, in the same transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from edgemse.stores.base import Writing
from edgemse.stores.tables import AUDIT

__all__ = ["Actor", "note"]


class Actor(NamedTuple):
    """Who does something: names that are noted in the audit."""

    who: str
    """The user, as his own machine says it."""
    host: str
    """That machine."""
    token: str = ""
    """The name of the token that was shown; empty: who holds the store itself."""


def note(
    writing: Writing,
    action: str,
    by: Actor,
    now_ms: int,
    details: Mapping[str, str | int],
    *,
    device: str = "",
) -> None:
    """Add a row to the audit; `device` is empty for what is not done to one."""
    text = json.dumps(dict(details), ensure_ascii=False)
    writing.put(AUDIT, [(now_ms, *by, action, device, text)])
