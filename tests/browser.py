"""A page as a browser sees it: headless Chromium, driven through its debugging pipe, so that no package is needed."""

import fcntl
import json
import os
import select
import shutil
import subprocess
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
_PATIENCE = 60  # [s]: a loaded machine starts Chromium in 10


@dataclass
class Page:
    """An open page, and what happened on it."""

    browser: "Browser"
    session: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def evaluate(self, script: str):
        """The value of a JavaScript expression."""
        found = self.browser.call(
            "Runtime.evaluate", self.session, expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def pdf(self) -> bytes:
        """The page as it prints."""
        return b64decode(self.browser.call("Page.printToPDF", self.session)["data"])


class Browser:
    """A running Chromium. It is told and tells JSON, a zero byte after each message, on the file numbers 3 and 4."""

    def __init__(self, binary: str, profile: Path) -> None:
        (theirs_in, self._to), (self._from, theirs_out) = os.pipe(), os.pipe()

        def numbered() -> None:
            apart = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (theirs_in, theirs_out)]  # from 3 and 4
            os.dup2(apart[0], 3)
            os.dup2(apart[1], 4)

        self._process = subprocess.Popen(
            [binary, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=numbered,
            close_fds=False,  # Python's own are closed on exec; 3 and 4 stay
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._asked, self._events = b"", 0, []

    def call(self, method: str, session: str | None = None, **parameters) -> dict:
        """Ask for something, and wait for the answer."""
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer
                return answer["result"]
            self._events.append(answer)

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> Page:
        """Open a file in a window of some width [CSS pixels], and wait until it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for part in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{part}.enable", session)
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", session, **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", session, features=[scheme])
        self._events.clear()
        self.call("Page.navigate", session, url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._next())
        page = Page(self, session)
        page.evaluate("new Promise(done => setTimeout(done, 100))")
        for event in self._events:
            _note(event, page)
        return page

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(_PATIENCE)
        for each in (self._to, self._from):
            os.close(each)

    def _next(self) -> dict:
        end = monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0, end - monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError("Chromium does not answer.")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


def _note(event: dict, page: Page) -> None:
    told = event["params"]
    match event["method"]:
        case "Runtime.exceptionThrown":
            page.errors.append(str(told["exceptionDetails"]))
        case "Runtime.consoleAPICalled":
            page.errors.append(str(told["args"]))
        case "Log.entryAdded":
            page.errors.append(told["entry"]["text"])
        case "Network.requestWillBeSent":
            page.requests.append(told["request"]["url"])


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium."""
    found = [path for path in map(shutil.which, _NAMES) if path]
    if not found:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    running = Browser(found[0], tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()
