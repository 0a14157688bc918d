"""Presences that did not come: the broker is asked for them again, device by device.

A broker gives retained messages once, after the subscription, and Mosquitto drops what goes beyond
its queue of 1,000: of a large fleet most births never arrive. Which are missing, reports tell: they
carry the run that the presence would name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Event

from edgemse.counters import Counters
from edgemse.stores import Store, statements

__all__ = ["Asking"]

log = logging.getLogger(__name__)

AT_ONCE = 900
"""Below Mosquitto's max_queued_messages, 1,000: it would drop the rest again."""
HEARD_SECONDS = 86_400
"""Devices that reported within a day are asked for."""
AGAIN_SECONDS = 3_600
"""So long after asking in vain it is asked again."""


class Asking:
    """Finds the devices whose presence is missing, and asks for it.

    Args:
        store: Where devices' reports and presences are noted.
        ask: Returns what the broker retains of the devices' presences.
        hear: Takes a presence as if it had just come.
        counters: Has `presences_asked`.
        now: Seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        store: Store,
        ask: Callable[[Sequence[str], Event], Mapping[str, bytes]],
        hear: Callable[[str, bytes], None],
        counters: Counters,
        now: Callable[[], float],
    ) -> None:
        self._store, self._ask, self._hear = store, ask, hear
        self._counters = counters
        self._now = now
        self._asked: set[tuple[str, str]] = set()
        self._since = now()

    def run(self, stopping: Event) -> None:
        """Ask for some of what is missing: the job `presences`."""
        now = self._now()
        if now - self._since > AGAIN_SECONDS:
            self._asked.clear()
            self._since = now
        with self._store.reading() as reading:
            heard_ms = int((now - HEARD_SECONDS) * 1000)
            missing = reading.rows(statements.UNHEARD, (heard_ms,)).rows
        due = [each for each in missing if tuple(each) not in self._asked][:AT_ONCE]
        if not due:
            return
        devices = [device for device, _ in due]
        found = self._ask(devices, stopping)
        self._asked.update((device, run) for device, run in due)
        self._counters.count("presences_asked", len(devices))
        log.info("asked for %d presences that did not come, got %d", len(devices), len(found))
        for device, payload in found.items():
            self._hear(device, payload)
