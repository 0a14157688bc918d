"""How long cells are kept as they are, then as hours, then as days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from edgemse.errors import SettingsError
from edgemse.stores.touching import DAY, HOUR

__all__ = ["Keep"]


DAYS_MAX = 36_500


@dataclass(frozen=True, slots=True)
class Keep:
    """How long what is kept, in days; 0: for ever.

    Raises SettingsError where something is to be kept longer than what takes its place.
    """

    raw_days: int = 0
    """Cells, whatever their width: then hours take their place."""
    hourly_days: int = 0
    """Hours: then days do."""
    daily_days: int = 0
    """Everything: then it is gone."""

    def __post_init__(self) -> None:
        days = {name: getattr(self, name) for name in ("raw_days", "hourly_days", "daily_days")}
        for name, value in days.items():
            if not 0 <= value <= DAYS_MAX:
                raise SettingsError(f"{name}: got {value}, wanted 0 (for ever) to {DAYS_MAX}")
        for one, other in pairwise(name for name, value in days.items() if value):
            if days[one] >= days[other]:
                raise SettingsError(
                    f"{one} = {days[one]}, {other} = {days[other]}: wanted {other} to be more, or 0"
                    " (for ever)"
                )

    def __bool__(self) -> bool:
        """Whether anything ever goes."""
        return any((self.raw_days, self.hourly_days, self.daily_days))

    def steps(self, now: float) -> Iterator[tuple[int, int]]:
        """Yield each width that takes the place of cells before a second, 0 where nothing does."""
        for days, width in (
            (self.daily_days, 0),
            (self.hourly_days, DAY.width_seconds),
            (self.raw_days, HOUR.width_seconds),
        ):
            if days:
                yield width, DAY.start(int(now)) - days * DAY.width_seconds
