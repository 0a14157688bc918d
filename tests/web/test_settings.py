"""Baselines and the registry over HTTP: set, asked, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.fleet import BY, Planted, plant_hours, stats_of

from edgemse.errors import SettingsError, StoreRefusedError, StoreUnreachableError
from edgemse.fleet import ask
from edgemse.fleet.asking import apply
from edgemse.fleet.baseline import BaselineAnswer
from edgemse.fleet.registry import BaselinePart, BaselineSetting, VersionSetting
from edgemse.fleet.upkeep import audit_from
from edgemse.fleet.versions import VersionRow, VersionsAnswer
from edgemse.web import Server, create_app
from edgemse.web.settings import BODY_BYTES_MAX
from edgemse.web.tokens import new_token, token_hash

TOKENS = {role: new_token() for role in ("read", "ingest", "admin")}
ADMIN = TOKENS["admin"]
SHOWN = {"Authorization": f"Bearer {ADMIN}"}


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
def open_to_all(planted: Planted) -> Iterator[str]:
    """A collector on this machine, without tokens."""
    yield from serve(planted)


@pytest.fixture
def url(planted: Planted, tmp_path: Path) -> Iterator[str]:
    """A collector that wants tokens."""
    file = tmp_path / "tokens"
    lines = [f"{role} {role} {token_hash(token)}" for role, token in TOKENS.items()]
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    yield from serve(planted, file)


def setting(rmse: float = 0.5) -> BaselineSetting:
    state = stats_of([1.0, -1.5, 2.0] * 10).to_bytes()
    parts = [BaselinePart(rmse=rmse), BaselinePart(by={"segment": "d&y=é"}, state=state)]
    return BaselineSetting("pump", "v1", parts, **BY)


def versions(planted: Planted) -> tuple[VersionRow, ...]:
    found = planted.ask("versions")
    assert isinstance(found, VersionsAnswer)
    return found.versions


def test_a_baseline_is_set_and_asked_over_http(url: str) -> None:
    assert apply(url, setting(), token=ADMIN) == (2, 0, True)
    assert apply(url, setting(0.7), token=ADMIN) == (2, 0, True)
    found = ask(url, "baseline", token=ADMIN)
    assert isinstance(found, BaselineAnswer)
    whole, part = found.baselines
    assert (whole.rmse, whole.bare, part.part, part.bare) == (0.7, True, "segment=d&y=é", False)
    assert ask(url, "trend", token=ADMIN).to_json()["gaps"][0]["baseline_rmse"] == 0.7


def test_what_is_refused_here_is_refused_there(url: str, planted: Planted) -> None:
    for wrong in (
        BaselineSetting("pump", "v1", [], **BY),
        BaselineSetting("pump", "v1", [BaselinePart(rmse=float("nan"))], **BY),
        BaselineSetting("pu\x1bmp", "v1", [BaselinePart(rmse=1.0)], **BY),
        BaselineSetting("pump", "v1", [BaselinePart(rmse=1.0)], who="a\x1b[2J", host="desk"),
    ):
        with pytest.raises(SettingsError):
            apply(url, wrong, token=ADMIN)
    for body in (b"", b"[]", b'{"model": "m"}', b"\xff", b"[" * 100_000):
        answered = httpx.put(f"{url}/api/v1/baseline", content=body, headers=SHOWN)
        assert (answered.status_code, answered.json()["kind"]) == (400, "SettingsError")
    large = httpx.put(f"{url}/api/v1/baseline", content=b"x" * (BODY_BYTES_MAX + 1), headers=SHOWN)
    assert large.status_code == 400
    nameless = {"model": "pump", "version": "v1", "parts": [{"rmse": 1.0}]}
    answered = httpx.put(f"{url}/api/v1/baseline", json=nameless, headers=SHOWN)
    assert (answered.status_code, "`who`" in answered.json()["error"]) == (400, True)
    assert planted.ask("baseline").to_json()["baselines"] == []
    assert audit_from(url, token=ADMIN).entries == ()


def test_a_page_on_the_web_cannot_set_anything(url: str) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    answered = httpx.options(f"{url}/api/v1/baseline", headers=asked | SHOWN)
    assert "access-control-allow-origin" not in answered.headers
    posted = httpx.post(f"{url}/api/v1/baseline", content=b"{}", headers=SHOWN)
    assert posted.status_code == 405


def test_setting_wants_the_role_admin(url: str) -> None:
    for token in ("", TOKENS["read"], TOKENS["ingest"]):
        with pytest.raises(StoreRefusedError, match="token"):
            apply(url, setting(), token=token)
    assert apply(url, setting(), token=ADMIN).set == 2
    with pytest.raises(StoreRefusedError, match="a valid token is wanted"):
        ask(url, "baseline")
    found = ask(url, "baseline", token=TOKENS["read"])
    assert isinstance(found, BaselineAnswer)
    assert len(found.baselines) == 2


def test_without_tokens_nobody_sets_anything(open_to_all: str, planted: Planted) -> None:
    said = VersionSetting("pump", "v1", owner="Ada", **BY)
    for each in (setting(), said):
        with pytest.raises(StoreRefusedError, match="or stop it and give the path of its store"):
            apply(open_to_all, each)
    assert planted.ask("baseline").to_json()["baselines"] == []
    assert [row.owner for row in versions(planted)] == [""]


def test_the_audit_has_who_set_what(url: str) -> None:
    apply(url, setting(), token=ADMIN)
    apply(url, VersionSetting("pump", "v1", owner="Ada", git="4f2c", **BY), token=ADMIN)
    one, two = audit_from(url, token=ADMIN).entries
    assert (one.action, one.who, one.host, one.token) == ("baseline set", "anna", "desk", "admin")
    assert (one.device, one.details) == ("", "model pump, version v1, parts 2, dropped 0")
    assert (two.action, two.details) == (
        "versions set",
        "model pump, version v1, owner Ada, git 4f2c",
    )


def test_nobody_there_is_told() -> None:
    with pytest.raises(StoreUnreachableError, match="no collector answers"):
        apply("http://127.0.0.1:9", setting())
