"""Baselines and the registry over HTTP: set, asked, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.fleet import Planted, plant_hours, stats_of

from edgemse.errors import SettingsError, StoreError, StoreUnreachableError
from edgemse.fleet import ask
from edgemse.fleet.asking import apply
from edgemse.fleet.baseline import BaselineAnswer
from edgemse.fleet.registry import BaselinePart, BaselineSetting
from edgemse.web import Server, create_app
from edgemse.web.settings import BODY_BYTES_MAX
from edgemse.web.tokens import new_token, token_hash

TOKENS = {role: new_token() for role in ("read", "ingest", "admin")}


@pytest.fixture
def planted() -> Iterator[Planted]:
    planted = Planted()
    plant_hours(planted, {"pi-1": 1.0}, hours=3, per_hour=30)
    planted.commit()
    yield planted
    planted.store.close()


def serve(planted: Planted, tokens: Path | None = None) -> Iterator[str]:
    server = Server("127.0.0.1:0", tokens=tokens)
    server.start(create_app(planted.store, problems=list, metrics=str))
    yield f"http://{server.address}"
    server.stop()
    server.close()


@pytest.fixture
def url(planted: Planted) -> Iterator[str]:
    """A collector on this machine, without tokens."""
    yield from serve(planted)


@pytest.fixture
def guarded(planted: Planted, tmp_path: Path) -> Iterator[str]:
    """A collector that wants tokens."""
    file = tmp_path / "tokens"
    lines = [f"{role} {role} {token_hash(token)}" for role, token in TOKENS.items()]
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    yield from serve(planted, file)


def setting(rmse: float = 0.5) -> BaselineSetting:
    state = stats_of([1.0, -1.5, 2.0] * 10).to_bytes()
    parts = [BaselinePart(rmse=rmse), BaselinePart(by={"segment": "d&y=é"}, state=state)]
    return BaselineSetting("pump", "v1", parts)


def test_a_baseline_is_set_and_asked_over_http(url: str) -> None:
    assert apply(url, setting()) == (2, 0, True)
    assert apply(url, setting(0.7)) == (2, 0, True)
    found = ask(url, "baseline")
    assert isinstance(found, BaselineAnswer)
    whole, part = found.baselines
    assert (whole.rmse, whole.bare, part.part, part.bare) == (0.7, True, "segment=d&y=é", False)
    assert ask(url, "trend").to_json()["gaps"][0]["baseline_rmse"] == 0.7


def test_what_is_refused_here_is_refused_there(url: str, planted: Planted) -> None:
    for wrong in (
        BaselineSetting("pump", "v1", []),
        BaselineSetting("pump", "v1", [BaselinePart(rmse=float("nan"))]),
        BaselineSetting("pu\x1bmp", "v1", [BaselinePart(rmse=1.0)]),
    ):
        with pytest.raises(SettingsError):
            apply(url, wrong)
    for body in (b"", b"[]", b'{"model": "m"}', b"\xff", b"[" * 100_000):
        answered = httpx.put(f"{url}/api/v1/baseline", content=body)
        assert (answered.status_code, answered.json()["kind"]) == (400, "SettingsError")
    large = httpx.put(f"{url}/api/v1/baseline", content=b"x" * (BODY_BYTES_MAX + 1))
    assert large.status_code == 400
    assert planted.ask("baseline").to_json()["baselines"] == []


def test_a_page_on_the_web_cannot_set_anything(url: str) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    answered = httpx.options(f"{url}/api/v1/baseline", headers=asked)
    assert "access-control-allow-origin" not in answered.headers
    assert httpx.post(f"{url}/api/v1/baseline", content=b"{}").status_code == 405


def test_where_there_are_tokens_setting_wants_the_role_admin(guarded: str) -> None:
    for token, code in (("", 401), (TOKENS["read"], 403), (TOKENS["ingest"], 403)):
        with pytest.raises(StoreError, match=f"answers {code}|token"):
            apply(guarded, setting(), token=token)
    assert apply(guarded, setting(), token=TOKENS["admin"]).set == 2
    with pytest.raises(StoreError, match="a valid token is wanted"):
        ask(guarded, "baseline")
    found = ask(guarded, "baseline", token=TOKENS["read"])
    assert isinstance(found, BaselineAnswer)
    assert len(found.baselines) == 2


def test_nobody_there_is_told() -> None:
    with pytest.raises(StoreUnreachableError, match="no collector answers"):
        apply("http://127.0.0.1:9", setting())
