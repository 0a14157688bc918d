"""Upkeep over HTTP: who may, what is refused, and where a token does not go."""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import httpx
import pytest
from support.fleet import Planted, plant_hours

from edgemse.errors import SettingsError, StoreError, StoreRefusedError
from edgemse.fleet import ask
from edgemse.fleet.upkeep import Upkeep, audit_from, carry_out
from edgemse.web import Server, create_app
from edgemse.web.tokens import new_token, token_hash

ADMIN, READ = new_token(), new_token()
RETIRE = {"action": "retire", "device": "a", "who": "anna", "host": "desk"}


class Served(NamedTuple):
    url: str
    planted: Planted


def serve(planted: Planted, tokens: Path | None) -> Iterator[Served]:
    server = Server("127.0.0.1:0", tokens=tokens)
    server.start(create_app(planted.store, problems=list, metrics=str))
    try:
        yield Served(f"http://{server.address}", planted)
    finally:
        server.stop()
        server.close()
        planted.store.close()


@pytest.fixture
def planted() -> Planted:
    planted = Planted()
    plant_hours(planted, {"a": 1.0, "b": 2.0}, hours=3, per_hour=10)
    planted.commit()
    return planted


@pytest.fixture
def served(planted: Planted, tmp_path: Path) -> Iterator[Served]:
    tokens = tmp_path / "tokens"
    tokens.touch(mode=0o600)
    tokens.write_text(f"anna admin {token_hash(ADMIN)}\nboard read {token_hash(READ)}\n")
    yield from serve(planted, tokens)


@pytest.fixture
def open_to_all(planted: Planted) -> Iterator[Served]:
    yield from serve(planted, None)


def put(served: Served, body: object, token: str = ADMIN, **more: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"} | more
    return httpx.put(f"{served.url}/api/v1/upkeep", content=content, headers=headers)


@pytest.mark.parametrize("path", ["audit", "quarantine", "backup"])
def test_parameters_that_a_route_does_not_know_are_refused(served: Served, path: str) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    for query in ("colour=red", "device=a&device=b"):
        answered = httpx.get(f"{served.url}/api/v1/{path}?{query}", headers=headers)
        assert (answered.status_code, answered.json()["kind"]) == (400, "SettingsError")


def test_an_admin_may_and_the_audit_has_the_tokens_name(served: Served) -> None:
    answered = put(served, RETIRE)
    assert (answered.status_code, answered.json()) == (200, {})
    (entry,) = audit_from(served.url, token=ADMIN).entries
    assert (entry.who, entry.host, entry.token, entry.action) == ("anna", "desk", "anna", "retire")
    assert entry.at.endswith("Z")
    assert audit_from(served.url, "b", token=ADMIN).entries == ()


def test_nobody_else_may(served: Served) -> None:
    assert put(served, RETIRE, READ).status_code == 403
    assert put(served, RETIRE, "x").status_code == 401
    for source_token in (READ, ""):
        with pytest.raises(StoreRefusedError, match="EDGEMSE_TOKEN"):
            audit_from(served.url, token=source_token)
    assert httpx.post(f"{served.url}/api/v1/upkeep", json=RETIRE).status_code == 401
    assert audit_from(served.url, token=ADMIN).entries == ()


def test_questions_take_a_token(served: Served) -> None:
    for token in (READ, ADMIN):
        assert len(ask(served.url, "devices", token=token).to_json()["devices"]) == 2
    with pytest.raises(StoreRefusedError, match="a valid token is wanted"):
        ask(served.url, "devices")


def test_without_tokens_nobody_may_and_hears_what_to_do(open_to_all: Served) -> None:
    answered = put(open_to_all, RETIRE)
    assert answered.status_code == 403
    assert "start it with --tokens FILE" in answered.json()["error"]
    with pytest.raises(StoreRefusedError, match="or stop it and give the path of its store"):
        audit_from(open_to_all.url)
    assert len(ask(open_to_all.url, "devices").to_json()["devices"]) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "the body is not JSON"),
        (b"[" * 5_000, "the body is not JSON"),
        ([], "wanted a JSON object with action, device, who and host"),
        ({"action": "retire"}, "wanted a JSON object with action, device, who and host"),
        (RETIRE | {"sudo": True}, "unknown key 'sudo'"),
        (RETIRE | {"action": "burn"}, "wanted one of forget, retire, unretire, rename"),
        (RETIRE | {"device": 7}, "device 7: no text"),
        (RETIRE | {"who": "a\x1b[2J"}, "U\\+001B|U+001B"),
        (RETIRE | {"grown": 1}, "grown 1: wanted true or false"),
        (RETIRE | {"device": "nobody"}, "no device 'nobody'"),
        (RETIRE | {"action": "rename"}, "wanted a device's name"),
        (RETIRE | {"to": "x" * 20_000}, "over 16,384 bytes"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(served: Served, body: object, words: str) -> None:
    answered = put(served, body)
    assert (answered.status_code, answered.json()["kind"]) == (400, "SettingsError")
    assert any(each in answered.json()["error"] for each in words.split("|"))
    assert audit_from(served.url, token=ADMIN).entries == ()


def test_what_travels_is_what_was_meant() -> None:
    upkeep = Upkeep("rename", "a", "anna", "desk", to="b", grown=True)
    assert Upkeep.of_json(upkeep.as_json()) == upkeep
    with pytest.raises(SettingsError, match="action ''"):
        Upkeep("", "a", "anna", "desk")


def test_a_token_is_not_shown_to_whom_a_redirection_names() -> None:
    shown: list[str | None] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["Authorization"])
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/x")
            self.end_headers()

        do_PUT = do_GET  # noqa: N815 - its name

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with pytest.raises(StoreError, match="answers 302"):
            ask(url, "devices", token="secret")
        with pytest.raises(StoreError, match="answers 302"):
            carry_out(url, Upkeep("retire", "a", "anna", "desk"), token="secret")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert shown == ["Bearer secret"] * 2
