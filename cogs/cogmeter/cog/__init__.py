"""The extension: ``await bot.load_extension("cogmeter.cog")``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cogmeter import default_recorder
from cogmeter.cog.perf import Perf
from cogmeter.settings import load_settings

if TYPE_CHECKING:
    from cogmeter.watch.client import AnyBot

_logger = logging.getLogger("cogmeter")


async def setup(bot: AnyBot) -> None:
    """Read the settings and add the cog; with monitoring switched off, do not change the bot."""
    settings = load_settings()
    if not settings.enabled:
        default_recorder.disable()
        _logger.info("ENABLE_PERFORMANCE_MONITORING is false: nothing is recorded")
        return
    await bot.add_cog(Perf(bot, settings))
