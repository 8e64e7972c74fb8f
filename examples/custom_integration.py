"""Send the dashboard's figures to a system of your own every minute: an extension to load after cogmeter.cog."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aiohttp
from discord.ext import commands, tasks

URL = "http://localhost:9000/metrics"


async def post(payload: dict) -> None:
    async with aiohttp.ClientSession() as session, session.post(URL, json=payload) as response:
        response.raise_for_status()


class Metrics(commands.Cog):
    def __init__(self, bot: commands.Bot, send: Callable[[dict], Awaitable[None]] = post) -> None:
        self.bot, self.send = bot, send

    async def cog_load(self) -> None:
        self.collect.start()

    async def cog_unload(self) -> None:
        self.collect.cancel()

    @tasks.loop(minutes=1)
    async def collect(self) -> None:
        dashboard = await self.bot.get_cog("cogmeter").monitor.dashboard()
        services = {name: stats.model_dump(mode="json") for name, stats in dashboard.service_stats.items()}
        metrics = dashboard.overall_stats.model_dump(mode="json")
        await self.send({"timestamp": datetime.now(UTC).isoformat(), "metrics": metrics, "services": services})


async def setup(bot: commands.Bot) -> None:
    await bot.add_cog(Metrics(bot))
