"""The files of deploy/ are ones that the programs take."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from edgemse_agent.settings import read
from support.broker import free_port, mosquitto_binary
from support.deploy import DEPLOY, USERS_SCRIPT, make_users
from support.waiting import eventually

from edgemse.collector import CollectorSettings
from edgemse.settings import load, read_toml
from edgemse.topics import escape

UNITS = [
    DEPLOY / "edgemse-collector.service",
    DEPLOY.parent / "agent" / "edgemse_agent" / "data" / "edgemse-agent.service",
]


def test_the_settings_are_read() -> None:
    agent = read(DEPLOY / "agent.toml")
    assert agent.device == agent.broker.username
    path = DEPLOY / "collector.toml"
    collector = load(CollectorSettings, read_toml(path), str(path))
    assert collector.broker.address == agent.broker.address


def test_mosquitto_starts_with_our_files_and_warns_of_nothing(
    needs_mosquitto: None, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    made = trustme.CA().issue_cert("localhost")
    (tmp_path / "certs").mkdir()
    made.cert_chain_pems[0].write_to_path(tmp_path / "certs" / "server.crt")
    made.private_key_pem.write_to_path(tmp_path / "certs" / "server.key")
    make_users(tmp_path, (DEPLOY / "mosquitto" / "users.txt").read_text())
    config = (DEPLOY / "mosquitto" / "edgemse.conf").read_text()
    config = config.replace("/etc/mosquitto", str(tmp_path))
    config = config.replace("listener 8883", f"listener {free_port()} 127.0.0.1")
    user = "user root\n" if os.geteuid() == 0 else ""
    (tmp_path / "conf").write_text(user + config)
    log = tmp_path / "log"
    binary = mosquitto_binary()
    assert binary is not None
    with log.open("w") as out:
        command = [binary, "-c", str(tmp_path / "conf")]
        broker = subprocess.Popen(command, stdout=out, stderr=out)
    eventually(lambda: "running" in log.read_text() or broker.poll() is not None)
    broker.kill()
    broker.wait()
    told = [re.sub(r"^\d+: ", "", line) for line in log.read_text().splitlines()]
    assert told[-1].endswith("running"), told
    loud = [line for line in told if re.match(r"(Warning|Note|Error)", line)]
    # That is about this test, not about the files.
    assert [line for line in loud if "run as root" not in line] == []


def test_passwords_are_kept_made_and_taken_away(tmp_path: Path, needs_mosquitto: None) -> None:
    first = make_users(tmp_path, "collector collector\ndevice a\ndevice b\n")
    kept = (tmp_path / "edgemse-passwords").read_text().splitlines()
    second = make_users(tmp_path, "# b is gone\ncollector collector\ndevice a\n\ndevice c/d\n")
    lines = (tmp_path / "edgemse-passwords").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["collector", "a", "c%2Fd"]
    assert lines[:2] == kept[:2]
    assert first.keys() == {"collector", "a", "b"}
    assert second["c%2Fd"] not in "".join(lines)
    assert len(second["c%2Fd"]) >= 32
    assert "user b" not in (tmp_path / "edgemse-access").read_text()
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes["edgemse-passwords"] == modes["edgemse-access"] == 0o600
    assert (modes["edgemse-secrets"], modes["a"], modes["c%2Fd"]) == (0o700, 0o600, 0o600)
    assert not [name for name in modes if name.startswith("tmp")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pump-7", "role 'pump-7', wanted one of device, collector, labels, reader"),
        ("device", "wanted one without a colon"),
        ("device a:b", "wanted one without a colon"),
        ("device ..", "wanted one without a colon or a dot in front"),
        ("device group", "is the name of topics"),
        ("reader fleet", "is the name of topics"),
        ("device a\ndevice a", "line 2: 'a' is listed twice"),
    ],
)
def test_a_list_that_is_wrong_changes_nothing(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text(line + "\n")
    command = [sys.executable, USERS_SCRIPT, tmp_path / "users.txt", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["users.txt"]


@pytest.mark.parametrize("name", ["pump-7", "hall 3/north", "50 % + #1", "Pumpe Süd", "$x", "a.b"])
def test_a_user_is_called_as_its_topics(name: str, tmp_path: Path, needs_mosquitto: None) -> None:
    assert make_users(tmp_path, f"device {name}\n").keys() == {escape(name)}


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_hardened_and_not_restarted_in_vain(unit: Path) -> None:
    text = unit.read_text()
    prevented = re.search(r"^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)
    assert prevented is not None
    assert {"64", "78"} <= set(prevented[1].split())
    for wanted in ("User=edgemse", "NoNewPrivileges=true", "CapabilityBoundingSet=\n"):
        assert wanted in text
    tool = shutil.which("systemd-analyze")
    if tool is not None:  # what is above holds where it is not there, too
        command = [tool, "security", "--offline=true", str(unit)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
        exposure = re.search(r"exposure level for .*: ([\d.]+)", said)
        assert exposure is not None, said
        assert float(exposure[1]) < 4
