"""The page in a real browser: each view, its figures, hostile names, and what goes wrong."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from support.broker import free_port
from support.browser import Browser, Page
from support.fleet import Planted, plant_hours, stats_of
from support.page_fleet import HOSTILE, HOUR, one_device, page_fleet

from edgemse.fleet import ask
from edgemse.fleet.answers import text
from edgemse.web import Server, create_app, page
from edgemse.web.tokens import new_token, token_hash

pytestmark = pytest.mark.timeout(300)

STATIC = page.STATIC
SINCE = str(int(time.time()) // HOUR * HOUR - 72 * HOUR)
"""Of every view: the same second for the page and for the command."""
VIEWS = {
    "overview": ["Model pump"],
    "oncall": ["Diagnosis", "Labels", "Worst segments", "Worst devices"],
    "device": ["What it says of itself", "Windows", "Figures by version", "Segments"],
    "compare": ["Gate", "Segments", "Tails", "Mix"],
    "variance": ["Caterpillar", "Funnel", "The worst"],
    "drift": ["Then and now"],
}
BYTES_MAX = 400_000
"""Of code and data at the first view."""


@contextmanager
def served(planted: Planted, tokens: Path | None = None, port: int = 0) -> Iterator[str]:
    server = Server(f"127.0.0.1:{port}", tokens=tokens)
    server.start(create_app(planted.store, problems=list, metrics=str))
    try:
        yield f"http://{server.address}"
    finally:
        server.stop()
        server.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    running = Browser(tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    opened = browser.open()
    opened.size(1440)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def planted() -> Iterator[Planted]:
    made = page_fleet()
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def url(planted: Planted) -> Iterator[str]:
    with served(planted) as address:
        yield address


def at(url: str, view: str, **more: str) -> str:
    said = {"view": view, "model": "pump", "since": SINCE, **more}
    said |= {"device": HOSTILE} if view == "device" else {}
    return f"{url}/?{urlencode(said)}"


def narrow(tab: Page) -> bool:
    """Tell whether nothing is wider than the window: a page that scrolls sideways is unreadable."""
    return bool(tab.run("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_is_drawn(tab: Page, url: str, view: str) -> None:
    for width, dark in ((1440, False), (360, True)):
        tab.size(width, dark=dark)
        tab.go(at(url, view))
        found = tab.text("main")
        assert [each for each in VIEWS[view] if each not in found] == []
        assert narrow(tab), f"{width} px"
    assert tab.run("document.querySelectorAll('nav a[aria-current]').length") == 1
    # Nothing that can be worked is without a name, and no figure is a picture alone.
    nameless = "[...document.querySelectorAll('input, select')].filter((e) => !e.labels.length)"
    assert tab.run(f"{nameless}.length") == 0
    assert tab.run("document.querySelectorAll('.chart:not([aria-label])').length") == 0
    assert tab.run("document.querySelectorAll('img, iframe, object').length") == 0
    assert tab.trouble == []


@pytest.mark.parametrize(
    ("view", "caption", "question", "asked"),
    [
        ("oncall", "What was looked at", "diagnose", {"since": None}),
        ("oncall", "Devices", "devices", {"sort": "silent", "limit": 20}),
        ("device", "Residuals", "variance", {"by": ["model", "version"], "device": HOSTILE}),
        ("compare", "Checks", "gate", {"a": "v1", "b": "v2", "by": ["segment"], "max_ratio": 1.05}),
        ("compare", "b to a in each segment", "compare", {"a": "v1", "b": "v2", "by": ["segment"]}),
        ("variance", "By their RMSE to the median", "variance", {"sort": "ratio", "limit": 50}),
    ],
)
def test_tables_are_those_of_the_command(
    tab: Page, url: str, view: str, caption: str, question: str, asked: dict[str, object]
) -> None:
    tab.go(at(url, view))
    named: dict[str, Any] = {"model": "pump", "since": SINCE} | asked
    table = ask(url, question, **named).table()
    wanted = [list(row) for row in (table.headings, *table.rows, *table.below)]
    assert tab.rows(caption) == wanted
    assert len(wanted) > 1
    assert tab.trouble == []


def test_figures_beside_tables_are_those_of_the_command(tab: Page, url: str) -> None:
    tab.go(at(url, "overview"))
    whole: Any = ask(url, "variance", by=["model", "version"], since=SINCE)
    said = tab.text("main")
    for group in whole.groups:
        assert f"RMSE {text(group.rmse)}" in said
        assert f"95 %: {text(group.low)} to {text(group.high)}" in said
        assert text(group.count) in said
    tab.go(at(url, "compare"))
    found: Any = ask(url, "compare", a="v1", b="v2", by=["segment"], model="pump", since=SINCE)
    assert f"RMSE v2 to v1: {text(found.ratio)}" in tab.text("main")
    assert all(sentence in tab.text("main") for sentence in found.sentences())


@pytest.mark.parametrize(
    "value",
    [0.0, 1.0, -0.5, 123456.0, 1234567.0, 0.0001234567, 0.00001234567, 999999.5, 1e300, 2.5e-7],
)
def test_the_page_writes_a_figure_as_the_command_does(tab: Page, url: str, value: float) -> None:
    tab.go(url)
    whole = int(abs(value)) % 2**53
    module = "import('/static/format.js')"
    assert tab.run(f"{module}.then((m) => m.figure({json.dumps(value)}))") == text(value)
    assert tab.run(f"{module}.then((m) => m.count({whole}))") == text(whole)


def test_names_stay_text(tab: Page, url: str) -> None:
    tab.go(at(url, "variance"))
    tab.run("window.alert = () => { throw new Error('markup') }")
    tab.run("[...document.querySelectorAll('tbody a')][0].click()")
    tab.settle()
    assert tab.run("new URLSearchParams(location.search).get('device')") == HOSTILE
    assert "<img src=x" in tab.text("h2")
    assert tab.run("document.querySelectorAll('main img').length") == 0
    assert tab.trouble == []


def test_the_code_has_no_way_to_make_markup() -> None:
    files = [each for each in STATIC.rglob("*") if each.suffix in (".js", ".html")]
    way = re.compile(r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    assert [file.name for file in files if way.search(file.read_text())] == []
    html = (STATIC / "index.html").read_text()
    assert not re.search(r"https?://|<style|style=|onclick|<script>", html)


MANY = """
import('/static/plots.js').then(({ caterpillar, funnel }) => {
  const groups = Array.from({ length: 10000 }, (_, n) => {
    const rmse = 1 + 0.2 * Math.sin(n) + (n % 500 ? 0 : 1);
    return { by: { device: `pi-${n}` }, count: 20 + n, rmse, low: rmse * 0.9, high: rmse * 1.1,
      unusual: n % 500 === 0, materially_worse: false };
  });
  window.opened = [];
  const open = (row) => window.opened.push(row.by.device);
  document.querySelector('main').replaceChildren(
    caterpillar(groups, { rmse: 1.1 }, open), funnel(groups, { rmse: 1.1 }, open));
})
"""


def test_ten_thousand_devices_are_one_canvas(tab: Page, url: str) -> None:
    tab.go(url)
    tab.run(MANY)
    tab.wait("document.querySelectorAll('main canvas').length === 2")
    assert tab.run("document.querySelectorAll('main *').length") == 4
    sheet = "document.querySelector('main canvas')"
    inked = f"{sheet}.getContext('2d').getImageData(0, 0, {sheet}.width, {sheet}.height).data"
    assert tab.run(f"{inked}.filter((each, place) => place % 4 === 3 && each).length") > 10_000
    # The largest RMSE stands at the right, and a click opens its device.
    x, y = tab.run(
        f"(() => {{ const box = {sheet}.getBoundingClientRect();"
        " return [box.right - 10 - (box.width - 66) * 0.02, box.top] })()"
    )
    for down in range(0, 200, 4):
        for kind in ("mousePressed", "mouseReleased"):
            tab.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y + down,
                button="left",
                clickCount=1,
            )
    assert any(int(each.removeprefix("pi-")) % 500 == 0 for each in tab.run("window.opened"))
    assert tab.trouble == []


def test_back_works_and_the_address_is_the_view(tab: Page, url: str) -> None:
    tab.go(at(url, "compare"))
    first = tab.text("main")
    tab.run("document.querySelector('nav a[href*=drift]').click()")
    tab.settle()
    assert "Then and now" in tab.text("main")
    tab.run("history.back()")
    tab.wait("document.querySelector('h1')?.textContent === 'Compare'")
    tab.settle()
    assert tab.text("main") == first
    address = tab.run("location.href")
    assert "a=v1" in address
    assert "b=v2" in address


def test_the_keyboard_is_enough(tab: Page, url: str) -> None:
    tab.go(url)
    reached = []
    for _ in range(4):
        key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
        for kind in ("keyDown", "keyUp"):
            tab.call("Input.dispatchKeyEvent", type=kind, **key)
        reached.append(tab.run("document.activeElement.textContent"))
    assert reached == ["To the figures", "Overview", "On call", "Device"]
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
    tab.run("[...document.querySelectorAll('nav a')].at(-1).focus()")
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, **enter)
    tab.wait("document.querySelector('h1')?.textContent === 'Drift'")
    tab.settle()
    assert tab.run("document.activeElement.id") == "main", "what is new is read out next"
    tab.run("document.querySelector('#filters select').focus()")
    tab.run("window.dispatchEvent(new Event('online'))")
    tab.settle()
    assert tab.run("document.activeElement.name") == "model"


def test_an_empty_store_and_a_single_device(tab: Page) -> None:
    for made, words in ((Planted(), "the store is empty"), (one_device(), "RMSE 0.707107")):
        with served(made) as url:
            for view in VIEWS:
                tab.go(f"{url}/?view={view}")
                assert tab.text("h1")
                assert "cannot be shown" not in tab.text("#warning"), view
            tab.go(url)
            assert words in tab.text("main")
        made.store.close()
    assert tab.trouble == []


def test_old_data_are_called_old_and_new_ones_come_by_themselves(tab: Page) -> None:
    made = Planted()
    plant_hours(made, {"pi-1": 1.0, "pi-2": 2.0}, hours=3)
    made.commit()
    with served(made) as url:
        tab.go(f"{url}/?view=overview&since=all")
        assert re.search(
            r"old: the newest window ended \d+ days ago, at 2026-01-01 03:00 UTC", tab.text()
        )
        assert "360" in tab.text("main")
        made.put("pi-1", stats_of([1.0]), start=int(time.time()) // HOUR * HOUR, width=HOUR)
        made.commit()
        # No older than since it last asked, which is what it allows.
        tab.wait("document.querySelector('main').innerText.includes('361')")
        assert tab.run("document.getElementById('warning').hidden")
    made.store.close()
    assert tab.trouble == []


def test_it_catches_up_when_the_collector_comes_back(tab: Page, planted: Planted) -> None:
    port = free_port()
    with served(planted, port=port) as url:
        tab.go(at(url, "overview"))
        before = tab.text("main")
    tab.run("window.dispatchEvent(new Event('online'))")
    tab.wait("document.getElementById('state').textContent === 'collector away'")
    assert "does not answer since" in tab.text("#warning")
    assert tab.text("main") == before
    with served(planted, port=port):
        tab.run("window.dispatchEvent(new Event('online'))")
        tab.wait("document.getElementById('state').textContent.startsWith('as of')")
        assert tab.run("document.getElementById('warning').hidden")
        assert tab.text("main") == before
    tab.trouble.clear()  # a browser notes each request that nobody answers


def test_a_token_is_asked_for_in_words(tab: Page, planted: Planted, tmp_path: Path) -> None:
    token, file = new_token(), tmp_path / "tokens"
    file.touch(0o600)
    file.write_text(f"ann read {token_hash(token)}\n")
    with served(planted, file) as url:
        tab.go(url)
        assert "wants a token" in tab.text("#warning")
        for given, found in (("edgemse_no", "no longer valid"), (token, "Model pump")):
            tab.run(f"document.getElementById('token').value = '{given}'")
            tab.run("document.querySelector('main form').requestSubmit()")
            tab.wait(f"document.body.innerText.includes('{found}')")
        file.write_text("\n")  # it is taken back
        tab.run("window.dispatchEvent(new Event('online'))")
        tab.wait("document.body.innerText.includes('no longer valid')")
        assert "Model pump" not in tab.text("main")
    assert all("401" in each for each in tab.trouble), tab.trouble
    tab.run("sessionStorage.clear()")


def test_the_first_view_is_small(tab: Page, url: str) -> None:
    tab.go(url)
    tab.settle()
    assert any(each.endswith("uPlot.iife.min.js") for each in tab.loaded)
    assert sum(tab.loaded.values()) < BYTES_MAX
    assert len(tab.loaded) < 40
    assert all(each.startswith(url) for each in tab.loaded)
