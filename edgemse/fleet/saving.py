"""What a validation run leaves: a file with the statistics of its groups, and of all of them.

Without msgspec: `edgemse evaluate --save` runs where only `edgemse[files]` is.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgemse.errors import OutputError
from edgemse.stats.error_stats import ErrorStats, merge_all

__all__ = ["FORMAT", "PARTS_MAX", "save_states"]

FORMAT = "edgemse states 1"
PARTS_MAX = 1_000
"""Parts of one baseline: segments times outputs, with room; a row of a store each."""


def save_states(
    path: Path, columns: tuple[str, ...], groups: Mapping[tuple[str, ...], ErrorStats]
) -> None:
    """Write the statistics of each group and of all of them, whole or not at all.

    Raises OutputError if the file cannot be written, or if there are more than PARTS_MAX groups.
    """
    if len(groups) > PARTS_MAX:
        raise OutputError(
            f"{path}: {len(groups):,} groups, wanted at most {PARTS_MAX:,} in a baseline;"
            " group by less"
        )
    parts = [_part(dict(zip(columns, key, strict=True)), stats) for key, stats in groups.items()]
    if columns:
        parts.insert(0, _part({}, merge_all(groups.values())))
    text = json.dumps({"format": FORMAT, "parts": parts}, ensure_ascii=False, separators=(",", ":"))
    whole = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        whole.write_bytes(text.encode() + b"\n")
        whole.replace(path)
    except OSError as error:
        whole.unlink(missing_ok=True)
        raise OutputError(f"{path}: {error.strerror}") from None


def _part(by: Mapping[str, str], stats: ErrorStats) -> dict[str, Any]:
    """Return a part as `saved.SavedPart` reads it."""
    return {"by": dict(by), "state": base64.b64encode(stats.to_bytes()).decode()}
