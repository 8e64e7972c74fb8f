"""Plays one bot on the loopback Discord: ``python play.py NAME RECORDS [uvloop]``; prints what it saw as JSON.

The bot loads the monitor itself, as its owner would. RECORDS are the uses and first responses that are to be stored.
It fails if the monitor logged an error.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
from typing import Any

from loopback import Loopback
from settled import quiet, recorded


async def play(name: str, records: int) -> dict[str, Any]:
    style = importlib.import_module(name)
    async with Loopback(shards=style.SHARDS) as server:
        bot = style.make_bot()
        async with server.running(bot):
            await style.use(server, bot)
            monitor = bot.get_cog("cogmeter").monitor
            await recorded(monitor, records)
            await quiet(server, bot)
            report = {
                "loop": type(asyncio.get_running_loop()).__module__,
                "hooks": [
                    hook.name
                    for surface in monitor.watcher.surfaces
                    for hook in surface.hooks
                    if hook.faults or not hook.active
                ],
                "violations": [str(one) for one in server.violations],
                "counted": bot.counted,
            }
            await bot.unload_extension("cogmeter.cog")
    return report


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


def main() -> None:
    name, records = sys.argv[1], int(sys.argv[2])
    errors = Errors()
    logging.getLogger("cogmeter").addHandler(errors)
    factory = importlib.import_module("uvloop").new_event_loop if sys.argv[3:] == ["uvloop"] else None
    with asyncio.Runner(loop_factory=factory) as runner:
        report = runner.run(play(name, records))
    if errors.texts:
        sys.exit("\n".join(errors.texts))
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
