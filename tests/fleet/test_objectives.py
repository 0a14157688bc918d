"""Objectives over cells: what is good, what is left of a budget, and who should be told."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from support.fleet import NOW, SHARE, START, Planted, Run, stats_of, tables_of

from edgemse.cells import Series
from edgemse.errors import AlarmError, SettingsError, UsageError
from edgemse.fleet.objectives import ObjectiveRow, ObjectivesAnswer
from edgemse.stats.coverage import Coverage
from edgemse.stats.error_stats import ErrorStats

END = START + 3 * 86_400
WIDTH = 300


def objectives(planted: Planted, table: Mapping[str, object], **asked: object) -> ObjectivesAnswer:
    found = planted.ask("objectives", objectives=tables_of(table), **{"until": END, **asked})
    assert isinstance(found, ObjectivesAnswer)
    return found


def row(planted: Planted, table: Mapping[str, object], **asked: object) -> ObjectiveRow:
    (found,) = objectives(planted, table, **asked).objectives
    return found


def plant(
    planted: Planted,
    worse: Mapping[int, float],
    devices: Iterable[str] = ("a",),
    width: int = WIDTH,
    per_window: int = 50,
) -> dict[int, list[float]]:
    """Put three days of errors of RMSE 0.6; from an age on (in seconds before END) it is larger."""
    rng, said = random.Random(5), {}
    for device in devices:
        for start in range(START, END, width):
            scale = next((s for age, s in sorted(worse.items()) if END - start <= age), 0.6)
            errors = [rng.gauss(0, scale) for _ in range(per_window)]
            planted.put(device, stats_of(errors), start=start, width=width)
            said.setdefault(start, []).extend(errors)
    planted.commit()
    return said


def bad(errors: Mapping[int, list[float]], seconds: int, tolerance: float = 2.0) -> float:
    chosen = [e for start, each in errors.items() if start >= END - seconds for e in each]
    return sum(abs(e) > tolerance for e in chosen) / len(chosen)


def test_a_share_is_counted_exactly_in_every_window(planted: Planted) -> None:
    errors = plant(planted, {2 * 3_600: 2.0})
    found = row(planted, SHARE)
    assert found.total == 3 * 288 * 50
    assert found.good == found.good_low == found.good_high
    assert found.good == found.total - round(bad(errors, 3 * 86_400) * found.total)
    assert found.share == found.good / found.total
    assert found.budget_left == pytest.approx(1 - bad(errors, 3 * 86_400) / 0.01)
    spans = {"5m": 300, "30m": 1_800, "1h": 3_600, "2h": 7_200, "6h": 21_600, "1d": 86_400}
    spans |= {"3d": 259_200}
    assert [*found.burn] == [*spans]
    for name, seconds in spans.items():
        assert found.burn[name] == pytest.approx(bad(errors, seconds) / 0.01), name
    assert found.burn["1h"] > 13.44
    assert (found.state, found.raises) == ("burning", "page")
    assert found.burning.startswith("1h/5m, 6h/30m")
    assert [pair.windows for pair in found.pairs if pair.burning] == found.burning.split(", ")


def test_all_is_well(planted: Planted) -> None:
    plant(planted, {})
    answer = objectives(planted, SHARE)
    (found,) = answer.objectives
    assert (found.state, found.raises, found.burning) == ("ok", "", "")
    assert 0 < found.budget_left <= 1
    assert ([*answer.sentences()], answer.alarm(), answer.notes) == ([], "", ())


def test_what_is_over_raises_nothing_and_a_budget_may_be_used_up(planted: Planted) -> None:
    plant(planted, {9 * 3_600: 4.0, 7 * 3_600: 0.3})
    found = row(planted, SHARE | {"burn": ["1h/5m", "6h/30m"]})
    assert (found.state, found.raises) == ("exhausted", "")
    assert found.budget_left < 0
    assert found.burn["6h"] == 0


def test_a_ticket_wakes_nobody(planted: Planted) -> None:
    plant(planted, {2 * 3_600: 3.0})
    found = row(planted, SHARE | {"severity": "ticket"})
    assert (found.state, found.raises) == ("burning", "ticket")
    assert {pair.severity for pair in found.pairs} == {"ticket"}


def test_groups_and_what_is_asked_beside_the_file(planted: Planted) -> None:
    plant(planted, {}, devices=("a", "b", "c"))
    for device in "abc":
        planted.say(device, site="north" if device < "c" else "south")
    by_site = objectives(planted, SHARE | {"by": ["site"]}).objectives
    assert [(each.by, each.total) for each in by_site] == [
        ({"site": "north"}, 2 * 3 * 288 * 50),
        ({"site": "south"}, 3 * 288 * 50),
    ]
    assert len(objectives(planted, SHARE | {"by": ["site"]}, by=["device"]).objectives) == 3
    north = objectives(planted, SHARE | {"where": {"site": "north"}}, device="a")
    assert [each.total for each in north.objectives] == [3 * 288 * 50]
    other = objectives(planted, SHARE | {"model": "fan"}, model="pump")
    assert other.objectives == ()
    assert "close: left out: it is about other cells than those asked for" in other.notes


def test_too_few_samples_are_not_judged(planted: Planted) -> None:
    plant(planted, {3_600: 3.0}, per_window=1)
    found = row(planted, SHARE | {"burn": ["1h/5m"]})
    assert found.burn["1h"] > 30
    assert (found.state, found.pairs[0].burning) == ("not enough data", None)


def test_a_tolerance_inside_a_bucket_has_its_bounds(planted: Planted) -> None:
    errors = plant(planted, {86_400: 1.2})
    answer = objectives(planted, SHARE | {"tolerance": 1.9, "target": 0.95, "burn": ["3d/6h"]})
    (found,) = answer.objectives
    truly = found.total * (1 - bad(errors, 3 * 86_400, 1.9))
    assert found.good_low < truly < found.good_high
    assert found.good == pytest.approx(truly, rel=0.01)
    assert "close: 1.9 lies inside a bucket: good is interpolated" in " ".join(answer.notes)
    assert "good for certain" in answer.table().headings
    snapped = objectives(
        planted, SHARE | {"tolerance": 1.9, "target": 0.95, "burn": ["3d/6h"], "snap": True}
    )
    (exact,) = snapped.objectives
    assert exact.tolerance == 2 ** (7 / 8)
    assert exact.good == exact.good_low == exact.good_high
    assert exact.good == exact.total - round(exact.total * bad(errors, 259_200, 2 ** (7 / 8)))
    assert "counted at 1.83401, the bound of a bucket next to 1.9" in snapped.notes[0]
    assert "good for certain" not in snapped.table().headings


def test_windows_of_rmse_and_of_cost(planted: Planted) -> None:
    plant(planted, {12 * 3_600: 1.5}, devices=("a", "b"))
    rmse = {"name": "level", "kind": "rmse", "limit": 1.0, "target": 0.9, "owner": "anna"}
    rmse |= {"burn": ["1d/2h", "3d/6h"]}
    found = row(planted, rmse)
    assert (found.good, found.total) == (2 * 60, 2 * 72)
    assert (found.state, found.burning) == ("burning", "1d/2h, 3d/6h")
    together = row(planted, rmse | {"per_device": False})
    assert (together.good, together.total) == (60, 72)
    cost = rmse | {"kind": "cost", "cost": "over=2,under=2", "limit": 1.5}
    # The mean of |e| is sqrt(2 / pi) times the RMSE: 2 * 0.8 * 0.6 and 2 * 0.8 * 1.5.
    assert (row(planted, cost).good, row(planted, cost).total) == (2 * 60, 2 * 72)
    few = objectives(planted, rmse | {"samples_min": 601})
    assert few.objectives[0].total == 0
    assert "level: 144 windows with fewer than 601 samples: not judged" in few.notes
    open_one = row(planted, rmse, until=END - 1_800)
    assert open_one.total == 2 * 71  # the last has not ended
    blind = objectives(planted, rmse | {"target": 0.99, "burn": ["1h/5m", "3d/6h"]})
    assert math.isnan(blind.objectives[0].burn["5m"])
    assert blind.objectives[0].pairs[0].burning is None
    assert "level: 1h/5m cannot be judged: windows are 3,600 s wide" in " ".join(blind.notes)


def test_labels_are_asked_for_once_they_have_had_time(planted: Planted) -> None:
    for start in range(START, END, WIDTH):
        coverage = Coverage()
        coverage.predictions = 20
        for _ in range(20 if END - start > 7_200 else 0):
            coverage.match(1_000)
        planted.put("a", ErrorStats(), start=start, width=WIDTH, coverage=coverage)
    planted.commit()
    promise = {"name": "labels", "kind": "coverage", "target": 0.99, "owner": "anna"}
    patient = row(planted, promise | {"labels_within_seconds": "2h"})
    assert (patient.state, patient.budget_left) == ("ok", 1)
    assert patient.total == (3 * 86_400 - 7_200) // WIDTH * 20
    hasty = row(planted, promise | {"labels_within_seconds": 3_600})
    assert (hasty.state, hasty.raises) == ("burning", "page")


def test_late_labels_are_one_ticket_and_no_page(planted: Planted) -> None:
    """For six hours no label comes at one site but those of the largest errors."""
    for device in "ab":
        for start in range(START, END, WIDTH):
            late = device == "a" and END - start <= 6 * 3_600
            coverage = Coverage()
            coverage.predictions = 20
            for _ in range(5 if late else 20):
                coverage.match(1_000)
            stats = stats_of([5.0] * 5 if late else [0.5] * 20)
            planted.put(device, stats, start=start, width=WIDTH, coverage=coverage)
    planted.commit()
    for device, site in {"a": "north", "b": "south"}.items():
        planted.say(device, site=site)
    labels = {"name": "labels", "kind": "coverage", "labels_within_seconds": 600, "target": 0.98}
    labels |= {"owner": "ben", "severity": "ticket", "by": ["site"]}
    alone = SHARE | {"by": ["site"]}

    def raised(*tables: Mapping[str, object]) -> dict[tuple[str, str], str]:
        found = planted.ask("objectives", objectives=tables_of(*tables), until=END)
        assert isinstance(found, ObjectivesAnswer)
        return {(row.name, row.by["site"]): row.raises for row in found.objectives if row.raises}

    both = {("close", "north"): "page", ("labels", "north"): "ticket"}
    assert raised(alone, labels) == both
    assert raised(alone | {"held_by": "labels"}, labels) == {("labels", "north"): "ticket"}
    everywhere = labels | {"by": []}
    assert raised(labels, alone | {"by": ["site"], "held_by": "labels"}).keys() == {
        ("labels", "north")
    }
    found = planted.ask(
        "objectives",
        objectives=tables_of(alone | {"held_by": "labels"}, everywhere),
        until=END,
    )
    assert isinstance(found, ObjectivesAnswer)
    assert [(row.state, row.held_by) for row in found.objectives[:2]] == [("held", "labels")] * 2
    assert found.objectives[0].burning
    assert "close (site north): held: labels are late, says labels" in " ".join(found.sentences())
    misspelt = tables_of(alone | {"held_by": "labels"}, everywhere | {"model": "pmup"})
    found = planted.ask("objectives", objectives=misspelt, until=END)
    assert "close (site north): held: labels is absent; raises" in " ".join(found.sentences())


def test_silence_is_not_a_kept_promise(planted: Planted) -> None:
    plant(planted, {})
    answer = objectives(planted, SHARE, until=END + 2 * 86_400)
    assert answer.objectives[0].state == "absent"
    assert answer.objectives[0].share > 0.99
    assert "close: absent: nothing was counted lately" in " ".join(answer.sentences())
    patient = SHARE | {"absent_after_seconds": "3d"}
    assert row(planted, patient, until=END + 2 * 86_400).state != "absent"
    nobody = row(planted, SHARE | {"model": "fan"})
    assert (nobody.state, nobody.total, nobody.by) == ("absent", 0, {})
    assert math.isnan(nobody.budget_left)


def test_wide_cells_cannot_tell_short_windows(planted: Planted) -> None:
    plant(planted, {}, width=3_600)
    answer = objectives(planted, SHARE)
    (found,) = answer.objectives
    assert math.isnan(found.burn["5m"])
    assert found.burn["1h"] >= 0
    assert [pair.burning for pair in found.pairs] == [None, None, False, False]
    assert "close: 1h/5m, 6h/30m cannot be judged: windows are 3,600 s wide" in answer.notes[0]


def test_samples_that_are_none_are_told(planted: Planted) -> None:
    stats = stats_of([1.0] * 20)
    stats.update(1.0, math.nan)
    planted.put("a", stats, start=END - 600)
    bare = ErrorStats.from_bytes(stats_of([1.0] * 7).to_bytes(histogram=False))
    planted.put("b", bare, start=END - 600)
    planted.commit()
    answer = objectives(planted, SHARE, by=["device"])
    assert [each.total for each in answer.objectives] == [20, 0]
    said = " ".join(answer.notes)
    assert "close: 1 sample with a NaN or beyond what is accepted: neither good nor bad" in said
    assert "close: 7 samples of groups that have a cell without a histogram" in said


def test_a_followed_number_may_be_promised(planted: Planted) -> None:
    series = Series("pump", "v1", measure="latency")
    planted.put("a", stats_of([0.5] * 90 + [3.0] * 10), start=END - 600, series=series)
    planted.commit()
    found = row(planted, SHARE | {"measure": "latency"})
    assert (found.good, found.total) == (90, 100)


def test_the_command_reads_a_file_and_stops_a_script(run: Run, tmp_path: Path) -> None:
    planted = Planted(tmp_path / "fleet.duckdb")
    plant(planted, {2 * 3_600: 2.0})
    planted.store.close()
    file = tmp_path / "objectives.toml"
    file.write_text(
        '[[objective]]\nname = "close"\nkind = "share"\ntolerance = 2.0  # kelvin\n'
        'target = 0.99\nowner = "anna"\nrunbook = "https://wiki/close"\n'
    )
    asked = ("objectives", "--from", planted.path, "--objectives", file, "--until", END)
    done = run(*asked, "--exit-code")
    assert (done.code, done.err) == (
        AlarmError.exit_code,
        "edgemse: objectives: burning too fast: close\n",
    )
    assert "close: burns too fast over 1h/5m, 6h/30m" in done.out
    assert "page for anna, https://wiki/close" in done.out
    found = json.loads(run(*asked, "--format", "json").out)["objectives"][0]
    assert {"name", "by", "target", "period_days", "good", "total", "share"} <= found.keys()
    assert {"budget_left", "burn", "state", "severity", "owner"} <= found.keys()
    missing = run("objectives", "--from", planted.path, "--objectives", tmp_path / "none.toml")
    assert missing.code == 78
    assert "none.toml: cannot be read: No such file" in missing.err
    assert "wanted --objectives FILE" in run("objectives", "--from", planted.path).err


def test_a_file_is_a_path_in_python_too(planted: Planted, tmp_path: Path) -> None:
    plant(planted, {})
    file = tmp_path / "objectives.json"
    file.write_text(tables_of(SHARE))
    assert planted.ask("objectives", objectives=file).objectives  # type: ignore[attr-defined]
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        planted.ask("objectives", objectives=file)
    file.write_bytes(b"#" * 1_000_001)
    with pytest.raises(SettingsError, match="larger than 1,000,000 bytes"):
        planted.ask("objectives", objectives=file)


def test_more_than_a_url_holds_is_refused_before_it_is_asked() -> None:
    from edgemse.fleet import ask

    many = tables_of(*(SHARE | {"name": f"close-{n}", "runbook": "x" * 200} for n in range(60)))
    with pytest.raises(UsageError, match="ask with fewer objectives or names at once"):
        ask("http://127.0.0.1:9", "objectives", objectives=many, now=NOW)
