"""Measure how long each route, slash command and autocomplete blocks the loop, with 2,000 services stored.

Run ``python benchmarks/responsiveness.py [--short] [--only WORD] [--database PATH]``. The services have names of 100
letters and a week of operations; 200 operations a second are recorded, 100 services fail and alerts fire at the same
time. A separate process requests the routes over a socket; the commands run through the simulated Discord. Hostile
inputs have 6,000 letters, which is the most that Discord passes on.

Every callback and every step of a task that the loop runs is timed. A row shows the longest one during a request: its
CPU time (what the step itself needs), its wall time (including what other threads and processes take of the machine),
and the delay of a task that runs every millisecond. All are medians over the repeats. The step is named, because
background work runs at the same time. This file measures the commands, ``routes.py`` the routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import discord
from discord.ext import commands
from loop_steps import Case, Steps, measure
from many_services import HOSTILE, LETTERS, build, hostile, load, name_of, spend
from routes import measure_routes
from timing import parser, sized

from cogmeter.recording.background import detached
from cogmeter.settings import env_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping


def command_cases(owner: Any, channel: Any) -> list[Case]:
    cases = []
    wild, other, known = hostile(), hostile(LETTERS), name_of(1)

    def add(command: str, what: str, **options: str) -> None:
        async def ask() -> str:
            result = await owner.slash(channel, command, **options)
            message = result.response
            return (message.embeds[0].title if message.embeds else message.content or "")[:40].replace("|", "/")

        cases.append(Case(f"/{command} {what}".strip(), ask))

    def complete(command: str, option: str, typed: str, what: str, **others: str) -> None:
        async def ask() -> str:
            return f"{len(await owner.autocomplete(channel, command, option, typed, **others))} choices"

        cases.append(Case(f"/{command}: completing {option} {what}".strip(), ask))

    add("perf summary", "")
    add("perf summary", "a month", period="30d")
    for what, service in (("", known), ("unknown", other), ("6,000 letters", wild)):
        add("perf stats", what, service=service)
        add("perf stats", f"a week, {what}", service=service, period="7d")
        add("perf alerts", f"of {what}", service=service)
        add("perf thresholds view", f"of {what}", service=service)
        add("perf mute", f"of {what}", duration="1m", service=service)
        add("perf unmute", f"of {what}", service=service)
        add("perf thresholds set", f"of {what}", rule="error_rate", value="7%", service=service)
        add("perf thresholds reset", f"of {what}", rule="error_rate", service=service)
    add("perf stats", "operation of 6,000 letters", service=known, operation=wild)
    add("perf alerts", "")
    add("perf alerts", "history", state="history")
    add("perf thresholds view", "")
    add("perf thresholds set", "6,000 letters as rule", rule=wild, value="7%")
    add("perf thresholds set", "6,000 letters as value", rule="error_rate", value=wild)
    add("perf thresholds set", "6,000 digits as value", rule="error_rate", value="7" * HOSTILE)
    add("perf thresholds set", "all services", rule="error_rate", value="7%")
    add("perf thresholds audit", "")
    add("perf mute", "6,000 letters as duration", duration=wild, service="all")
    add("perf mute", "6,000 parts as duration", duration="1m" * 3_000, service="all")
    add("perf unmute", "6,000 letters", mute=wild)
    add("perf report", "")
    add("perf report", "a month", period="30d")
    add("perf test-alert", "")
    add("perf doctor", "")
    texts = (("", "nothing typed"), ("knowl", "5 letters"), (other, "100 letters"), (wild, "6,000 letters"))
    for typed, what in texts:
        complete("perf stats", "service", typed, what)
        complete("perf stats", "operation", typed, what, service=known)
        complete("perf mute", "service", typed, what)
        complete("perf mute", "rule", typed, what)
        complete("perf unmute", "mute", typed, what)
        complete("perf thresholds set", "rule", typed, what)
        complete("perf alerts", "service", typed, what)
    return cases


@contextlib.contextmanager
def environment(**values: object) -> Iterator[None]:
    names = [name for name in os.environ if name.startswith("PERFORMANCE_")]
    before = {name: os.environ.pop(name) for name in names}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(before)


@contextlib.asynccontextmanager
async def simulated() -> AsyncIterator[tuple[Any, commands.Bot]]:
    import simcord

    bot = commands.Bot("!", intents=discord.Intents.default(), owner_id=1)
    async with simcord.run(bot, settle_timeout=60, check_errors=False) as env:
        guild = env.create_guild("home")
        channel, owner = guild.create_text_channel("ops"), env.create_user("owner")
        member = guild.add_member(owner)
        bot.owner_id = owner.id
        await bot.load_extension("cogmeter.cog")
        await env.settle()
        try:
            yield (member, channel), bot
        finally:
            await bot.unload_extension("cogmeter.cog")


async def measure_commands(path: Path, repeats: int, only: str) -> None:
    import cogmeter

    logging.getLogger("cogmeter").addHandler(logging.NullHandler())
    settings: Mapping[str, object] = {
        env_name("database_url"): f"sqlite:///{path.absolute()}",
        env_name("sync_commands"): "true",
        env_name("alert_window"): "60",
        env_name("alert_threshold_stall"): "0",
    }
    with environment(**settings):
        async with simulated() as ((owner, channel), bot):
            spend(bot.get_cog("cogmeter").monitor)
            loading = detached(load(cogmeter.default_recorder), name="load")
            with Steps() as steps:
                steps.ignored = asyncio.current_task()  # it plays the user, with all that the simulation does for it
                cases = command_cases(owner, channel)
                await measure([one for one in cases if only in one.name], steps, repeats)
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", default="", help="cases whose name has this in it")
    options.add_argument("--part", choices=("routes", "commands"), help="one of the two parts")
    options.add_argument("--database", type=Path, help="built there once, and used again")
    chosen = options.parse_args()
    repeats = sized(chosen, 7, 3, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = chosen.database or Path(folder) / "many.db"
        asyncio.run(build(path))
        if chosen.part != "commands":
            asyncio.run(measure_routes(path, repeats, chosen.only))
        if chosen.part != "routes":
            asyncio.run(measure_commands(path, repeats, chosen.only))


if __name__ == "__main__":
    main()
