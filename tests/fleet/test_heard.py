"""What `devices` says beside the figures: twins, other names, retired ones that are back."""

from __future__ import annotations

from support.cells import cell, offered
from support.fleet import START, Planted, stats_of

from edgemse.fleet.devices import Device, DevicesAnswer
from edgemse.stats.coverage import Coverage
from edgemse.stores import Batch, DeviceReport
from edgemse.stores.audit import Actor
from edgemse.stores.devices import rename, retire

ANNA = Actor("anna", "desk")


def report(planted: Planted, device: str, at: int, run: str) -> None:
    sent = DeviceReport(device, at * 1000, at * 1000, True, {}, run)
    planted.store.commit(Batch(reports=[sent]))


def asked(planted: Planted, **what: object) -> tuple[dict[str, Device], str]:
    found = planted.ask("devices", **what)
    assert isinstance(found, DevicesAnswer)
    return {each.device: each for each in found.devices}, " ".join(found.sentences())


def test_twins_are_told_for_a_day(planted: Planted) -> None:
    for second, run in enumerate(("one", "two", "one")):
        report(planted, "twin", START + second, run)
    for second, run in enumerate(("one", "two", "three")):
        report(planted, "restarted", START + second, run)
    devices, said = asked(planted)
    assert (devices["twin"].twins, devices["restarted"].twins) == (True, False)
    assert "Two boards report in turn under one name: twin; rename one of them" in said
    report(planted, "twin", START + 90_000, "one")
    devices, said = asked(planted)
    assert not devices["twin"].twins
    assert "Two boards" not in said


def test_a_device_whose_store_has_changed(planted: Planted) -> None:
    for device, health in (("moved", {"stores_changed": 2}), ("stayed", {"lines": 7})):
        sent = DeviceReport(device, START * 1000, START * 1000, True, health, "run")
        planted.store.commit(Batch(reports=[sent]))
    planted.store.commit(Batch(cells=offered(("silent", cell(1)))))
    devices, said = asked(planted)
    assert {name: each.stores_changed for name, each in devices.items()} == {
        "moved": 2,
        "stayed": 0,
        "silent": None,
    }
    assert "Another store than before acknowledged cells of moved: the former one has a" in said


def test_what_a_device_says_of_itself_and_counts(planted: Planted) -> None:
    planted.say("moved", START, site="north", hardware="pi 4")
    planted.say("moved", START + 7_200, site="south", hardware="pi 4")
    health = DeviceReport("moved", START * 1000, START * 1000, True, {"lines": 7}, "run")
    planted.store.commit(Batch(reports=[health], cells=offered(("silent", cell(1)))))
    devices, _ = asked(planted)
    assert [
        (each.name, each.value, each.since, each.until) for each in devices["moved"].attributes
    ] == [
        ("hardware", "pi 4", None, None),
        ("site", "north", None, "2026-01-01T02:00:00Z"),
        ("site", "south", "2026-01-01T02:00:00Z", None),
    ]
    assert devices["moved"].health == {"lines": 7}
    assert (devices["silent"].attributes, devices["silent"].health) == ((), {})
    alone = asked(planted, device="moved")[0]["moved"]
    assert alone.attributes == devices["moved"].attributes


def test_a_silent_device_is_silent_when_it_is_asked_for_alone(planted: Planted) -> None:
    for device, hours in (("silent", 1), ("steady", 9)):
        for hour in range(hours):
            planted.put(device, stats_of([1.0]), start=START + 3_600 * hour, width=3_600)
    planted.commit()
    assert asked(planted)[0]["silent"].silent
    assert asked(planted, device="silent")[0]["silent"].silent
    assert not asked(planted, device="steady")[0]["steady"].silent


def test_labels_that_met_no_prediction_or_met_it_twice(planted: Planted) -> None:
    coverage = Coverage()
    coverage.predictions, coverage.expired = 8, 4
    coverage.orphan, coverage.duplicate, coverage.conflicting = 1, 2, 3
    planted.store.commit(Batch(cells=offered(("pi-1", cell(1, coverage=coverage)))))
    devices, _ = asked(planted)
    found = devices["pi-1"]
    assert (found.expired, found.orphan, found.duplicate, found.conflicting) == (4, 1, 2, 3)


def test_one_producer_under_two_names(planted: Planted) -> None:
    for device in ("old", "new"):
        planted.store.commit(Batch(cells=offered((device, cell(1)))))
    planted.store.commit(Batch(cells=offered(("other", cell(2)))))
    devices, said = asked(planted)
    assert "new" not in devices or devices["new"].shared == ("old",)
    report(planted, "new", START, "r")
    devices, said = asked(planted)
    assert (devices["new"].shared, devices["old"].shared) == (("old",), ("new",))
    assert devices["other"].shared == devices["other"].names == ()
    assert "Cells of one producer came under two names: new and old, old and new" in said
    assert asked(planted, device="other")[0].keys() == {"other"}
    with planted.store.writing() as writing:
        rename(writing, "old", "new", ANNA, START * 1000)
    devices, said = asked(planted)
    assert devices.keys() == {"new", "other"}
    assert (devices["new"].shared, devices["new"].names) == ((), ("old",))
    assert "two names" not in said


def test_a_retired_device_that_is_back(planted: Planted) -> None:
    planted.put("gone", stats_of([1.0]), start=START - 86_400)
    planted.put("here", stats_of([1.0]))
    planted.commit()
    assert planted.ask("devices").alarm() == "1 of 2 devices are silent: gone"
    with planted.store.writing() as writing:
        retire(writing, "gone", ANNA, START * 1000)
    devices, said = asked(planted)
    assert (devices["gone"].retired, devices["gone"].silent, devices["gone"].back) == (
        True,
        False,
        False,
    )
    assert planted.ask("devices").alarm() == ""
    assert planted.ask("devices").table().rows[0][1] == "retired"
    report(planted, "gone", START + 1, "r")
    devices, said = asked(planted)
    assert devices["gone"].back
    assert "Retired, and they report again: gone" in said
