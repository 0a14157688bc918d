"""The history of a device's attributes: since when each value holds.

A value holds for the windows that start in [since, until). The first that is known holds from the
beginning of time; a change counts from the next whole UTC hour after the device said it, so that no
rollup has two values; of two changes within an hour the later one wins. What is older than the
present value changes nothing. So the figures of a pump that moves stay with the site where they
were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from edgemse.stores.tables import Row
from edgemse.times import HOUR_SECONDS

if TYPE_CHECKING:  # msgspec; who evaluates a file need not have it
    from edgemse.presence import Presence

__all__ = ["FOR_EVER_SECONDS", "History", "Span", "joined"]

FOR_EVER_SECONDS = 2**62
"""The end of what still holds; well above every window's start, and it fits a BIGINT."""


def joined(old: Iterable[Row], own: Iterable[Row], since: int) -> Iterator[Row]:
    """Yield the history of a device that was renamed: the old name's before `since`, then its own.

    Rows are (name, value, since, until, said), seconds UTC. An attribute that only one of the two
    names has keeps its whole history, so that no window loses a value that it had.
    """
    before, after = _by_name(old), _by_name(own)
    for name in before.keys() | after.keys():
        if name not in before or name not in after:
            yield from ((name, *span) for span in before.get(name) or after[name])
            continue
        for span in before[name]:
            if span.since < since:
                yield (name, *span._replace(until=min(span.until, since)))
        for span in after[name]:
            if span.until > since:
                yield (name, *span._replace(since=max(span.since, since)))


def _by_name(rows: Iterable[Row]) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    for name, *span in rows:
        found.setdefault(str(name), []).append(Span(*span))  # type: ignore[arg-type]
    return found


class Span(NamedTuple):
    """A value, the windows for which it holds, and when the device said it (seconds, UTC)."""

    value: str
    since: int
    until: int
    said: int


class History:
    """The present spans of some devices' attributes, and what presences change of them."""

    def __init__(self, rows: Iterable[tuple[Any, ...]] = ()) -> None:
        """Begin with the spans that still hold, rows of the table ATTRIBUTES."""
        self._present: dict[str, dict[str, Span]] = {}
        self._changed: dict[tuple[str, str, int], Span] = {}
        for device, name, *span in rows:
            self._present.setdefault(device, {})[name] = Span(*span)

    def hear(self, device: str, presence: Presence, received_seconds: int) -> None:
        """Take what a device says of itself.

        A birth names all attributes, so one that it leaves out is empty from now on. Without a
        `since`, a value holds since its receipt.
        """
        present = self._present.setdefault(device, {})
        for name, attribute in presence.attributes.items():
            assert not isinstance(attribute, str), "decode_presence makes Attributes of texts"
            held = present.get(name)
            if attribute.since is not None:
                self._told(device, name, attribute.value, attribute.since)
            elif held is None or held.value != attribute.value:
                self._told(device, name, attribute.value, received_seconds)
        if presence.online:
            for name in present.keys() - presence.attributes.keys():
                if present[name].value:
                    self._told(device, name, "", received_seconds)

    def _told(self, device: str, name: str, value: str, said: int) -> None:
        held = self._present[device].get(name)
        if held is None:
            if value:
                self._set(device, name, Span(value, 0, FOR_EVER_SECONDS, said))
        elif said > held.said and value == held.value:
            self._set(device, name, held._replace(said=said))
        elif said > held.said:
            since = max(held.since, -(-said // HOUR_SECONDS) * HOUR_SECONDS)
            if since > held.since:
                self._changed[device, name, held.since] = held._replace(until=since)
            self._set(device, name, Span(value, since, FOR_EVER_SECONDS, said))

    def _set(self, device: str, name: str, span: Span) -> None:
        self._present[device][name] = span
        self._changed[device, name, span.since] = span

    def changes(self) -> Iterator[Row]:
        """Yield the rows to write into the table ATTRIBUTES, each in place of that of its key."""
        for (device, name, _), span in self._changed.items():
            yield (device, name, *span)
