"""What stands around an answer: its form, its tag, its packing, its headers, its description."""

from __future__ import annotations

import csv
import io
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import SimpleNamespace
from typing import Any

import httpx
import pyarrow
import pytest
from pyarrow import parquet
from support.fleet import NEEDED, Planted, plant_hours

from edgemse.errors import StoreError
from edgemse.fleet.questions import NAMES, find
from edgemse.web import Server, create_app, page


@pytest.fixture(scope="module")
def planted() -> Iterator[Planted]:
    made = Planted()
    plant_hours(made, {f"pi-{n}": 1.0 + n for n in range(8)}, hours=3, per_hour=20)
    made.commit()
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def client(planted: Planted) -> Iterator[httpx.Client]:
    server = Server("127.0.0.1:0")
    server.start(create_app(planted.store, problems=list, metrics=str))
    with httpx.Client(base_url=f"http://{server.address}") as asking:
        yield asking
    server.stop()
    server.close()


def test_a_download_has_the_rows_of_the_command(client: httpx.Client, planted: Planted) -> None:
    answered = client.get("/api/v1/variance?format=csv&sort=rmse&limit=3")
    assert answered.headers["content-type"] == "text/csv; charset=utf-8"
    assert answered.headers["content-disposition"] == 'attachment; filename="variance.csv"'
    rows = list(csv.DictReader(io.StringIO(answered.text)))
    assert [row["device"] for row in rows] == ["pi-7", "pi-6", "pi-5"]
    one: Any = planted.ask("variance", device="pi-7")
    assert float(rows[0]["rmse"]) == one.total.rmse


def test_columns_come_as_files(client: httpx.Client, planted: Planted) -> None:
    wanted = planted.ask("variance", sort="rmse", limit=3).to_arrow()
    path = "/api/v1/variance?sort=rmse&limit=3&format="
    read = {
        "parquet": lambda data: parquet.read_table(io.BytesIO(data)),
        "arrow": lambda data: pyarrow.ipc.open_file(io.BytesIO(data)).read_all(),
    }
    for form, table in read.items():
        answered = client.get(path + form)
        assert answered.headers["content-disposition"].endswith(f'"variance.{form}"')
        found = table(answered.content)
        assert found.drop_columns("r2").equals(wanted.drop_columns("r2"))  # NaN equals nothing
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        refused = client.get("/api/v1/segments?format=arrow")
    assert (refused.status_code, refused.json()["kind"]) == (400, "SettingsError")
    assert "has no pyarrow" in refused.json()["error"]


def test_the_page_is_told_what_the_command_prints(client: httpx.Client, planted: Planted) -> None:
    found = client.get("/api/v1/variance?format=page&sort=rmse&limit=3").json()
    whole = planted.ask("variance")
    table = planted.ask("variance", sort="rmse", limit=3).table()
    assert found["table"]["headings"] == list(table.headings)
    assert found["table"]["rows"] == [list(row) for row in table.rows]
    assert found["table"]["below"] == [list(row) for row in table.below]
    assert found["sentences"] == list(whole.sentences()), "they are about all rows"
    assert len(found["groups"]) == 3
    assert client.get("/api/v1/variance?format=xml").status_code == 400
    assert client.get("/api/v1/variance?format=csv&format=json").status_code == 400


def test_what_has_not_changed_is_not_sent_again(client: httpx.Client, planted: Planted) -> None:
    first = client.get("/api/v1/devices?since=3650d")
    tag = first.headers["etag"]
    again = client.get("/api/v1/devices?since=3651d", headers={"If-None-Match": f'"x", {tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    other = client.get("/api/v1/devices?device=pi-1", headers={"If-None-Match": tag})
    assert other.status_code == 200
    old = {"Cache-Control": "max-age=60"}
    before = client.get("/api/v1/versions", headers=old).json()
    plant_hours(planted, {"late": 9.0}, hours=1)
    planted.commit()
    assert client.get("/api/v1/versions", headers=old).json() == before
    fresh = client.get("/api/v1/versions").json()
    assert fresh["versions"][0]["devices"] == before["versions"][0]["devices"] + 1


def test_long_answers_are_packed_for_who_takes_it(client: httpx.Client) -> None:
    packed = client.get("/api/v1/variance", headers={"Accept-Encoding": "gzip"})
    plain = client.get("/api/v1/variance", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert packed.json() == plain.json()
    assert packed.headers["etag"] == plain.headers["etag"]


@pytest.mark.parametrize("path", ["/", "/api/v1/devices", "/api/v1/nothing", "/health"])
def test_a_browser_is_told_what_it_may(client: httpx.Client, path: str) -> None:
    found = client.get(path).headers
    policy = found["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
    assert "frame-ancestors 'none'" in policy
    assert found["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in found


def test_the_files_of_the_page(client: httpx.Client) -> None:
    for path in page.PATHS:
        got = client.get(path)
        assert got.status_code == 200, path
        again = client.get(path, headers={"If-None-Match": got.headers["etag"]})
        assert again.status_code == 304
    assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/static/main.js").headers["content-type"].startswith("text/javascript")
    assert "MIT" in client.get("/static/uplot/LICENSE").text
    for outside in ("/static/", "/static/../page.py", "/static/%2e%2e/page.py", "/static/no.js"):
        assert client.get(outside).status_code == 404


@pytest.mark.parametrize("name", NAMES)
def test_the_description_is_true(client: httpx.Client, name: str) -> None:
    described = client.get("/openapi.json").json()["paths"][f"/api/v1/{name}"]["get"]
    parameters = {each["name"] for each in described["parameters"]}
    assert parameters >= {option.name for option in find(name).options}
    example = {
        "by": "segment",
        "where": "model=pump",
        "since": "2026",
        "until": "2027",
        "limit": "1",
    }
    needed = NEEDED.get(name, {})
    for each in parameters - needed.keys():
        if each in example:
            got = client.get(f"/api/v1/{name}", params={each: example[each], **needed})
            assert got.status_code == 200, each
    refused = client.get(f"/api/v1/{name}?colour=red").json()["error"]
    named = set(refused.partition("wanted one of ")[2].split(", "))
    assert named | {"sort", "limit", "format"} == parameters
    assert json.dumps(described)


def test_who_hangs_up_stops_his_question() -> None:
    begun, interrupted = Event(), Event()

    class Endless:
        """A view of a store whose SELECTs never end by themselves."""

        def rows(self, *_: object) -> None:
            begun.set()
            assert interrupted.wait(20)
            raise StoreError("interrupted")

        def interrupt(self) -> None:
            interrupted.set()

    @contextmanager
    def reading() -> Iterator[Endless]:
        yield Endless()

    server = Server("127.0.0.1:0")
    store: Any = SimpleNamespace(reading=reading)
    server.start(create_app(store, problems=list, metrics=str))
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(b"GET /api/v1/devices HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert begun.wait(20)
        assert not interrupted.is_set()
    assert interrupted.wait(20)
    server.stop()
    server.close()
