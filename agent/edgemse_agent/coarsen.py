"""Under pressure lose resolution, never samples: many narrow cells become a few wide ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgemse.cells import Cell, Identity, SealedCell, Series, Window, seal, unseal
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats

__all__ = ["coarsened"]


def coarsened(
    cells: Iterable[SealedCell], width_seconds: int, next_identity: Callable[[], Identity]
) -> list[tuple[SealedCell, list[Identity]]]:
    """Merge cells of one series whose windows nest in one wide window.

    Returns each new cell with the identities that it absorbs; a cell that would be alone is left
    as it is. The caller passes only cells that may be absorbed (final, of an agent run of this
    ledger, never exposed) and writes the new and deletes the old in one transaction.
    """
    groups: dict[tuple[Series, Window], list[SealedCell]] = {}
    for cell in cells:
        groups.setdefault((cell.series, cell.window.widened(width_seconds)), []).append(cell)
    out = []
    for (series, window), members in groups.items():
        if len(members) < 2:
            continue
        stats, coverage = ErrorStats(), Coverage()
        for member in members:
            opened = unseal(member, device="")
            stats.merge(opened.stats)
            coverage.merge(opened.coverage)
        wide = Cell(next_identity(), 1, True, "", series, window, stats, coverage)
        out.append((seal(wide), [member.identity for member in members]))
    return out
