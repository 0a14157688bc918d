"""A headless Chromium, driven over its DevTools protocol: what people would see."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from support.waiting import eventually

OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
ANSWER_SECONDS = 60.0
TROUBLE = ("error", "assert")


def chromium_binary() -> str:
    """Return the browser's path; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium here: tests/system_parts.sh says how to get it")
    return found


class Browser:
    """One process for a session of tests; each page is a tab of its own context."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            [chromium_binary(), *OPTIONS, f"--user-data-dir={folder}/profile", "about:blank"],
            stdout=self._log,
            stderr=self._log,
        )
        port = folder / "profile" / "DevToolsActivePort"
        eventually(lambda: port.exists() and port.read_text().count("\n") == 1, seconds=60)
        self._address = f"http://127.0.0.1:{port.read_text().split()[0]}"

    def open(self) -> Page:
        """Return a new tab."""
        request = urllib.request.Request(f"{self._address}/json/new", method="PUT")
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answered:
            return Page(json.load(answered)["webSocketDebuggerUrl"])

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()


class Page:
    """A tab: `trouble` has what its console says is wrong, `loaded` the bytes of each transfer."""

    def __init__(self, address: str) -> None:
        self._socket = connect(address, max_size=None)
        self._numbers = itertools.count(1)
        self.trouble: list[str] = []
        self.loaded: dict[str, int] = {}
        self._urls: dict[str, str] = {}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Return what the browser answers; events that come meanwhile are noted."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=ANSWER_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._note(message["method"], message.get("params", {}))

    def _note(self, method: str, said: Any) -> None:
        if method == "Runtime.exceptionThrown":
            self.trouble.append(json.dumps(said["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and said["type"] in TROUBLE:
            self.trouble.append(json.dumps(said["args"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.trouble.append(said["entry"]["text"] + " " + said["entry"].get("url", ""))
        elif method == "Network.requestWillBeSent":
            self._urls[said["requestId"]] = said["request"]["url"]
        elif method == "Network.loadingFinished":
            url = self._urls[said["requestId"]]
            self.loaded[url] = self.loaded.get(url, 0) + int(said["encodedDataLength"])

    def size(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Have a window of so many pixels, and the system's colours."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def go(self, url: str) -> None:
        """Load an address, and wait until the view stands there."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")
        self.settle()

    def settle(self) -> None:
        """Wait until the view has what it asked for, and its charts are drawn."""
        self.wait("document.getElementById('main').getAttribute('aria-busy') === 'false'")
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """Return the value of an expression of JavaScript, of a promise what it comes to."""
        done = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, (script, done["exceptionDetails"])
        return done["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        eventually(lambda: self.run(f"Boolean({condition})"), seconds=ANSWER_SECONDS)

    def text(self, selector: str = "body") -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def rows(self, caption: str) -> list[list[str]]:
        """Return the cells of the first table of that caption, headings and totals included."""
        found = self.run(
            "(() => { const table = [...document.querySelectorAll('table')]"
            f".find((each) => each.caption?.textContent === {json.dumps(caption)});"
            "return table && [...table.rows].map((row) =>"
            " [...row.cells].map((cell) => cell.textContent)) })()"
        )
        assert found is not None, f"no table {caption!r}"
        return found  # type: ignore[no-any-return]

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._socket.close()
