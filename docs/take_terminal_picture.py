"""Takes the README's picture of the terminal from a demo that it starts: ``python docs/take_terminal_picture.py``.

It needs Chromium, the extras "demo" and "tui" and the development dependencies. The past of the demo is the same at
every run but for its dates; the picture is taken when the first alert is active.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from cogmeter.settings import load_settings
from cogmeter_bot.errors import SourceError
from cogmeter_bot.sources.database import DatabaseSource
from cogmeter_bot.sources.factory import ReconnectingSource
from cogmeter_bot.tui.app import DashboardApp
from cogmeter_bot.tui.chrome import range_choices

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURE: Final = ROOT / "docs" / "pictures" / "terminal.png"
SIZE: Final = (120, 32)  # columns and rows
NAME: Final = "data/performance.db"  # as it is in a bot's folder
READY_S: Final = 180.0
DRAWN_S: Final = 2.0


async def drawn(database: Path) -> str:
    """Return the screen as SVG when the first alert of the demo is active."""
    settings = load_settings()
    source = ReconnectingSource(lambda: DatabaseSource.open(settings, f"sqlite:///{database}"), database)
    deadline = time.perf_counter() + READY_S
    while not await _alerted(source):
        if time.perf_counter() > deadline:
            sys.exit("The demo's first alert did not come")
        await asyncio.sleep(1)
    choices, selected = range_choices(None, None, None)
    app = DashboardApp(source, settings, choices, selected, name=NAME, interval_s=3600)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(DRAWN_S)
        return app.export_screenshot(title="cogmeter dashboard")


async def _alerted(source: ReconnectingSource) -> bool:
    try:
        return bool(await source.query(lambda opened: opened.alerts("firing", limit=1)))
    except SourceError:
        return False  # the demo has not made its database yet


def main() -> None:
    """Start the demo, take the picture, end the demo."""
    sys.path.append(str(ROOT / "tests"))
    from browser import chromium, found

    program = found()
    if program is None:
        sys.exit("Chromium is not on this machine")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = folder / "performance.db"
        demo = subprocess.Popen(  # noqa: S603 - it is our own program
            [sys.executable, "-m", "cogmeter_bot", "demo", "--database", database],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            picture = asyncio.run(drawn(database))
        finally:
            demo.terminate()
            demo.wait(30)
        (folder / "picture.svg").write_text(picture, encoding="utf-8")
        with chromium(program, folder / "profile") as page:
            _, _, width, height = map(float, re.findall(r'viewBox="([^"]+)"', picture)[0].split())
            page.open((folder / "picture.svg").as_uri(), width=round(width), height=round(height))
            page.wait("document.documentElement.tagName === 'svg' && document.readyState === 'complete'", "the picture")
            page.screenshot(PICTURE)


if __name__ == "__main__":
    main()
