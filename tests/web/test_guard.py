"""Host and tokens: which requests are heard, and as whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.types import Receive, Scope, Send

from edgemse.errors import SettingsError
from edgemse.web import Server
from edgemse.web.guard import Guard, Guards, guards_for
from edgemse.web.tokens import Tokens, new_token, token_hash

DAY = 1_800_000_000 // 86_400 * 86_400
"""2027-01-15 00:00 UTC."""


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str, mode: int = 0o600) -> Path:
        path = tmp_path / "tokens"
        path.unlink(missing_ok=True)
        path.write_text("\n".join(lines) + "\n")
        path.chmod(mode)
        return path

    return write


class Answer(NamedTuple):
    """What a guarded application that answers 200 to everything sends."""

    status: int
    headers: dict[str, str]
    body: str


def ask(
    guards: Guards, headers: dict[str, str], method: str = "GET", path: str = "/health"
) -> Answer:
    said: list[dict[str, Any]] = []

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        said.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    guard = Guard(application, guards, ingest_paths=frozenset({"/in"}))
    asyncio.run(guard(scope, receive, send))
    named = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    return Answer(said[0]["status"], named, said[1]["body"].decode())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:8080", 200),
        ("[::1]", 200),
        ("192.0.2.7", 200),
        ("fleet.example", 200),
        ("fleet.example.:443", 200),
        ("evil.example", 421),
        ("evil.example:8080", 421),
        ("127.0.0.1.evil.example", 421),
        ("fleet.example@evil.example", 421),
        ("localhost:8080:evil", 421),
        ("", 421),
    ],
)
def test_a_request_for_another_host_is_not_heard(host: str, status: int) -> None:
    guards = guards_for("127.0.0.1:0", ["Fleet.example"])
    answer = ask(guards, {"Host": host})
    assert answer.status == status
    assert status == 200 or "http_hosts" in json.loads(answer.body)["error"]


def test_a_request_names_its_host() -> None:
    assert ask(guards_for("127.0.0.1:0"), {}).status == 421


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.7:0", "box.example:0"])
def test_beyond_this_machine_nothing_is_served_without_tokens(
    address: str, written: Callable[..., Path]
) -> None:
    with pytest.raises(SettingsError, match="give a file of tokens"):
        Server(address)
    path = written(f"ann read {token_hash('t')}")
    assert guards_for(address, tokens=path).tokens is not None


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0", "127.9.9.9:0"])
def test_on_this_machine_tokens_are_optional(address: str) -> None:
    assert guards_for(address).tokens is None


@pytest.mark.parametrize(
    ("role", "method", "path", "status"),
    [
        ("read", "GET", "/health", 200),
        ("read", "HEAD", "/api/v1/variance", 200),
        ("read", "POST", "/in", 403),
        ("read", "DELETE", "/x", 403),
        ("ingest", "GET", "/health", 403),
        ("ingest", "POST", "/in", 200),
        ("ingest", "POST", "/x", 403),
        ("admin", "GET", "/health", 200),
        ("admin", "POST", "/in", 200),
        ("admin", "DELETE", "/x", 200),
    ],
)
def test_a_role_may_do_what_it_says(
    role: str, method: str, path: str, status: int, written: Callable[..., Path]
) -> None:
    token = new_token()
    guards = guards_for("0.0.0.0:0", tokens=written(f"ann {role} {token_hash(token)}"))
    headers = {"Host": "127.0.0.1", "Authorization": f"Bearer {token}"}
    assert ask(guards, headers, method, path).status == status


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic {}", "{}", "Bearer {}x"]
)
def test_without_a_good_token_nobody_is_heard(
    given: str | None, written: Callable[..., Path]
) -> None:
    token = new_token()
    guards = guards_for("127.0.0.1:0", tokens=written(f"ann admin {token_hash(token)}"))
    headers = {} if given is None else {"Authorization": given.format(token)}
    answer = ask(guards, {"Host": "127.0.0.1"} | headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert token not in answer.body


def test_a_hash_is_not_a_token(written: Callable[..., Path]) -> None:
    tokens = Tokens(written(f"ann read {token_hash('t')}"))
    assert tokens.find("t") is not None
    assert tokens.find(token_hash("t")) is None


def test_a_token_ends_with_its_last_day(written: Callable[..., Path]) -> None:
    time = [float(DAY + 86_399)]
    tokens = Tokens(written(f"ann read {token_hash('t')} 2027-01-15"), now=lambda: time[0])
    found = tokens.find("t")
    assert found is not None
    assert found.name == "ann"
    time[0] += 1
    assert tokens.find("t") is None


def test_a_line_that_is_taken_out_counts_at_once(written: Callable[..., Path]) -> None:
    lines = [f"ann read {token_hash('a')}", "# a comment", f"bob admin {token_hash('b')} # his"]
    path = written(*lines)
    tokens = Tokens(path)
    assert [bool(tokens.find(each)) for each in "abc"] == [True, True, False]
    written(lines[2], f"cy read {token_hash('c')}")
    assert [bool(tokens.find(each)) for each in "abc"] == [False, True, True]
    path.write_text("nonsense\n")
    assert [bool(tokens.find(each)) for each in "abc"] == [False, False, False]
    path.unlink()
    assert tokens.find("b") is None
    written(*lines)
    assert tokens.find("b") is not None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ann read", "2 words, wanted name, role, hash"),
        ("ann root " + token_hash("t"), "role 'root', wanted one of read, ingest, admin"),
        ("ann read edgemse_secret", "the third word is no SHA-256"),
        ("ann read " + token_hash("t") + " soon", "last day 'soon', wanted YYYY-MM-DD"),
        (f"a read {token_hash('t')}\na read {token_hash('u')}", "line 2: a, or its hash, twice"),
        (f"a read {token_hash('t')}\nb read {token_hash('t')}", "line 2: b, or its hash, twice"),
    ],
)
def test_a_file_that_is_no_good_is_told(
    line: str, message: str, written: Callable[..., Path]
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        Tokens(written(line))
    assert "edgemse_secret" not in str(caught.value)


def test_a_file_that_everybody_may_read_is_refused(written: Callable[..., Path]) -> None:
    with pytest.raises(SettingsError, match="everybody may use it"):
        Tokens(written(f"ann read {token_hash('t')}", mode=0o644))
