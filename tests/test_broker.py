"""The [broker] table: files of secrets, and programs that meet a broker that they cannot use."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from edgemse_agent.command import main
from support.processes import EDGEMSE, edgemse
from support.waiting import eventually

from edgemse.broker import BrokerSettings
from edgemse.errors import SettingsError
from edgemse.settings import PASSWORD_VARIABLE


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_password_is_read_from_a_file_of_few(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text("secret word\n")
    path.chmod(mode)
    broker = BrokerSettings(password_file=path).broker({PASSWORD_VARIABLE: "another"})
    assert broker.password == "secret word"


@pytest.mark.parametrize("mode", [0o644, 0o602, 0o601, 0o666])
def test_a_password_that_everybody_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text("secret")
    path.chmod(mode)
    with pytest.raises(
        SettingsError, match=rf"everybody may use it \(mode {mode:04o}\); say chmod"
    ):
        BrokerSettings(password_file=path).broker({})


def test_an_empty_password_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    with pytest.raises(SettingsError, match=r"password_file .*: is empty"):
        BrokerSettings(password_file=path).broker({})


def test_a_password_from_the_environment_does_not_travel_in_the_open() -> None:
    settings = BrokerSettings("broker.example")
    assert settings.broker({}).port == 1883
    with pytest.raises(SettingsError, match="would travel unencrypted"):
        settings.broker({PASSWORD_VARIABLE: "secret"})


def test_check_reads_the_certificates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('device = "d"\n[broker]\ntls = true\nca_file = "/nowhere/ca.pem"\n')
    assert main(["--config", str(config), "--check"]) == SettingsError.exit_code
    assert "ca_file /nowhere/ca.pem: cannot be read: No such file" in capsys.readouterr().err
    config.write_text('device = "d"\n[broker]\ntls = true\n')
    assert main(["--config", str(config), "--check"]) == 0


def test_a_collector_with_a_bad_authority_ends_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("not a certificate\n")
    options = ["--broker", "localhost:1", "--http", "127.0.0.1:0", "--tls", "--ca-file", path]
    done = edgemse("collector", "--store", tmp_path / "f.duckdb", *options)
    assert done.returncode == SettingsError.exit_code
    assert done.stderr.splitlines()[-1].startswith(f"edgemse: ca_file {path}: not a certificate")


def test_sigterm_ends_a_collector_whose_broker_says_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(30)
        address = "{}:{}".format(*mute.getsockname())
        store = str(tmp_path / "f.duckdb")
        command = [EDGEMSE, "collector", "--store", store, "--broker", address]
        with subprocess.Popen([*command, "--http", "127.0.0.1:0"]) as process:
            connection, _ = mute.accept()
            process.send_signal(signal.SIGTERM)
            assert process.wait(9) == 0  # well before an attempt to connect is given up
            connection.close()


def test_an_agent_waits_for_its_authority_and_ends_by_a_signal(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        f'device = "d"\nledger = "{tmp_path}/ledger"\n[broker]\naddress = "localhost:1"\n'
        f'tls = true\nca_file = "{tmp_path}/ca.pem"\n[delivery]\nfarewell_seconds = 0\n'
    )
    command = [str(Path(sys.executable).with_name("edgemse-agent")), "--config", str(config)]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        eventually(lambda: "cannot be read: No such file" in (tmp_path / "log").read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
