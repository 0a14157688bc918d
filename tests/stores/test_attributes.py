"""The history of attributes, without a database."""

from __future__ import annotations

from edgemse.presence import Attribute, Presence
from edgemse.stores.attributes import FOR_EVER_SECONDS, History

HOUR = 3_600


class Told:
    """One device's history as a store would keep it."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], tuple[object, ...]] = {}

    def hear(self, *said: tuple[int | None, str], at: int = 0, online: bool = True) -> None:
        """Hear births, each with a site and since when; no site at all for an empty one."""
        present = [row for row in self._rows.values() if row[4] == FOR_EVER_SECONDS]
        history = History(present)
        for since, value in said:
            attributes = {"site": Attribute(value, since)} if value else {}
            presence = Presence(online, "edgemse 1", "run", attributes=attributes)
            history.hear("pi-1", presence, at)
        for row in history.changes():
            self._rows[(*row[:2], row[3])] = row

    @property
    def spans(self) -> list[tuple[object, ...]]:
        return sorted((row[3], row[4], row[2]) for row in self._rows.values())


def test_the_first_value_that_is_known_holds_from_the_beginning() -> None:
    told = Told()
    told.hear((5 * HOUR, "north"))
    assert told.spans == [(0, FOR_EVER_SECONDS, "north")]
    told.hear((5 * HOUR, "north"), (None, "north"), at=9 * HOUR)
    assert told.spans == [(0, FOR_EVER_SECONDS, "north")]


def test_a_change_counts_from_the_next_whole_hour() -> None:
    told = Told()
    told.hear((100, "north"))
    told.hear((HOUR + 1, "south"))
    assert told.spans == [(0, 2 * HOUR, "north"), (2 * HOUR, FOR_EVER_SECONDS, "south")]
    told.hear((3 * HOUR, "east"))
    assert told.spans[1:] == [
        (2 * HOUR, 3 * HOUR, "south"),
        (3 * HOUR, FOR_EVER_SECONDS, "east"),
    ]


def test_a_change_without_a_time_counts_from_its_receipt() -> None:
    told = Told()
    told.hear((None, "north"), at=100)
    told.hear((None, "south"), at=HOUR + 100)
    assert told.spans == [(0, 2 * HOUR, "north"), (2 * HOUR, FOR_EVER_SECONDS, "south")]


def test_words_older_than_the_present_value_change_nothing() -> None:
    told = Told()
    told.hear((HOUR, "north"))
    told.hear((5 * HOUR + 20, "south"))
    held = told.spans
    told.hear((4 * HOUR, "west"), (5 * HOUR + 10, "west"), (5 * HOUR + 20, "west"))
    assert told.spans == held
    told.hear((8 * HOUR, "south"), (7 * HOUR, "west"))
    assert told.spans == held, "it was said again, later than the other"


def test_of_two_changes_within_an_hour_the_later_one_wins() -> None:
    for apart in (False, True):
        told = Told()
        told.hear((0, "north"))
        said = [(HOUR + 10, "south"), (HOUR + 20, "east")]
        for each in [[one] for one in said] if apart else [said]:
            told.hear(*each)
        assert told.spans == [(0, 2 * HOUR, "north"), (2 * HOUR, FOR_EVER_SECONDS, "east")]


def test_a_device_that_moves_within_the_first_hour_starts_where_it_went() -> None:
    told = Told()
    told.hear((0, "bench"), (10, "north"))
    assert told.spans == [(0, HOUR, "bench"), (HOUR, FOR_EVER_SECONDS, "north")]


def test_an_attribute_that_a_birth_leaves_out_is_empty_from_then_on() -> None:
    told = Told()
    told.hear((0, "north"))
    told.hear((None, ""), at=HOUR + 1, online=False)
    assert told.spans == [(0, FOR_EVER_SECONDS, "north")]
    told.hear((None, ""), at=HOUR + 1)
    want = [(0, 2 * HOUR, "north"), (2 * HOUR, FOR_EVER_SECONDS, "")]
    assert told.spans == want
    told.hear((None, ""), at=4 * HOUR)
    assert told.spans == want
    told.hear((5 * HOUR, "north"))
    assert told.spans[-1] == (5 * HOUR, FOR_EVER_SECONDS, "north")
