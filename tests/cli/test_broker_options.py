"""Every command that connects to a broker has the same options, which end in the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from edgemse.broker import BrokerSettings
from edgemse.cli.app import app
from edgemse.cli.broker_options import BrokerOptions, connects
from edgemse.errors import SettingsError

COMMANDS = ("collector", "replay", "labels send", "config set", "config show", "config clear")
SAID = {
    "address": "broker.example:8883",
    "username": "pi-1",
    "password_file": "/etc/edgemse/password",
    "ca_file": "/etc/ca.pem",
    "cert_file": "/etc/pi-1.pem",
    "key_file": "/etc/pi-1.key",
    "protocol": "3.1.1",
    "prefix": "plant/v1",
}


def options_of(command: Any) -> dict[str, tuple[str, ...]]:
    return {each.name: tuple(each.opts) for each in command.params}


def commands(name: str) -> Any:
    found: Any = typer.main.get_command(app)
    for word in name.split():
        found = found.commands[word]
    return found


@pytest.mark.parametrize("name", [*COMMANDS, "fleet forget"])
def test_a_command_that_connects_has_all_of_them(name: str) -> None:
    has = options_of(commands(name))
    assert has["address"] == ("--broker",)
    for key in [*SAID, "tls", "allow_plaintext_password"]:
        assert key in has, key
        assert key == "address" or has[key] == (f"--{key.replace('_', '-')}",)


def run(*arguments: str, required: bool = True) -> tuple[int, list[BrokerOptions]]:
    heard: list[BrokerOptions] = []
    alone = typer.Typer()

    @alone.command()
    @connects(required=required)
    def command(broker: BrokerOptions) -> None:
        heard.append(broker)

    return CliRunner().invoke(alone, [*arguments]).exit_code, heard


def test_what_is_said_becomes_settings() -> None:
    said = [part for key, value in SAID.items() for part in (f"--{key.replace('_', '-')}", value)]
    code, (options,) = run("--broker", *said[1:], "--tls", "--allow-plaintext-password")
    assert code == 0
    assert bool(options)
    wanted: dict[str, Any] = SAID | {"password_file": Path(SAID["password_file"])}
    assert options.settings() == BrokerSettings(**wanted, tls=True, allow_plaintext_password=True)


def test_what_is_not_said_is_left_to_others() -> None:
    assert run("--broker", "b:1")[1][0].said == {"address": "b:1"}
    code, (options,) = run(required=False)
    assert (code, options.said, bool(options)) == (0, {}, False)
    assert run() == (2, [])  # the programs make 64 of it


@pytest.mark.parametrize(
    ("said", "words"),
    [({"protocol": "4"}, "wanted one of 5, 3.1.1"), ({"ca_file": "/x"}, "of no use without tls")],
)
def test_what_is_wrong_is_told_with_its_option(said: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        BrokerOptions(said).settings()
