"""Takes the pictures of docs/commands.md from a demo: ``make command-pictures``, or with names for some of them.

Each command of the tree is used once in the simulated Discord, with the options of ``OPTIONS``, and its answer is
photographed. It needs Chromium, the extras "demo" and "tui" and the development dependencies.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import take_pictures
from command_tree import all_commands, picture_of

from cogmeter_bot.demo.environment import demo_environment
from cogmeter_bot.demo.runner import DemoOptions, running_demo

if TYPE_CHECKING:
    from browser import Page

    from cogmeter_bot.demo.world import World

FOLDER: Final = take_pictures.PICTURES / "commands"
HISTORY_DAYS: Final = 1.5  # for charts of 24 hours with a previous period of some hours
WINDOW: Final = {"width": 1024, "height": 2600}  # the longest answer fits
WAIT_S: Final = 10.0  # until samples, alerts and the open minute have data
# The options of commands that need some, or are better shown with some. A user is the member of the demo.
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "perf stats": {"service": "/ask"},
    "perf mute": {"duration": "1h", "service": "knowledge-graph", "reason": "A deploy"},
    "perf unmute": {"service": "knowledge-graph"},
    "perf thresholds set": {"rule": "error_rate", "value": "6%"},
    "perf thresholds reset": {"rule": "error_rate"},
    "perf forget": {"user": True},
    "perf export": {"format": "csv", "period": "1h"},
}


def main() -> None:
    """Take the pictures of all commands, or of those that are named."""
    sys.path.append(str(take_pictures.ROOT / "tests"))
    from browser import chromium, found

    program = found()
    if program is None:
        sys.exit("Chromium is not installed")
    names = [name for name in all_commands() if not sys.argv[1:] or name.removeprefix("perf ") in sys.argv[1:]]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium(program, Path(folder) / "profile") as page:
        page.prefer(dark=True)
        page.call("Emulation.setScrollbarsHidden", hidden=True)
        url = f"sqlite:///{Path(folder) / 'performance.db'}"
        with demo_environment(Path(folder), url, _free_port()):
            asyncio.run(take(page, url, names))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def take(page: Page, url: str, names: list[str]) -> None:
    """Run a demo, use each command, and save a picture of its answer."""
    async with running_demo(DemoOptions(history_days=HISTORY_DAYS), url, print) as (world, address, _):
        await asyncio.sleep(WAIT_S)
        for name in names:
            await photograph(page, world, address, name)


async def photograph(page: Page, world: World, address: str, name: str) -> None:
    """Use a command and save its answer."""
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    await world.command(name, **OPTIONS.get(name, {}))
    png = await asyncio.to_thread(_newest, page, address)
    take_pictures.save(f"commands/{picture_of(name)}", png)


def _newest(page: Page, address: str) -> bytes:
    """Return the newest message once its pictures are loaded."""
    page.open(address, **WINDOW)
    message = take_pictures.MESSAGE
    loaded = f"[...{message}.querySelectorAll('img')].every(image => image.complete && image.naturalWidth)"
    page.wait(f"!!{message} && {loaded}", "the answer")
    page.evaluate(take_pictures.HIDE_EDITED)
    return take_pictures.last_message(page)


if __name__ == "__main__":
    main()
