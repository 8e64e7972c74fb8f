"""Takes the pictures of the README from a demo: ``make pictures``.

It needs Chromium, the extras "demo" and "tui" and the development dependencies. The demo's history is the same at
every run except for its dates; all pictures but the first one are taken when the first alert is active.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from cogmeter.settings import load_settings
from cogmeter_bot.sources.database import DatabaseSource
from cogmeter_bot.sources.factory import ReconnectingSource
from cogmeter_bot.tui.app import DashboardApp
from cogmeter_bot.tui.chrome import range_choices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browser import Page

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURES: Final = ROOT / "docs" / "pictures"
MAX_BYTES: Final = 300_000  # of a picture: every reader of the README loads it
START_S: Final = 60.0

DISCORD_SIZE: Final = {"width": 1024, "height": 1400}
COMPOSER: Final = "document.querySelector('#channel-composer-input')"
SEND: Final = "document.querySelector('#send-message')"
MESSAGE: Final = "[...document.querySelectorAll('.channel-message')].at(-1)"
HAS_CHART: Final = f"[...{MESSAGE}.querySelectorAll('img')].some(image => image.naturalWidth > 1000)"
SCROLLS: Final = 10  # attempts
MESSAGE_WIDTH: Final = 570
MARGIN: Final = 8  # above a message
# A rule in a stylesheet of the page; a new style element would violate its content security policy.
HIDE_EDITED: Final = "document.styleSheets[0].insertRule('.message-edited, .message-edited-compact { display: none }')"

DASHBOARD_SIZE: Final = {"width": 1280, "height": 1640}  # down to the end of the services
DASHBOARD_DRAWN: Final = (
    "document.readyState === 'complete'"
    " && [...document.querySelectorAll('figure[data-chart]')].every(chart => chart.dataset.state === 'drawn')"
    " && document.querySelector('[data-key=alerts]').innerText.includes('exceeds threshold')"
    # Not while a busy machine delays the event loop.
    r" && /(\d+) of \1 component checks pass/.test(document.body.innerText)"
)

TERMINAL_SIZE: Final = (120, 32)  # columns and rows


def main() -> None:
    """Start the demo, take the pictures, end the demo."""
    sys.path.append(str(ROOT / "tests"))
    from browser import chromium, found

    program = found()
    if program is None:
        sys.exit("Chromium is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = folder / "performance.db"
        wait_for_second(35, 36)  # the summary is drawn some 10 s later, the first alert some 45 s later
        with demo(database) as (discord, dashboard), chromium(program, folder / "profile") as page:
            page.prefer(dark=True)
            page.call("Emulation.setScrollbarsHidden", hidden=True)
            open_discord(page, discord)
            save("demo.png", summary(page))
            page.open(dashboard, **DASHBOARD_SIZE)
            page.wait(DASHBOARD_DRAWN, "the charts, the first alert and a healthy bot")
            wait_for_second(35, 50)
            save("dashboard.png", screenshot(page))
            open_discord(page, discord)
            save("alert.png", alert(page))
            screen = folder / "screen.svg"
            screen.write_text(asyncio.run(terminal(database)), encoding="utf-8")
            save("terminal.png", svg(page, screen))


@contextlib.contextmanager
def demo(database: Path) -> Iterator[tuple[str, str]]:
    """Run a demo, and provide the addresses of its simulated Discord and its dashboard."""
    output = database.with_name("output.txt")
    with output.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603 - it is our own program
            [sys.executable, "-m", "cogmeter_bot", "demo", "--database", database], stdout=file
        )
    try:
        deadline = time.perf_counter() + START_S
        while not (addresses := re.findall(r"(?m)^(?:Simulated Discord|Dashboard): +(\S+)$", output.read_text())):
            if process.poll() is not None or time.perf_counter() > deadline:
                sys.exit("The demo did not start")
            time.sleep(0.2)
        discord, dashboard = addresses
        yield discord, dashboard
    finally:
        process.terminate()
        process.wait(30)


def wait_for_second(first: int, last: int) -> None:
    """Wait for a part of a minute: the last bin of a chart starts with the minute and needs data."""
    second = time.time() % 60
    if not first <= second <= last:
        time.sleep((first - second) % 60)


def open_discord(page: Page, address: str) -> None:
    """Open the simulated Discord, without the note "(edited)" of its messages."""
    page.open(address, **DISCORD_SIZE)
    page.wait(f"!!{MESSAGE}", "a message")
    page.evaluate(HIDE_EDITED)


def summary(page: Page) -> bytes:
    """Send ``/perf summary`` in the simulated Discord, and return its answer."""
    page.wait(f"{MESSAGE} && {MESSAGE}.innerText.includes('This is a simulation')", "the greeting")
    page.wait(f"{COMPOSER} && !{SEND}.disabled", "the simulated Discord")
    # The page may reject or lose an action while it is refreshed: repeat each until it has an effect.
    while page.evaluate("document.querySelectorAll('[role=option]').length") != 1:
        page.evaluate(f"{COMPOSER}.focus(); document.execCommand('selectAll')")
        page.insert("/perf summary")
        time.sleep(1)
    page.press("Enter")
    while not page.evaluate(f"{MESSAGE}.innerText.includes('Performance Summary')"):
        page.evaluate(f"{SEND}.disabled || {SEND}.click()")
        time.sleep(1)
    page.wait(HAS_CHART, "the chart of the summary")
    return last_message(page)


def alert(page: Page) -> bytes:
    """Return the message of the first alert in the simulated Discord, with its chart and buttons."""
    page.wait(f"{MESSAGE} && {MESSAGE}.innerText.includes('exceeds threshold')", "the message of the first alert")
    page.wait(HAS_CHART, "the chart of the alert")
    return last_message(page)


def last_message(page: Page) -> bytes:
    """Return the last message in the simulated Discord."""
    scroll(page)
    box = json.loads(page.evaluate(f"JSON.stringify({MESSAGE}.getBoundingClientRect())"))
    clip = {"x": box["x"], "y": box["y"] - MARGIN, "width": MESSAGE_WIDTH, "height": box["height"] + MARGIN}
    return screenshot(page, clip={**clip, "scale": 1})


def scroll(page: Page) -> None:
    """Scroll to the last message; the page may scroll back while it loads."""
    for _ in range(SCROLLS):
        page.evaluate(f"{MESSAGE}.scrollIntoView({{block: 'end'}})")
        time.sleep(1)
        if page.evaluate(f"{MESSAGE}.getBoundingClientRect().bottom <= innerHeight"):
            return


async def terminal(database: Path) -> str:
    """Return the screen of ``cogmeter dashboard`` as SVG."""
    settings = load_settings()
    source = ReconnectingSource(lambda: DatabaseSource.open(settings, f"sqlite:///{database}"), database)
    choices, selected = range_choices(None, None, None)
    app = DashboardApp(source, settings, choices, selected, name="data/performance.db", interval_s=3600)
    async with app.run_test(size=TERMINAL_SIZE) as pilot:
        screen = "loading"
        while "loading" in screen:
            await pilot.pause(1)
            screen = app.export_screenshot(title="cogmeter dashboard")
        return screen


def svg(page: Page, file: Path) -> bytes:
    """Return an SVG file as the browser shows it."""
    _, _, width, height = map(float, re.findall(r'viewBox="([^"]+)"', file.read_text(encoding="utf-8"))[0].split())
    page.open(file.as_uri(), width=round(width), height=round(height))
    page.wait("document.documentElement.tagName === 'svg' && document.readyState === 'complete'", "the terminal")
    return screenshot(page)


def screenshot(page: Page, **options: Any) -> bytes:
    """Return the window, or a part of it, as PNG."""
    return base64.b64decode(page.call("Page.captureScreenshot", format="png", **options)["data"])


def save(name: str, png: bytes) -> None:
    """Save a picture with 256 colours, which are enough for it."""
    path = PICTURES / name
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(256).save(path, optimize=True)
    size = path.stat().st_size
    if size > MAX_BYTES:
        sys.exit(f"{path} has {size:,} bytes. The limit is {MAX_BYTES:,}.")


if __name__ == "__main__":
    main()
