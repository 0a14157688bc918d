"""Links that are paid for by the byte, long outages, and fleets that come back at once."""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from edgemse_agent.agent import Agent
from edgemse_agent.budget import MESSAGE_BYTES, Budget
from edgemse_agent.counting import MEANINGS
from edgemse_agent.ledger import Ledger, Written
from edgemse_agent.lines import SampleLine
from edgemse_agent.pace import Pace
from edgemse_agent.relay import Relay
from edgemse_agent.settings import AgentSettings, DeliverySettings, WindowSettings
from edgemse_agent.uplink import Stamp, Uplink
from support.clock import FakeClock
from support.ledgers import OWN, cell

from edgemse.cells import OVERFLOW, Identity, SealedCell, unseal
from edgemse.counters import Counters
from edgemse.presence import Presence, encode_presence
from edgemse.wire import Ack, decode_report, encode_ack

ONLINE = Presence(True, "s", "run")
DAY = 86_400.0
SERIES = int(os.environ.get("EDGEMSE_SERIES", "4"))
"""Of the device that is offline for seven days; 20 take a minute."""


class Device:
    """An agent with so many series, and a collector that counts bytes and samples."""

    def __init__(self, series: int, path: Path | None = None, **delivery: int) -> None:
        self.clock, self.rng = FakeClock(), random.Random(1)
        settings = AgentSettings(
            "pi", windows=WindowSettings(60), delivery=DeliverySettings(**delivery)
        )
        self.agent = Agent(settings, Ledger(path), self.clock, rng=self.rng)
        self.series = series
        self.fed = self.paid = 0
        self.cells: dict[Identity, SealedCell] = {}
        self.reports: list[list[SealedCell]] = []

    def online(self, online: bool) -> None:
        self.agent.heard_collector("w", encode_presence(Presence(online, "s", "run")))

    def measure(self) -> None:
        for number in range(self.series):
            where = (None, None, None, str(number))
            self.agent.take(SampleLine(where, 0.0, self.rng.gauss(0, 1), 1.0, None))
        self.fed += self.series

    def after(self, seconds: float) -> None:
        self.clock.passed += seconds
        for report in self.agent.tick():
            cells = list(decode_report(report).cells)
            self.reports.append(cells)
            self.cells |= {each.identity: each for each in cells}
            ack = encode_ack(Ack("w", {each.identity: each.revision for each in cells}))
            self.paid += len(report) + MESSAGE_BYTES
            if cells:
                self.paid += len(ack) + MESSAGE_BYTES
                self.agent.heard_ack(ack)

    def arrived(self) -> int:
        return sum(unseal(each).stats.count for each in self.cells.values())

    def settle(self, seconds: float = 10.0) -> None:
        self.agent.commit(everything=True)
        for _ in range(20_000):
            if not self.agent.waiting:
                return
            self.after(seconds)
        raise AssertionError(f"{self.agent.waiting} cells wait for ever")


def test_a_day_costs_no_more_bytes_than_it_may_and_no_sample() -> None:
    device = Device(20, bytes_per_day_max=400_000)
    device.online(True)
    pressed = 0
    for _ in range(int(DAY / 20)):
        device.measure()
        device.after(20.0)
        pressed += device.agent.uplink.budget.pressing
    assert 100_000 < device.paid <= 400_000
    assert pressed > 0
    widths = Counter(each.window.width for each in device.cells.values())
    assert widths[3_600] > 0
    health = device.agent.status().health
    assert health["bytes_counted"] == device.paid
    device.settle()
    assert device.arrived() == device.fed
    assert health["windows_refused"] == 0


def test_where_the_bytes_do_not_suffice_reports_wait_and_that_is_counted() -> None:
    device = Device(100, bytes_per_day_max=50_000)
    device.online(True)
    for _ in range(360):
        device.measure()
        device.after(60.0)
    assert device.paid <= 50_000
    health = device.agent.status().health
    assert (health["reports_held"] > 0, health["bytes_pressing"]) == (True, 1)
    assert health["cells_parked_now"] == 0
    assert health["windows_refused"] == 0


def test_without_a_bound_nothing_is_held_nor_widened() -> None:
    device = Device(20)
    device.online(True)
    for _ in range(180):
        device.measure()
        device.after(20.0)
    assert {each.window.width for each in device.cells.values()} == {60}
    assert device.agent.status().health["reports_held"] == 0


def test_a_burst_and_a_day_s_share_are_a_day_s_bytes() -> None:
    budget, spent = Budget(1_000_000), 0
    for second in range(86_400):
        room = budget.room(float(second))
        if room > 0:
            budget.spend(int(min(room, 20_000)))
            spent += int(min(room, 20_000)) + MESSAGE_BYTES
    assert 900_000 < spent <= 1_000_000
    assert budget.pressing
    assert budget.room(90_000.0) > 0
    budget.room(200_000.0)
    assert not budget.pressing


def test_after_seven_days_offline_everything_comes_the_newest_hour_first(tmp_path: Path) -> None:
    device = Device(SERIES, tmp_path / "l", ledger_cells_max=2_500 * SERIES)
    device.agent.ledger._database.execute("PRAGMA synchronous = OFF")  # it is not about that
    device.online(True)
    device.after(1.0)
    device.online(False)
    resident = [0] * 7
    for minute in range(7 * 24 * 60):
        device.measure()
        device.after(60.0)
        day = minute // (24 * 60)
        resident[day] = max(resident[day], resident_bytes())
    assert resident[6] - resident[2] < 4 << 20  # from when it merges windows on it is flat
    assert device.agent.ledger.waiting <= 2_550 * SERIES
    assert device.agent.counters["cells_coarsened"] > 5_000 * SERIES
    newest = device.clock.wall() - 3_600
    device.reports.clear()
    device.online(True)
    begun = device.clock.passed
    device.settle(1.0)
    taken = device.clock.passed - begun
    assert device.arrived() == device.fed
    print(f"{len(device.cells)} cells in {len(device.reports)} reports, {taken:g} s, {resident=}")
    assert taken < 120
    order = [each for cells in device.reports for each in cells]
    last = max(place for place, each in enumerate(order) if each.window.end > newest)
    assert last < 2 * 62 * SERIES + 10  # half of what went meanwhile were the oldest
    assert len(device.reports) < 300
    assert device.agent.counters["windows_refused"] == 0


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_devices_do_not_all_begin_at_once_when_their_collector_is_back() -> None:
    """Ten thousand of them, as the collector asks: spread over devices / 200 seconds."""
    began: Counter[int] = Counter()
    back = Presence(True, "s", "run 2", spread_seconds=50.0)
    for number in range(10_000):
        with closing(_uplink(number)) as device:
            device.uplink.heard("w", ONLINE)
            assert device.round(0.0)  # at its start it does not wait
            device.uplink.disconnected()
            device.uplink.heard("w", back)
            assert device.uplink.round(Stamp(100.0, 1e9, True)) == [] or number
            began[int(device.uplink._begin_at) - 100] += 1
    assert sum(began.values()) == 10_000
    assert max(began.values()) < 1.3 * 200


def test_a_device_that_was_told_to_spread_begins_in_that_time() -> None:
    with closing(_uplink(1)) as device:
        device.uplink.heard("w", ONLINE)
        assert device.round(0.0)
        device.uplink.heard("w", Presence(False, "s", "run"))
        assert device.round(100.0) == []
        device.uplink.heard("w", Presence(True, "s", "run 2", spread_seconds=50.0))
        times = [second for second in range(100, 160) if device.round(float(second))]
        assert times
        assert 100 < times[0] <= 150


class _uplink:  # noqa: N801 - a fixture of many
    """An uplink without cells whose health report is always due."""

    ledger = Ledger(None)

    def __init__(self, seed: int) -> None:
        self.uplink = Uplink(
            "pi",
            "run",
            self.ledger,
            Relay(Pace(75.0)),
            Counters(MEANINGS),
            random.Random(seed),
            Pace(75.0),
        )

    def round(self, now: float) -> list[bytes]:
        return self.uplink.round(Stamp(now, 1e9 + now, True))

    def close(self) -> None:
        self.uplink.disconnected()


@pytest.fixture
def crowded(tmp_path: Path) -> Device:
    """A device with hardly any room, whose cells were all exposed when its collector went."""
    device = Device(50, ledger_cells_max=100)
    device.online(True)
    for _ in range(3):
        device.measure()
        device.clock.passed += 62.0
        device.agent.tick()  # exposed, and never acknowledged
    return device


def test_what_is_exposed_is_no_reason_to_refuse_a_sample(crowded: Device) -> None:
    crowded.agent.ledger.commit([Written(cell(OWN, n, 1), exposed=1) for n in range(500)])
    crowded.agent.commit()
    assert crowded.agent.ledger.own > 500
    crowded.measure()
    assert crowded.agent.counters["windows_refused"] == 0


def test_series_fold_into_one_before_a_sample_is_refused() -> None:
    device = Device(60, ledger_cells_max=100)
    device.online(False)
    for _ in range(20):  # days: more than four hundred windows of a day and series
        device.measure()
        device.after(DAY)
    assert device.agent.counters["cells_folded"] > 0
    assert device.agent.counters["windows_refused"] == 0
    device.online(True)
    device.settle()
    assert device.arrived() == device.fed
    assert OVERFLOW in {each.series.segment for each in device.cells.values()}


def test_too_many_windows_in_memory_go_on_in_other_cells() -> None:
    settings = AgentSettings("pi", windows=WindowSettings(60, open_cells_max=50))
    clock = FakeClock()
    with closing(Ledger(None)) as ledger:
        agent = Agent(settings, ledger, clock)
        for round_ in range(20):
            for hour in range(8):
                time = clock.wall() - 3_600.0 * (8 * round_ + hour)
                agent.take(SampleLine((None,) * 4, 0.0, 1.0, 1.0, time))
            clock.passed += 0.2
            agent.tick()
        assert agent.counters["windows_refused"] == 0
        assert agent.counters["samples"] == 160
