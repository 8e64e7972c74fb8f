"""A headless Chromium driven through the DevTools protocol. Everything here blocks: a test whose own loop serves the
page looks at it from a thread (``await asyncio.to_thread(look, browser)``)."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
WAIT_S = 60.0
KEYS = {
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Shift": 16,
    "/": 191,
    "+": 187,
    "-": 189,
}


class Page:
    """One browser tab: what is typed, what is shown, what the console said, and which addresses were asked."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """One command of the protocol, and its result; events that come in between are noted."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, event: str | None, params: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:500])
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(json.dumps(params["entry"])[:500])
        elif event == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(json.dumps(params["args"])[:500])

    def open(self, url: str, *, width: int = 1280, height: int = 900) -> None:
        self.resize(width, height)
        self.call("Page.navigate", url=url)

    def prefer(self, *, dark: bool) -> None:
        """What the system says of dark and light."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the left button, in the window's pixels."""
        for kind, (x, y), buttons in (
            ("mouseMoved", start, 0),
            ("mousePressed", start, 1),
            ("mouseMoved", end, 1),
            ("mouseReleased", end, 0),
        ):
            button = "none" if kind == "mouseMoved" and not buttons else "left"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=1)

    def touch(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With one finger, from one place to another, in the window's pixels; both the same is a tap."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        for kind, place in (("touchStart", start), ("touchMove", middle), ("touchMove", end), ("touchEnd", None)):
            points = [] if place is None else [{"x": place[0], "y": place[1]}]
            if kind != "touchMove" or start != end:
                self.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def resize(self, width: int, height: int) -> None:
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)["result"].get(
            "value"
        )

    def wait(self, script: str, what: str = "") -> Any:
        """Wait until the expression is truthy, and give its value."""
        deadline = time.perf_counter() + WAIT_S
        while not (value := self.evaluate(script)):
            text = self.evaluate("document.body && document.body.innerText")
            assert time.perf_counter() < deadline, f"still waiting for {what or script}; the page says:\n{text}"
            time.sleep(0.1)
        return value

    def expect(self, script: str, value: Any) -> None:
        """Wait until the expression has this value: a page needs a moment to settle after each action."""
        deadline = time.perf_counter() + WAIT_S
        while (found := self.evaluate(script)) != value and time.perf_counter() < deadline:
            time.sleep(0.05)
        assert found == value, script

    def insert(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def press(self, key: str, *, shift: bool = False) -> None:
        code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": 8 if shift else 0}
        text = {"text": {"Enter": "\r"}.get(key, key)} if key in {"Enter", "/"} else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


class Browser:
    """A running Chromium, whose tabs share nothing: each has cookies, storage and a cache of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._port, path = self._address(profile / "DevToolsActivePort")
            self._socket = self._connected(path)
        except BaseException:
            self._end()
            raise
        self._numbers = itertools.count(1)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    @contextlib.contextmanager
    def tab(self) -> Iterator[Page]:
        """A tab that remembers nothing from before."""
        context = self._call("Target.createBrowserContext")["browserContextId"]
        try:
            target = self._call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
            with contextlib.closing(self._connected(f"/devtools/page/{target}")) as socket:
                yield Page(socket)
        finally:
            self._call("Target.disposeBrowserContext", browserContextId=context)

    def close(self) -> None:
        self._socket.close()
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (message := json.loads(self._socket.recv())).get("id") != number:
            pass
        assert "error" not in message, message
        return message["result"]

    def _connected(self, path: str) -> websocket.WebSocket:
        return websocket.create_connection(f"ws://127.0.0.1:{self._port}{path}", timeout=WAIT_S)

    def _address(self, port_file: Path) -> tuple[int, str]:
        """The port and the path of the debugging protocol, when the browser is up."""
        deadline = time.perf_counter() + WAIT_S
        while True:
            with contextlib.suppress(OSError, ValueError):
                port, path = port_file.read_text().split()
                return int(port), path
            assert self.runs, "Chromium ended at once"
            assert time.perf_counter() < deadline, "Chromium did not start"
            time.sleep(0.05)


@contextlib.contextmanager
def chromium(program: str, profile: Path) -> Iterator[Page]:
    """A tab of a browser of its own."""
    with contextlib.closing(Browser(program, profile)) as browser, browser.tab() as page:
        yield page


def found() -> str | None:
    """The program, where there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
