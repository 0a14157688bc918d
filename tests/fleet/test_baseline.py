"""Offline baselines: set by file or figure, shown, and what trend makes of them."""

from __future__ import annotations

import base64
import csv
import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet import BY, START, Planted, follow, plant_hours, stats_of
from support.processes import edgemse

from edgemse.cells import Series
from edgemse.cli import entry
from edgemse.errors import EdgemseError, InputError, SettingsError, StoreUnreachableError
from edgemse.fleet import ask
from edgemse.fleet.asking import apply
from edgemse.fleet.baseline import BaselineAnswer
from edgemse.fleet.gaps import gap_at
from edgemse.fleet.levels import exactly, gap, of_state, of_windows
from edgemse.fleet.registry import BaselinePart, BaselineSetting, decode_setting
from edgemse.fleet.said import Baseline
from edgemse.fleet.trend import TrendAnswer
from edgemse.fleet.windows import Windows
from edgemse.stats.error_stats import ErrorStats
from edgemse.stores import open_store

Run = Callable[..., tuple[int, str, str]]
FUZZED = Planted()
"""One store for all examples: what one leaves the next one meets."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgemse", *map(str, arguments)])
        code = entry.main()
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with two versions of a pump."""
    planted = Planted(tmp_path / "fleet.duckdb")
    for version, scale in (("1", 1.0), ("2", 1.2)):
        series = Series("pump", version)
        plant_hours(planted, {"a": scale, "b": scale}, hours=48, series=series)
    planted.commit()
    planted.store.close()
    return planted.path


@pytest.fixture
def validation(tmp_path: Path) -> Path:
    """A file of samples of two segments, the night twice as hard."""
    rng = random.Random(8)
    found = tmp_path / "validation.csv"
    with found.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["segment", "y", "p"])
        for number in range(2_000):
            segment, scale = (("day", 1.0), ("night", 2.0))[number % 2]
            y = rng.gauss(20, 5)
            writer.writerow([segment, y, y + scale * rng.gauss(0, 1)])
        writer.writerow(["perfect", 1, 1])
    return found


def bare(rmse: float, *, keep: bool = False, **by: str) -> BaselineSetting:
    return BaselineSetting("pump", "2", [BaselinePart(by=by, rmse=rmse)], keep=keep, **BY)


def shown(source: Path | Planted, **asked: object) -> dict[str, float]:
    found = (
        ask(source, "baseline", **asked)  # type: ignore[arg-type]
        if isinstance(source, Path)
        else source.ask("baseline", **asked)
    )
    assert isinstance(found, BaselineAnswer)
    return {row.part: row.rmse for row in found.baselines}


def test_from_a_validation_run_to_the_gap(run: Run, path: Path, validation: Path) -> None:
    saved = path.with_name("saved.json")
    columns = ("--y-true", "y", "--y-pred", "p", "--by", "segment")
    code, out, _ = run("evaluate", validation, *columns, "--save", saved, "--format", "json")
    groups = {each["by"]["segment"]: each for each in json.loads(out)["groups"]}
    set_it = ("fleet", "baseline", "set", "pump", "2", "--file", saved, "--from", path)
    code, out, err = run(*set_it)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "left out: 1 group of the file without a sample or without an error",
        "pump 2: baseline of 3 parts set",
    ]
    code, out, _ = run("fleet", "baseline", "show", "--from", path, "--format", "json")
    total, day, night = json.loads(out)["baselines"]
    assert (total["part"], day["part"], night["part"]) == ("", "segment=day", "segment=night")
    assert night["rmse"] == groups["night"]["rmse"]
    assert (total["count"], total["bare"]) == (2_001, False)
    assert total["low"] < total["rmse"] < total["high"]

    code, out, _ = run("fleet", "trend", "--from", path, "--format", "json")
    found = json.loads(out)
    (one,) = found["gaps"]
    assert (one["model"], one["version"], one["bare"]) == ("pump", "2", False)
    assert one["ratio"] == pytest.approx(one["rmse"] / total["rmse"])
    assert one["low"] < one["ratio"] < one["high"]
    assert "no baseline is set of pump 1" in found["notes"]
    assert all(point["gap"] is None for point in found["points"])

    code, out, _ = run(
        "fleet",
        "trend",
        "--from",
        path,
        "--version",
        "2",
        "--where",
        "segment=",
        "--format",
        "json",
    )
    found = json.loads(out)
    for point in found["points"]:
        assert point["gap"] == pytest.approx(point["rmse"] / total["rmse"])
        assert point["gap_low"] < point["low"] / total["rmse"] < point["gap"] < point["gap_high"]
    assert "the baseline of pump 2 is of everything, not of segment=" in found["notes"]
    code, out, _ = run("fleet", "trend", "--from", path, "--version", "2")
    assert "RMSE of pump 2 to its baseline of 1." in out
    assert "to offline" in out
    assert "to offline" not in run("fleet", "trend", "--from", path, "--version", "1")[1]


def test_a_bare_figure_has_no_uncertainty_and_says_so(run: Run, path: Path) -> None:
    code, out, _ = run(
        "fleet", "baseline", "set", "pump", "2", "--rmse", "1.2", "--count", "500", "--from", path
    )
    assert (code, out) == (0, "pump 2: baseline of 1 part set\n")
    found = ask(path, "trend", version="2")
    assert isinstance(found, TrendAnswer)
    (one,) = found.gaps
    assert (one.baseline_rmse, one.baseline_count, one.bare) == (1.2, 500, True)
    assert one.low < 1 < one.high
    assert any("bare figure: its own uncertainty is not known" in note for note in found.notes)
    assert TrendAnswer.from_json(found.to_json()).to_json() == found.to_json()


def test_a_baseline_takes_the_place_of_the_one_before(planted: Planted) -> None:
    states = [BaselinePart(by={"segment": s}, state=stats_of([1.0, -3.0]).to_bytes()) for s in "xy"]
    whole = BaselinePart(state=stats_of([1.0]).to_bytes())
    done = apply(planted.store, BaselineSetting("pump", "2", [whole, *states], **BY), now=START)
    assert done == (3, 0, False)
    assert shown(planted) == {"": 1.0, "segment=x": math.sqrt(5), "segment=y": math.sqrt(5)}
    assert apply(planted.store, bare(7.0, keep=True, segment="x"), now=START).dropped == 0
    assert shown(planted)["segment=x"] == 7.0
    assert shown(planted, segment="x") == {"": 1.0, "segment=x": 7.0}
    assert apply(planted.store, bare(0.5), now=START) == (1, 2, False)
    assert shown(planted) == {"": 0.5}
    assert shown(planted, version="3") == {}


def test_two_writers_end_with_one_of_both(planted: Planted) -> None:
    def write(name: str) -> None:
        for number in range(1, 15):
            parts = [BaselinePart(rmse=float(number)), BaselinePart(by={"who": name}, rmse=1.0)]
            apply(planted.store, BaselineSetting("pump", "2", parts, **BY), now=START)

    threads = [Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shown(planted) in ({"": 14.0, "who=a": 1.0}, {"": 14.0, "who=b": 1.0})


def test_a_file_that_a_collector_holds_is_set_through_it(path: Path) -> None:
    store = open_store(path)
    set_it = ("fleet", "baseline", "set", "pump", "2", "--rmse", "1", "--from", path)
    done = edgemse(*set_it)
    store.close()
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (73, "", 1)
    assert "go through it with --from http://" in done.stderr
    assert edgemse(*set_it).returncode == 0


def test_a_baseline_may_come_before_the_first_cell(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new.duckdb"
    Planted(path).store.close()
    set_it = ("fleet", "baseline", "set", "pump", "2", "--rmse", "0.4", "--from", path)
    assert run(*set_it)[:2] == (
        0,
        "pump 2: baseline of 1 part set; the store has no cell of it yet\n",
    )
    code, out, err = run("fleet", "baseline", "--from", path)
    assert (code, err) == (0, "edgemse: no cell: the store is empty\n")
    assert "0.4" in out
    assert run("fleet", "trend", "--from", path)[0] == 0


def test_a_store_is_never_made_by_setting(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "typo.duckdb"
    code, _, err = run("fleet", "baseline", "set", "p", "1", "--rmse", "1", "--from", path)
    assert (code, path.exists()) == (72, False)
    assert "does not exist" in err
    with pytest.raises(StoreUnreachableError):
        apply(path, bare(1.0))


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 78, "wanted --file FILE or --rmse RMSE"),
        (("--rmse", "1", "--file", "x"), 78, "wanted --file FILE or --rmse RMSE"),
        (("--rmse", "0"), 78, "wanted a number above 0"),
        (("--rmse", "-1"), 78, "wanted a number above 0"),
        (("--rmse", "nan"), 78, "wanted a number above 0"),
        (("--rmse", "inf"), 78, "wanted a number above 0"),
        (("--rmse", "1", "--count", "0"), 78, "count 0"),
        (("--rmse", "1", "--where", "segment"), 78, "wanted NAME=VALUE"),
        (("--rmse", "1", "--where", "version=3"), 78, "wanted NAME=VALUE"),
        (("--rmse", "1", "--where", "s=a\x1b[2J"), 78, "the character U+001B"),
        (("--file", "x", "--count", "3"), 78, "go with --rmse"),
        (("--file", "nowhere.json"), 66, "nowhere.json: No such file"),
        (("--rmse", "many"), 64, "'--rmse'"),
    ],
)
def test_what_is_no_baseline_is_one_line(
    run: Run, path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    found = run("fleet", "baseline", "set", "pump", "2", "--from", path, *options)
    assert (found[0], found[1], found[2].count("\n")) == (code, "", 1)
    assert message in found[2]
    assert shown(path) == {}


@pytest.mark.parametrize("name", ["red\x1b[31m", "a" * 257, "\u202eevil", "two\nlines"])
def test_names_that_are_none_are_refused(run: Run, path: Path, name: str) -> None:
    code, out, err = run("fleet", "baseline", "set", name, "1", "--rmse", "1", "--from", path)
    assert (code, out, err.count("\n")) == (78, "", 1)
    assert "\x1b" not in err


def test_odd_names_are_names(run: Run, path: Path) -> None:
    for name in ("'; DROP TABLE cells; --", "[red]", "Müller/halle 3", ""):
        assert run("fleet", "baseline", "set", name, "", "--rmse", "1", "--from", path)[0] == 0
    found = ask(path, "baseline")
    assert isinstance(found, BaselineAnswer)
    assert len(found.baselines) == 4
    assert "[red]" in run("fleet", "baseline", "show", "--from", path)[1]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"format": "other", "parts": []}', b"[" * 9_999]
)
def test_a_file_that_is_something_else_is_refused(
    run: Run, path: Path, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "else.json"
    file.write_bytes(content)
    code, _, err = run("fleet", "baseline", "set", "p", "1", "--file", file, "--from", path)
    assert (code, err.count("\n")) == (65, 1)
    assert "not what edgemse evaluate --save writes" in err


def test_a_damaged_state_is_refused_and_nothing_is_written(planted: Planted) -> None:
    state = bytearray(stats_of([1.0, 2.0]).to_bytes())
    state[-1] ^= 0xFF
    parts = [BaselinePart(rmse=1.0), BaselinePart(by={"segment": "x"}, state=bytes(state))]
    with pytest.raises(InputError):
        apply(planted.store, BaselineSetting("pump", "2", parts, **BY))
    for parts in ([BaselinePart()], [BaselinePart(rmse=1.0)] * 2):
        with pytest.raises(SettingsError):
            apply(planted.store, BaselineSetting("pump", "2", parts, **BY))
    with pytest.raises(InputError, match="no sample, or no error"):
        BaselineSetting.of_saved("pump", "2", [], **BY)
    assert shown(planted) == {}


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"model": "m", "version": "1", "parts": []}', b'{"model": 1}']
)
def test_json_that_is_no_setting_is_refused(data: bytes) -> None:
    with pytest.raises(SettingsError, match="not a setting"):
        decode_setting(BaselineSetting, data)


TEXTS = st.text(max_size=8) | st.sampled_from(["segment", "a\x1bb", "x" * 300])
NUMBERS = st.none() | st.floats() | st.integers(-5, 2**70) | TEXTS
STATES = st.none() | st.binary(max_size=60) | st.just(stats_of([1.0, -2.0]).to_bytes())
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "by": st.dictionaries(TEXTS, TEXTS, max_size=8),
        "rmse": NUMBERS,
        "count": NUMBERS,
        "state": STATES.map(
            lambda state: None if state is None else base64.b64encode(state).decode()
        ),
        "more": NUMBERS,
    },
)


@settings(max_examples=150, deadline=None)
@given(model=TEXTS, parts=st.lists(PARTS, max_size=3), keep=st.booleans())
def test_any_json_is_a_baseline_or_an_error_of_ours(
    model: str, parts: list[dict[str, object]], keep: bool
) -> None:
    data = {"model": model, "version": "2", "parts": parts, "keep": keep}
    try:
        setting = decode_setting(BaselineSetting, json.dumps(data).encode())
        with FUZZED.store.writing() as writing:
            done = setting.apply(writing, 0)
    except EdgemseError:
        return
    assert done.set == len(parts)
    found = FUZZED.ask("baseline", model=model)
    assert isinstance(found, BaselineAnswer)
    assert len(found.baselines) >= len(parts)
    assert all(row.rmse > 0 for row in found.baselines)
    json.dumps(found.to_json(), allow_nan=False)


def test_a_file_that_cannot_be_written_is_one_line(run: Run, validation: Path) -> None:
    columns = ("--y-true", "y", "--y-pred", "p")
    code, out, err = run("evaluate", validation, *columns, "--save", "/proc/none/x.json")
    assert (code, out, err.count("\n")) == (84, "", 1)
    assert [*validation.parent.glob("*.part")] == []


def test_a_followed_measure_has_no_gap(planted: Planted) -> None:
    series = Series("pump", "2", measure="latency")
    plant_hours(planted, {"a": 1.0}, hours=12, series=series)
    planted.commit()
    apply(planted.store, bare(1.0))
    found = planted.ask("trend", measure="latency")
    assert isinstance(found, TrendAnswer)
    assert found.gaps == ()
    assert all(math.isnan(point.gap) for point in found.points)


def test_few_windows_give_the_ratio_without_an_interval(planted: Planted) -> None:
    plant_hours(planted, {"a": 1.0}, hours=5, series=Series("pump", "2"))
    planted.commit()
    apply(planted.store, bare(2.0))
    found = planted.ask("trend")
    assert isinstance(found, TrendAnswer)
    (one,) = found.gaps
    assert 0.4 < one.ratio < 0.6
    assert math.isnan(one.low)
    assert any("has no interval: not enough data" in note for note in found.notes)
    assert found.points[0].gap_low < found.points[0].gap


def test_nothing_but_nan_has_no_gap(planted: Planted) -> None:
    refused = ErrorStats()
    refused.update(math.nan, 0.0)
    planted.put("a", refused, series=Series("pump", "2"))
    planted.commit()
    apply(planted.store, bare(2.0))
    found = planted.ask("trend")
    assert isinstance(found, TrendAnswer)
    assert math.isnan(found.gaps[0].ratio)
    assert math.isnan(found.points[0].gap)


def drawn(seed: int, steps: int, each: int, phi: float) -> tuple[ErrorStats, Windows]:
    """Return windows of AR(1) errors of scale 1, merged and one by one."""
    errors = np.array(follow(random.Random(seed), steps * each, phi)).reshape(steps, each)
    stats = ErrorStats()
    stats.update_many(np.zeros(steps * each), errors.ravel())
    weight = np.full(steps, float(each))
    squares = (errors**2).sum(axis=1)
    return stats, Windows(np.arange(steps) * 1.0, weight, weight, squares, errors.sum(axis=1))


@pytest.mark.parametrize(
    ("phi", "offline"), [(0.0, None), (0.6, None), (0.6, 300), (0.9, None), (0.9, 300)]
)
def test_the_interval_of_a_gap_covers(phi: float, offline: int | None) -> None:
    covered = naive = 0
    for seed in range(300):
        stats, windows = drawn(seed, 24, 60, phi)
        base = exactly(1.0)
        if offline is not None:
            base = of_state(drawn(10_000 + seed, 1, offline, 0.0)[0])
        low, high = gap(of_windows(stats, windows), base).interval()
        covered += low <= 1 <= high
        low, high = gap(of_state(stats), base).interval()
        naive += low <= 1 <= high
    # 95 % wanted. From 2,000 runs each: 98.3, 96.0, 95.4, 94.0, 93.0; of independent samples 96.0,
    # 82.0, 92.9, 46.9, 78.5.
    assert covered / 300 > 0.9
    assert naive / 300 < {0.0: 1.0, 0.6: 0.96, 0.9: 0.85}[phi]


def test_the_interval_of_a_step_adds_both_uncertainties() -> None:
    now, offline = stats_of([1.0, -2.0] * 50), stats_of([1.0, -1.0, 3.0] * 20)
    base = Baseline({}, offline.rmse, offline.count, offline, 0)
    found = gap_at(now, *now.rmse_interval(), base)
    exact = gap_at(now, *now.rmse_interval(), Baseline({}, offline.rmse, None, None, 0))
    assert found.ratio == exact.ratio == now.rmse / offline.rmse
    assert found.low < exact.low < exact.high < found.high
    low, high = now.rmse_interval()
    assert [exact.low, exact.high] == pytest.approx([low / offline.rmse, high / offline.rmse])
    assert math.isnan(gap_at(now, low, high, None).ratio)
