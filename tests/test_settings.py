"""Settings: every mistake is told with file, key, value got and value wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgemse_agent.command import main
from edgemse_agent.settings import read

from edgemse.collector import CollectorSettings
from edgemse.errors import SettingsError
from edgemse.settings import load

GOOD = """
device = "pump-7"
ledger = "/tmp/ledger.sqlite"
[broker]
address = "broker.example:8883"
tls = true
[windows]
width_seconds = 3600
[delivery]
durable_seconds = 5
[attributes]
site = "north"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def test_a_file_becomes_typed_settings(tmp_path: Path) -> None:
    settings = read(write(tmp_path, GOOD))
    assert settings.ledger == Path("/tmp/ledger.sqlite")
    assert settings.windows.width_seconds == 3600
    assert settings.delivery.durable_seconds == 5.0
    assert settings.broker.broker().port == 8883
    assert settings.attributes == {"site": "north"}


def test_a_setting_in_seconds_takes_a_duration(tmp_path: Path) -> None:
    text = """
device = "d"
[broker]
keepalive_seconds = "1m"
[windows]
width_seconds = "1h"
grace_seconds = "1.5s"
[pairing]
age_max_seconds = "30 d"
[delivery]
durable_seconds = "90"
farewell_seconds = 2.5
"""
    settings = read(write(tmp_path, text))
    assert settings.broker.keepalive_seconds == 60
    assert (settings.windows.width_seconds, settings.windows.grace_seconds) == (3_600, 1.5)
    assert type(settings.windows.width_seconds) is int
    assert (settings.pairing.age_max_seconds, settings.delivery.durable_seconds) == (2_592_000, 90)
    assert type(settings.pairing.age_max_seconds) is float
    values = {"store": "s", "broker": {"keepalive_seconds": "2min"}}
    assert load(CollectorSettings, values, "c").broker.keepalive_seconds == 120


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("device = 7", "device: got 7, wanted a string"),
        ("", "device is missing; wanted a string"),
        ("device = 'd'\ncolour = 1", "unknown key 'colour'; known are device"),
        ("device = 'd'\n[windows]\nwidth_seconds = 61", "width_seconds: got 61, wanted one of 10"),
        (f"device = 'd'\n[delivery]\ndurable_seconds = {10**400}", "durable_seconds: got 1000"),
        ("device = 'd'\n[windows]\nwidth = 60", "windows: unknown key 'width'"),
        ("device = 'd'\n[broker]\naddress = 'x:y'", "wanted HOST:PORT"),
        ("device = 'd'\n[broker]\nprotocol = '4'", "got '4', wanted one of 5, 3.1.1"),
        ("device = 'd'\n[pairing]\nage_max_seconds = -1", "got -1, wanted 1 to"),
        ("device = 'collector'", "device name 'collector'"),
        ('device = "a\\u001b[2J"', "the character U+001B; set another device name"),
        ('device = "d"\n[attributes]\nsite = "a\\u202eb"', "wanted at most 256 characters, none"),
        ('device = "d"\n[attributes]\n"a\\u0007" = "b"', "wanted at most 256 characters, none"),
        ('device = "d"\n[defaults]\nmodel = "a\\u0007"', "wanted at most 256 characters, none"),
        ('device = "d"\n[defaults]\nversion = "a\\u009b"', "wanted at most 256 characters, none"),
        ('device = "d"\n[windows]\nwidth_seconds = "61s"', "got '61s', wanted one of 10"),
        ('device = "d"\n[windows]\nwidth_seconds = "1.5s"', "got 1.5, wanted a whole number"),
        (
            'device = "d"\n[pairing]\nage_max_seconds = "1 year"',
            "as in 90s, or the seconds as a nu",
        ),
        (
            'device = "d"\n[pairing]\nage_max_seconds = ""',
            "duration '': wanted a number and s, m, h",
        ),
        ('device = "d"\n[pairing]\nage_max_seconds = "-1h"', "duration '-1h'"),
        ('device = "d"\n[pairing]\nage_max_seconds = true', "got True, wanted a number"),
        ('device = "d"\n[pairing]\npending_max = "1h"', "got '1h', wanted a whole number"),
        ("device = ", "not TOML"),
        ("device = 'd'\nattributes = [1]", "attributes: got [1], wanted a table"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)
    assert main(["--config", str(path), "--check"]) == 78
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_check_says_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(write(tmp_path, GOOD)), "--check"]) == 0
    assert "ok: device pump-7" in capsys.readouterr().out


def test_a_password_file_that_is_missing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "device = 'd'\n[broker]\npassword_file = '/nowhere/secret'")
    assert main(["--config", str(path), "--check"]) == 78
    assert "password_file /nowhere/secret: cannot be read" in capsys.readouterr().err


def test_no_settings_at_all_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 78
    assert "--config FILE, or --broker and --device" in capsys.readouterr().err
