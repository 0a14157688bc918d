"""`edgemse-agent` as people and scripts use it, beside the daemon itself."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from edgemse_agent import finding, sending, trying
from edgemse_agent.command import main
from edgemse_agent.options import COMMANDS, parser
from edgemse_agent.settings import AgentSettings, read
from support.broker import free_port
from support.processes import edgemse
from support.waiting import eventually

from edgemse.mqtt import Broker, Connection, Publication
from edgemse.presence import Presence, encode_presence
from edgemse.settings import PASSWORD_VARIABLE, load

PAIR = '{"y_true": 1.0, "y_pred": 1.5}'


class Done(NamedTuple):
    code: int
    out: str
    err: str

    def line(self) -> str:
        """Return the one line that it said on standard error."""
        (line,) = self.err.splitlines()
        return line


Run = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default places, empty and under one folder."""
    monkeypatch.setattr(finding, "CONFIG", tmp_path / "etc.toml")
    monkeypatch.setattr("edgemse_agent.effective.CONFIG", tmp_path / "etc.toml")
    monkeypatch.setattr(finding, "RUNTIME", tmp_path / "run")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Done:
        try:
            code: Any = main([*map(str, arguments)])
        except SystemExit as end:
            code = end.code
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def agent(home: Path) -> Iterator[Path]:
    """A running agent without a broker nor settings, in the default place: its socket."""
    with running(home) as path:
        yield path


@pytest.fixture
def agent_in_haste(home: Path) -> Iterator[Path]:
    """The same, but at its end it does not wait for a broker to take its cells."""
    settings = home / "hasty.toml"
    places = f'ledger = "{home}/ledger"\nsocket = "{home}/edgemse/pump-7/agent.sock"\n'
    settings.write_text(f'device = "pump-7"\n{places}[delivery]\nfarewell_seconds = 0\n')
    with running(home, "--config", str(settings)) as path:
        yield path


@contextmanager
def running(home: Path, *more: str) -> Iterator[Path]:
    command = [sys.executable, "-P", "-m", "edgemse_agent.command", *more]
    given = ["--broker", f"127.0.0.1:{free_port()}", "--device", "pump-7"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([*command, *given], stderr=log)
    path = home / "edgemse" / "pump-7" / "agent.sock"
    try:
        eventually(lambda: not finding._why_not(path))
        yield path
        process.terminate()
        assert process.wait(30) == 0, (home / "log").read_text()
    finally:
        process.kill()


@pytest.fixture
def listener(home: Path) -> Iterator[Callable[[Path], socket.socket]]:
    """Make sockets that listen, and close them."""
    made = []

    def listen(path: Path) -> socket.socket:
        path.parent.mkdir(parents=True, exist_ok=True)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        made.append(server)
        return server

    yield listen
    for server in made:
        server.close()


@pytest.mark.parametrize("arguments", [["status"], ["release"], ["send", PAIR]])
def test_no_agent_has_an_exit_code_of_its_own(run: Run, home: Path, arguments: list[str]) -> None:
    for given in ([], ["--device", "d"], ["--socket", home / "s"]):
        done = run(*arguments, *given)
        assert (done.code, done.out) == (85, "")
        assert "no agent" in done.line()
    dead = home / "edgemse" / "d" / "agent.sock"
    dead.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(dead))
    assert f"{dead}: Connection refused" in run(*arguments).line()
    (home / "etc.toml").write_text(f'device = "d"\nsocket = "{home}/s"')
    assert f"{home}/s: No such file" in run(*arguments).line()


def test_the_one_that_runs_is_found(run: Run, home: Path, agent: Path) -> None:
    (home / "etc.toml").write_text(f'device = "other"\nsocket = "{home}/s"')
    done = run("status")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["status"]["device"] == "pump-7"
    assert run("status", "--device", "pump-7").code == 0
    assert run("status", "--socket", agent).code == 0
    assert json.loads(run("release").out) == {"released": 0}
    assert run("status", "--device", "other").code == 85


def test_several_are_listed(run: Run, home: Path, listener: Any) -> None:
    paths = [home / "run" / "agent.sock", home / "edgemse" / "d" / "agent.sock"]
    for path in paths:
        listener(path)
    done = run("status")
    assert (done.code, done.out) == (78, "")
    assert f"several agents run here: {paths[0]}, {paths[1]}; say which" in done.line()


def test_a_line_is_sent_until_it_is_durable(run: Run, agent_in_haste: Path) -> None:
    done = run("send", PAIR, '{"id": 1, "y_pred": 2}', '{"id": 1, "y_true": NaN}')
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {"durable": 3, "refused": []}
    status = json.loads(run("status").out)["status"]
    assert (status["cells_waiting"], status["ids_waiting"]) == (1, 1)
    assert status["health"]["samples"] == 1


def test_options_may_stand_before_and_behind_a_command(run: Run, agent_in_haste: Path) -> None:
    at = ["--socket", str(agent_in_haste)]
    for arguments in ([*at, "send", PAIR], ["send", *at, PAIR], ["send", PAIR, *at]):
        assert run(*arguments).code == 0
    assert run("send", *at, PAIR, PAIR, "--verbose").code == 0
    assert "wanted nothing behind it, got 'x'" in run("status", *at, "x").line()


def test_what_the_agent_refuses_is_told_by_its_line(
    run: Run, agent_in_haste: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("send", PAIR, '{"y_true": "warm", "y_pred": 1}')
    assert done.code == 65
    assert done.line() == "edgemse-agent: line 2: y_true: got text, wanted a number"
    assert json.loads(done.out)["durable"] == 1
    monkeypatch.setattr(sys, "stdin", piped(f"\n{PAIR}\n\n\n{{}}\n".encode()))
    assert run("send", "-").line().startswith("edgemse-agent: line 5: ")
    bad = ["{}\n"] * 25
    monkeypatch.setattr(sys, "stdin", piped("".join([PAIR, "\n\n", *bad]).encode()))
    done = run("send", "-")
    assert (done.code, json.loads(done.out)["durable"]) == (65, 1)
    assert "more bad lines" in done.err.splitlines()[-1]


def piped(data: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data))


def test_what_is_no_text_is_no_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", piped(b"\n\xff\xfe{}\x00"))
    done = run("send", "-")
    assert (done.code, done.out) == (65, "")
    assert "line 2: not JSON" in done.line()
    monkeypatch.setattr(sys, "stdin", None)
    assert run("send", "-").code == 65


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("warm", "line 1: not JSON: expecting value at character 1; wanted one object"),
        ("[1]", "line 1: got '[1]', wanted a sample, prediction or label"),
        ('{"request": "flush"}', "wanted a sample"),
        ('{"y_true": 1, "y_true": 2}', "line 1: the key 'y_true' stands twice; nothing was sent"),
        ('{"session": "s"}', "wanted a sample"),
    ],
)
def test_what_is_no_line_is_not_sent(run: Run, text: str, told: str) -> None:
    done = run("send", text)
    assert (done.code, done.out) == (65, "")
    assert told in done.line()


def test_an_agent_that_does_not_confirm_is_told(
    run: Run, home: Path, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending.send, "__kwdefaults__", {"seconds": 0.2})
    server = listener(home / "edgemse" / "d" / "agent.sock")
    done = run("send", PAIR)
    assert (done.code, done.out) == (75, "")
    assert "1 lines are not durable: timed out" in done.line()

    def hang_up() -> None:
        for _ in range(3):  # that of before, that which looks for an agent, that which sends
            server.accept()[0].close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    done = run("send", PAIR)
    thread.join()
    assert done.code == 75


GIVEN = """
device = "pump-7"
socket = "/run/edgemse/agent.sock"
[broker]
address = "broker.example:8883"
username = "pump-7"
password_file = "/etc/edgemse/broker-password"
[pairing]
age_max_seconds = "30d"
[attributes]
site = "north \\" 1"
"number one" = "2"
"""


def test_the_settings_are_printed_with_where_they_came_from(run: Run, home: Path) -> None:
    config = home / "agent.toml"
    config.write_text(GIVEN)
    done = run("--print-config", "--config", config, "--broker", "other:1", "--ledger", "/l\x7f")
    assert (done.code, done.err) == (0, "")
    assert load(AgentSettings, tomllib.loads(done.out), "printed") == load(
        AgentSettings,
        tomllib.loads(GIVEN.replace("broker.example:8883", "other:1")) | {"ledger": "/l\x7f"},
        "given",
    )
    origins = {line.split(" = ")[0]: line.split(" # ")[-1] for line in done.out.splitlines()}
    for key in ("device", "password_file", "age_max_seconds", "site", '"number one"'):
        assert origins[key] == str(config)
    assert (origins["address"], origins["ledger"]) == ("--broker", "--ledger")
    assert (origins["durable_seconds"], origins["model"]) == ("default", "default")


def test_rules_and_their_broker_are_printed_as_they_are_read(run: Run, home: Path) -> None:
    config = home / "agent.toml"
    config.write_text(
        GIVEN
        + """
        [[mqtt]]
        topic = "plug/{name}"
        y_true = ".power"
        y_pred = ".model[0].p"
        features = { load = ".l", "a b" = ".b" }
        words = { ON = 1, OFF = 0 }
        scale = 0.0
        [[mqtt]]
        topic = "other/+"
        value = "."
        measure = "latency"
        [mqtt_broker]
        address = "127.0.0.1:1884"
        """
    )
    done = run("--print-config", "--config", config)
    assert (done.code, done.err) == (0, "")
    again = home / "printed.toml"
    again.write_text(done.out)
    assert read(again) == read(config)
    assert f"\n{'measure = ' + chr(34) + 'latency' + chr(34):44} # {config}\n" in done.out + "\n"


def test_settings_without_a_file_and_a_secret_that_is_not_shown(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "s3cret")
    done = run("--print-config", "--device", "pump-7")
    assert done.code == 0
    assert f"password_file: none # the password is in ${PASSWORD_VARIABLE}" in " ".join(
        done.out.split()
    )
    assert "s3cret" not in done.out
    assert tomllib.loads(done.out)["socket"] == str(home / "edgemse" / "pump-7" / "agent.sock")
    assert "--device" in done.out.splitlines()[2]
    assert run("--print-config").code == 78


def test_a_default_device_is_this_board_and_it_is_said(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEMSE_BOARD", "10000000b5d8c9a2")
    monkeypatch.setattr(socket, "gethostname", lambda: "pump-room")
    for given in (["--broker", "b:1"], ["--config", home / "auto.toml"]):
        (home / "auto.toml").write_text('device = "auto"')
        first = run("--print-config", *given).out.splitlines()[0]
        assert first.startswith('device = "pump-room-d8c9a2"')
        assert first.endswith("the host's name and EDGEMSE_BOARD")


def test_the_ledger_s_place_is_checked(run: Run, home: Path) -> None:
    done = run("--check", "--device", "d", "--ledger", home)
    assert (done.code, done.out) == (78, "")
    assert "is a folder" in done.line()


ACCESS = """
user d
topic readwrite edgemse/v1/d/#
topic read edgemse/v1/collector/#
user c
topic readwrite edgemse/v1/collector/#
"""


def test_check_asks_the_broker_on_request(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch, start_broker: Any
) -> None:
    monkeypatch.setattr(trying, "COLLECTOR_SECONDS", 0.2)
    nobody = f"127.0.0.1:{free_port()}"
    done = run("--check", "--connect", "--device", "d", "--broker", nobody)
    assert (done.code, done.out) == (69, f"ok: device d, broker {nobody}\n")
    assert "no MQTT broker at" in done.line()
    broker = start_broker({"d": "right", "c": "c"}, access=ACCESS)
    config = home / "agent.toml"
    config.write_text(f'device = "d"\nbroker = {{address = "{broker.address}", username = "d"}}')

    def asked(password: str) -> Done:
        monkeypatch.setenv(PASSWORD_VARIABLE, password)
        return run("--check", "--connect", "--config", config)

    done = asked("wrong")
    assert done.code == 77
    assert "refuses the connection: Not authorized" in done.line()
    done = asked("right")
    assert (done.code, done.err) == (0, "")
    assert f"connected to {broker.address}: MQTT 5, packets up to" in done.out
    assert "no collector has been there" in done.out
    there, away = (Presence(online, "edgemse", "r", store="abc") for online in (True, False))
    for payload, told in (
        (encode_presence(there), "collector main is online, store abc"),
        (encode_presence(away), "collector main is offline"),
        (b"{", "collector main: its presence cannot be read"),
    ):
        keep(broker.address, Publication("edgemse/v1/collector/main", payload, retain=True))
        assert told in asked("right").out


def keep(address: str, publication: Publication) -> None:
    """Have the broker retain a collector's presence."""
    connection = Connection(Broker.at(address, username="c", password="c"), "c", birth=publication)
    connection.start(must_connect=True)
    connection.stop()


def test_bash_completes_commands_options_and_files(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(run("--print-completion", "bash").out)

    def completed(*words: str) -> list[str]:
        asked = f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1};"
        asked += 'compopt() { echo "files"; }; _edgemse_agent; echo "${COMPREPLY[@]}"'
        ran = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=20)
        assert ran.stderr == ""
        return ran.stdout.split()

    assert completed("edgemse-agent", "st") == ["status"]
    assert completed("edgemse-agent", "--print") == ["--print-config", "--print-completion"]
    assert completed("edgemse-agent", "--print-completion", "b") == ["bash"]
    assert completed("edgemse-agent", "--config", "x") == ["files"]
    assert completed("edgemse-agent", "--device", "x") == []
    known = {o for a in parser()._actions for o in a.option_strings} | set(COMMANDS)
    assert set(completed("edgemse-agent", "''")) == known


def test_both_programs_look_alike(run: Run, tmp_path: Path) -> None:
    mine, other = run("-h"), edgemse("-h")
    assert (mine.code, other.returncode) == (0, 0)
    for text, name in ((mine.out, "edgemse-agent"), (other.stdout, "edgemse")):
        assert text.startswith(f"Usage: {name} [OPTIONS] ")
        assert "\nOptions:\n" in text
        assert "\nCommands" in text
        assert "-h, --help" in text
    assert run("--help").out == mine.out
    assert run("--version").out == edgemse("--version").stdout
    for wrong in (["--colour"], ["foo"]):
        done, theirs = run(*wrong), edgemse(*wrong)
        assert (done.code, theirs.returncode) == (64, 64)
        assert done.line().endswith("(edgemse-agent -h says more)")
        assert theirs.stderr.endswith("(edgemse -h says more)\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["send"], "send: wanted a line, or - for standard input"),
        (["status", "x"], "status: wanted nothing behind it, got 'x'"),
        (["--connect"], "--connect goes with --check"),
    ],
)
def test_wrong_use_is_one_line(run: Run, arguments: list[str], told: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (64, "")
    assert told in done.line()


def test_a_full_disk_is_one_line(home: Path) -> None:
    command = [sys.executable, "-m", "edgemse_agent.command", "--print-config", "--device", "d"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, env=os.environ
        )
    assert ran.returncode == 84
    assert ran.stderr == "edgemse-agent: standard output: No space left on device\n"


def test_the_file_of_the_default_place_is_read(run: Run, home: Path) -> None:
    (home / "etc.toml").write_text(GIVEN)
    assert read(home / "etc.toml").device == "pump-7"
    assert run("--print-config").out.startswith('device = "pump-7"')
