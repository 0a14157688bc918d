from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI
from support.fleet import NEEDED, Planted, plant_hours

from edgemse.errors import StoreError
from edgemse.fleet.questions import NAMES
from edgemse.web import Server, create_app


@contextmanager
def served(app: FastAPI) -> Iterator[httpx.Client]:
    server = Server("127.0.0.1:0")
    server.start(app)
    try:
        with httpx.Client(base_url=f"http://{server.address}") as client:
            yield client
    finally:
        server.stop()
        server.close()


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def client(problems: list[str]) -> Iterator[httpx.Client]:
    planted = Planted()
    plant_hours(planted, {"pi-1": 1.0, "pi-2": 2.0}, hours=3, per_hour=10)
    planted.commit()
    app = create_app(planted.store, problems=lambda: problems, metrics=lambda: "edgemse_up 1\n")
    with served(app) as client:
        yield client
    planted.store.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_question_has_a_route(client: httpx.Client, name: str) -> None:
    needed = NEEDED.get(name, {})
    answered = client.get(f"/api/v1/{name}", params={"model": "pump", "since": "2026"} | needed)
    assert answered.status_code == 200
    found = answered.json()
    assert found["asked"]["where"] == {"model": "pump", "measure": ""}
    assert found["asked"]["since"] == "2026-01-01T00:00:00Z"
    assert found["cells_found"] is True
    silent = client.get(f"/api/v1/{name}", params={"model": "fan"} | needed)
    assert silent.json()["cells_found"] is False


@pytest.mark.parametrize(
    ("query", "kind", "message"),
    [
        ("modle=pump", "SettingsError", "no parameter 'modle'; wanted one of"),
        ("model=a&model=b", "SettingsError", "given 2 times"),
        ("since=noon", "SettingsError", "ISO 8601"),
        ("since=2026-01-02&until=2026-01-01", "SettingsError", "before until"),
        ("where=site=north", "ColumnError", "no column 'site'"),
        ("where=device=%ff", "SettingsError", "the bytes ff, which are no UTF-8"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_asked_is_refused(
    client: httpx.Client, name: str, query: str, kind: str, message: str
) -> None:
    answered = client.get(f"/api/v1/{name}?{query}&{urlencode(NEEDED.get(name, {}))}")
    assert answered.status_code == 400
    assert answered.json()["kind"] == kind
    assert message in answered.json()["error"]


def test_rows_come_in_order_and_up_to_a_limit(client: httpx.Client) -> None:
    found = client.get("/api/v1/devices?sort=rmse&limit=1").json()
    assert [each["device"] for each in found["devices"]] == ["pi-2"]
    assert found["notes"] == ["1 of 2 devices are here: the limit leaves out 1"]
    refused = client.get("/api/v1/devices?sort=colour")
    assert (refused.status_code, refused.json()["kind"]) == (400, "ColumnError")


def test_groups_come_as_asked(client: httpx.Client) -> None:
    found = client.get("/api/v1/variance?by=model&by=device").json()
    assert [group["by"] for group in found["groups"]] == [
        {"model": "pump", "device": "pi-1"},
        {"model": "pump", "device": "pi-2"},
    ]
    assert [group["count"] for group in found["groups"]] == [30, 30]
    assert client.get("/api/v1/devices?by=device").status_code == 400


def test_what_is_not_there_is_said_in_json(client: httpx.Client) -> None:
    answered = client.get("/api/v1/fortune")
    assert (answered.status_code, answered.json()) == (
        404,
        {"error": "GET /api/v1/fortune: Not Found"},
    )
    assert client.post("/api/v1/variance").status_code == 405


def test_a_store_that_fails_is_not_the_askers_fault() -> None:
    def reading() -> None:
        raise StoreError("store fleet.duckdb cannot be read: the disk is gone")

    app = create_app(
        SimpleNamespace(reading=reading),  # type: ignore[arg-type]
        problems=list,
        metrics=str,
    )
    with served(app) as client:
        answered = client.get("/api/v1/variance")
    assert answered.status_code == 503
    assert answered.json()["kind"] == "StoreError"


def test_health_and_metrics(client: httpx.Client, problems: list[str]) -> None:
    assert client.get("/health").json() == {"status": "ok", "reasons": []}
    problems.append("no broker")
    answered = client.get("/health")
    assert (answered.status_code, answered.json()["reasons"]) == (503, ["no broker"])
    assert client.get("/metrics").text == "edgemse_up 1\n"
