"""Takes the README's pictures of the dashboard and of an alert from a demo: ``python docs/take_pictures.py``.

It needs Chromium, the extra "demo" and the development dependencies. The past of the demo is the same at every run but
for its dates; the pictures are taken when the first alert is active.
"""

from __future__ import annotations

import base64
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

if TYPE_CHECKING:
    from browser import Page

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURES: Final = ROOT / "docs" / "pictures"
MOST_BYTES: Final = 250_000  # of a picture that everybody who reads the README loads
WIDTH, HEIGHT = 1280, 1640  # down to the end of the services
ALERT_WIDTH = 570
MESSAGE: Final = "[...document.querySelectorAll('.channel-message')].at(-1)"
READY_S: Final = 60.0
DRAWN: Final = (
    "document.readyState === 'complete'"
    " && [...document.querySelectorAll('figure[data-chart]')].every(one => one.dataset.state === 'drawn')"
    " && document.querySelector('[data-key=alerts]').innerText.includes('exceeds threshold')"
)


def main() -> None:
    """Start the demo, take the pictures, end the demo."""
    sys.path.append(str(ROOT / "tests"))
    from browser import chromium, found

    program = found()
    if program is None:
        sys.exit("Chromium is not on this machine")
    demo = subprocess.Popen([sys.executable, "-m", "cogmeter_bot", "demo"], stdout=subprocess.PIPE, text=True)
    try:
        discord, dashboard = _addresses(demo)
        with tempfile.TemporaryDirectory() as folder, chromium(program, Path(folder) / "profile") as page:
            page.prefer(dark=True)
            page.call("Emulation.setScrollbarsHidden", hidden=True)
            _keep("dashboard.png", _dashboard(page, dashboard))
            _keep("alert.png", _alert(page, discord))
    finally:
        demo.terminate()
        demo.communicate(timeout=30)


def _addresses(demo: subprocess.Popen[str]) -> tuple[str, str]:
    """Where the simulated Discord and the dashboard are, once the demo has printed it."""
    deadline = time.perf_counter() + READY_S
    discord = ""
    assert demo.stdout is not None
    for line in demo.stdout:
        found = re.search(r"http://\S+", line)
        if found and line.startswith("The demo is ready"):
            discord = found[0]
        if found and line.startswith("Its dashboard"):
            return discord, found[0]
        if time.perf_counter() > deadline:
            break
    sys.exit("The demo did not print its addresses")


def _dashboard(page: Page, address: str) -> bytes:
    """The first page, down to the end of the services."""
    page.open(address, width=WIDTH, height=HEIGHT)
    page.wait(DRAWN, "the charts and the first alert")
    return _picture(page)


def _alert(page: Page, address: str) -> bytes:
    """The alert's message in the simulated Discord, with its chart and buttons."""
    page.open(address, width=WIDTH, height=HEIGHT)
    page.wait(f"{MESSAGE} && {MESSAGE}.innerText.includes('exceeds threshold')", "the message of the first alert")
    page.wait(f"[...{MESSAGE}.querySelectorAll('img')].some(one => one.naturalWidth > 1000)", "its chart")
    page.evaluate(f"{MESSAGE}.scrollIntoView()")
    time.sleep(1)  # the page scrolls once more of its own accord
    at = json.loads(page.evaluate(f"JSON.stringify({MESSAGE}.getBoundingClientRect())"))
    return _picture(page, clip={**{side: at[side] for side in ("x", "y", "height")}, "width": ALERT_WIDTH, "scale": 1})


def _picture(page: Page, **options: Any) -> bytes:
    return base64.b64decode(page.call("Page.captureScreenshot", format="png", **options)["data"])


def _keep(name: str, png: bytes) -> None:
    """Store it with 256 colours, which is all that it has to show."""
    picture = PICTURES / name
    with Image.open(io.BytesIO(png)) as whole:
        whole.convert("RGB").quantize(256).save(picture, optimize=True)
    size = picture.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{picture} has {size:,} bytes, and should have no more than {MOST_BYTES:,}")


if __name__ == "__main__":
    main()
