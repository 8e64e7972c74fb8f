"""Takes the README's picture of the dashboard from a demo that it starts: ``python docs/take_pictures.py``.

It needs Chromium, the extra "demo" and the development dependencies. The past of the demo is the same at every run but
for its dates; the picture is taken when the first alert stands.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from PIL import Image

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURE: Final = ROOT / "docs" / "pictures" / "dashboard.png"
MOST_BYTES: Final = 250_000  # of a picture that everybody who reads the README loads
WIDTH, HEIGHT = 1280, 1640  # down to the end of the services
READY_S: Final = 60.0
DRAWN: Final = (
    "document.readyState === 'complete'"
    " && [...document.querySelectorAll('figure[data-chart]')].every(one => one.dataset.state === 'drawn')"
    " && document.querySelector('[data-key=alerts]').innerText.includes('exceeds threshold')"
)


def main() -> None:
    """Start the demo, take the picture, end the demo."""
    sys.path.append(str(ROOT / "tests"))
    from browser import chromium, found

    program = found()
    if program is None:
        sys.exit("Chromium is not on this machine")
    demo = subprocess.Popen([sys.executable, "-m", "cogmeter_bot", "demo"], stdout=subprocess.PIPE, text=True)
    try:
        address = _address(demo)
        with tempfile.TemporaryDirectory() as folder, chromium(program, Path(folder) / "profile") as page:
            page.prefer(dark=True)
            page.call("Emulation.setScrollbarsHidden", hidden=True)
            page.open(address, width=WIDTH, height=HEIGHT)
            page.wait(DRAWN, "the charts and the first alert")
            page.screenshot(PICTURE)
        _make_small(PICTURE)
    finally:
        demo.terminate()
        demo.communicate(timeout=30)
    size = PICTURE.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{PICTURE} has {size:,} bytes, and should have no more than {MOST_BYTES:,}")


def _address(demo: subprocess.Popen[str]) -> str:
    """The dashboard's address, once the demo has printed it."""
    deadline = time.perf_counter() + READY_S
    assert demo.stdout is not None
    for line in demo.stdout:
        found = re.search(r"http://localhost:\d+/performance", line)
        if found and line.startswith("Its dashboard"):
            return found[0]
        if time.perf_counter() > deadline:
            break
    sys.exit("The demo did not print the address of its dashboard")


def _make_small(picture: Path) -> None:
    """Store it with 256 colours, which is all that it has to show."""
    with Image.open(picture) as whole:
        small = whole.convert("RGB").quantize(256)
    small.save(picture, optimize=True)


if __name__ == "__main__":
    main()
