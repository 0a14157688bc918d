"""The registry of versions: what was made, where it runs, and what devices say that they run."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from support.fleet import BY, START, Planted, plant_hours

from edgemse.cells import Series
from edgemse.cli import entry
from edgemse.errors import SettingsError
from edgemse.fleet.asking import apply
from edgemse.fleet.registry import BaselinePart, BaselineSetting, VersionSetting
from edgemse.fleet.versions import VersionRow, VersionsAnswer
from edgemse.web import Server, create_app
from edgemse.web.tokens import new_token, token_hash

Run = Callable[..., tuple[int, str, str]]
HOUR = 3_600


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgemse", *map(str, arguments)])
        code = entry.main()
        return (code, *capsys.readouterr())

    return run


def plant(planted: Planted) -> None:
    """Put version 1 on three devices, version 2 on two of them afterwards."""
    scales = dict.fromkeys(("a", "b", "c"), 1.0)
    plant_hours(planted, scales, hours=4, per_hour=10, series=Series("pump", "1"))
    plant_hours(
        planted, dict.fromkeys(("a", "b"), 1.0), hours=6, per_hour=10, series=Series("pump", "2")
    )
    planted.commit()


def versions(planted: Planted, **asked: object) -> VersionsAnswer:
    found = planted.ask("versions", **asked)
    assert isinstance(found, VersionsAnswer)
    return found


def row(planted: Planted, version: str, **asked: object) -> VersionRow:
    (found,) = (each for each in versions(planted, **asked).versions if each.version == version)
    return found


def test_versions_are_listed_with_what_was_said_of_them(planted: Planted) -> None:
    plant(planted)
    said = VersionSetting("pump", "2", "Ada", "4f2c", "pumps-2026-01", "sha256:aa", **BY)
    assert apply(planted.store, said, now=START) == (1, 0, True)
    assert (
        apply(planted.store, VersionSetting("pump", "3", owner="Ben", **BY), now=START).cells
        is False
    )
    apply(planted.store, BaselineSetting("pump", "2", [BaselinePart(rmse=0.9)], **BY), now=START)
    one, two, three = versions(planted).versions
    assert [one.version, two.version, three.version] == ["1", "2", "3"]
    assert (one.first, one.last) == ("2026-01-01T00:00:00Z", "2026-01-01T04:00:00Z")
    assert (one.devices, one.count, two.devices, two.count) == (3, 120, 2, 120)
    assert (two.owner, two.git, two.training_data) == ("Ada", "4f2c", "pumps-2026-01")
    assert (two.preprocessing_sha, two.baseline_rmse) == ("sha256:aa", 0.9)
    assert (one.owner, one.set_at, one.mismatch) == ("", None, None)
    assert (three.first, three.devices, three.count, three.owner) == (None, 0, 0, "Ben")
    assert math.isnan(three.rmse)
    assert [each.version for each in versions(planted, version="3").versions] == ["3"]
    assert [each.version for each in versions(planted, device="c").versions] == ["1"]
    assert versions(planted, model="fan").versions == ()


def test_what_is_not_said_again_stays(planted: Planted) -> None:
    apply(planted.store, VersionSetting("pump", "2", "Ada", "4f2c", **BY), now=START)
    apply(planted.store, VersionSetting("pump", "2", git="99ab", **BY), now=START + 60)
    found = row(planted, "2")
    assert (found.owner, found.git, found.set_at) == ("Ada", "99ab", "2026-01-01T00:01:00Z")
    apply(planted.store, VersionSetting("pump", "2", owner="", **BY), now=START)
    assert row(planted, "2").owner == ""


def test_a_version_that_runs_with_two_preprocessings_is_named(planted: Planted) -> None:
    plant(planted)
    for device, checksum in {"a": "aa", "b": "bb", "c": "aa"}.items():
        planted.say(device, preprocessing=checksum)
    found = versions(planted)
    assert row(planted, "1").checksums == {"aa": 2, "bb": 1}
    assert [each.mismatch for each in found.versions] == [True, True]
    assert row(planted, "1").deviating == ("b",)
    said = [*found.sentences()]
    assert said[0] == (
        "pump 1 runs with several preprocessings: none is registered, reported are aa on 2"
        " devices, bb on 1 device; look at b"
    )
    assert "runs another" in found.table().headings


def test_a_version_that_does_not_run_with_its_own_is_named(planted: Planted) -> None:
    plant(planted)
    for device in "abc":
        planted.say(device, preprocessing="bb")
    assert [each.mismatch for each in versions(planted).versions] == [False, False]
    apply(planted.store, VersionSetting("pump", "1", preprocessing_sha="bb", **BY))
    apply(planted.store, VersionSetting("pump", "2", preprocessing_sha="aa", **BY))
    one, two = versions(planted).versions
    assert (one.mismatch, two.mismatch, two.deviating) == (False, True, ("a", "b"))
    (said,) = versions(planted).sentences()
    assert said == (
        "pump 2 does not run with its own preprocessing: registered with aa, reported are bb on 2"
        " devices; look at a, b"
    )


def test_only_what_ran_at_the_time_counts(planted: Planted) -> None:
    plant(planted)
    for device in "ab":
        planted.say(device, preprocessing="aa")
        planted.say(device, START + 5 * HOUR, preprocessing="bb")
    planted.say("c", preprocessing="aa")
    assert row(planted, "1").checksums == {"aa": 3}
    assert row(planted, "2").checksums == {"aa": 2, "bb": 2}
    later = START + 5 * HOUR
    assert row(planted, "2", since=later).mismatch is False


def test_what_devices_do_not_say_is_not_known(planted: Planted) -> None:
    plant(planted)
    apply(planted.store, VersionSetting("pump", "1", preprocessing_sha="aa", **BY))
    found = versions(planted)
    assert found.versions[0].mismatch is None
    assert found.notes == (
        "no device that runs pump 1 reports the attribute preprocessing: with what it runs is not"
        " known",
    )
    planted.say("a", preprocessing="aa")
    found = versions(planted)
    assert (found.versions[0].mismatch, found.versions[0].unreported) == (False, 2)
    assert found.notes == (
        "devices that do not report the attribute preprocessing: 2 of pump 1, 1 of pump 2",
    )


def test_many_deviating_devices_are_counted(planted: Planted) -> None:
    scales = {f"d{n:02}": 1.0 for n in range(12)}
    plant_hours(planted, scales, hours=1, per_hour=5)
    planted.commit()
    for number, device in enumerate(scales):
        planted.say(device, preprocessing=f"sum-{number}")
    (said,) = versions(planted).sentences()
    assert "sum-0 on 1 device, sum-1 on 1 device, sum-10 on 1 device" in said
    assert " and 7 more; " in said
    assert "look at d01, d02, d03, d04, d05 and 6 more" in said


def test_by_command_and_over_http(run: Run, tmp_path: Path) -> None:
    planted = Planted(tmp_path / "fleet.duckdb")
    plant(planted)
    token, tokens = tmp_path / "token", tmp_path / "tokens"
    for file in (token, tokens):
        file.touch(mode=0o600)
    token.write_text(new_token())
    tokens.write_text(f"ada admin {token_hash(token.read_text())}\n")
    server = Server("127.0.0.1:0", tokens=tokens)
    server.start(create_app(planted.store, problems=list, metrics=str))
    url = f"http://{server.address}"
    set_it = ("fleet", "versions", "set", "pump", "2", "--from")
    try:
        assert run(*set_it, url, "--owner", "Ada")[0] == 76
        shown = ("--token-file", token)
        registered = (0, "pump 2: registered\n", "")
        assert run(*set_it, url, "--owner", "Ada", *shown) == registered
        code, out, _ = run("fleet", "versions", "--from", url, *shown, "--format", "json")
        assert json.loads(out)["versions"][1]["owner"] == "Ada"
    finally:
        server.stop()
        server.close()
        planted.store.close()
    options = ("--git", "4f2c", "--training-data", "s3://x", "--preprocessing-sha", "aa")
    assert run(*set_it, planted.path, *options)[0] == 0
    for command in (("versions",), ("versions", "show")):
        code, out, err = run("fleet", *command, "--from", planted.path)
        assert (code, err) == (0, "")
        assert all(text in out for text in ("Ada", "4f2c", "s3://x", "aa", "2026-01-01T06:00:00Z"))
    assert run("fleet", "versions")[0] == 64
    code, _, err = run("fleet", "versions", "--from", url, "set", "pump", "2", "--owner", "x")
    assert (code, "options stand behind 'set'" in err) == (64, True)
    code, _, err = run(
        "fleet", "versions", "--token-file", token, "set", "pump", "2", "--from", url
    )
    assert (code, "options stand behind 'set'" in err) == (64, True)
    helped = run("fleet", "versions", "--help")[1]
    assert "set" in helped
    assert "--from" in helped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing to set; wanted one of --owner, --git, --training-data, --preprocessing-sha"),
        (("--owner", "a" * 257), "owner 'aaa"),
        (("--git", "4f\x1b[2J"), "git '4f"),
    ],
)
def test_what_is_no_registration_is_one_line(
    run: Run, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    path = tmp_path / "fleet.duckdb"
    Planted(path).store.close()
    code, out, err = run("fleet", "versions", "set", "pump", "2", "--from", path, *options)
    assert (code, out, err.count("\n")) == (78, "", 1)
    assert message in err
    assert "\x1b" not in err
    assert run("fleet", "versions", "--from", path)[2] == "edgemse: no cell: the store is empty\n"


def test_hostile_names_stay_text(planted: Planted) -> None:
    name = "'; DELETE FROM cells; --<script>"
    plant(planted)
    apply(planted.store, VersionSetting(name, name, owner=name, **BY))
    found = versions(planted)
    assert [each.model for each in found.versions] == [name, "pump", "pump"]
    assert "<script>" not in found._repr_html_()
    with pytest.raises(SettingsError, match="version"):
        apply(planted.store, VersionSetting("pump", "a\u202eb", owner="x", **BY))


def test_two_writers_lose_nothing(planted: Planted) -> None:
    def write(fact: str) -> None:
        for number in range(15):
            apply(planted.store, VersionSetting("pump", "2", **{fact: str(number)}, **BY))

    threads = [Thread(target=write, args=(fact,)) for fact in ("owner", "git")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = row(planted, "2")
    assert (found.owner, found.git) == ("14", "14")
