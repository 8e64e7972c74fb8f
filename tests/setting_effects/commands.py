"""The commands in Discord, their charts and files, and what is posted at its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from deployed_bot import deploy
from factories import make_alert

from cogmeter.cog.deploy_check_posts import DeployCheckPosts
from cogmeter.cog.scheduled_posts import FIRST_US, WEEK_US, DigestPost, WeeklyReport
from cogmeter.monitor import jobs
from cogmeter.query.query import now_us
from cogmeter_storage.alerting import AlertState, Step
from cogmeter_storage.model import HOUR_US, MINUTE_US
from setting_effects.place import Home, Place, record

MONDAY_US = FIRST_US + 2_950 * WEEK_US  # 08:00 UTC


async def name_of_the_group(place: Place) -> object:
    home = await place.home()
    return [command.name for command in home.bot.tree.get_commands()]


async def servers_with_commands(place: Place) -> object:
    """Whether the commands are in the tree of every server, and in that of the home."""
    home = await place.home()
    guild = home.bot.get_guild(home.guild.id)
    trees = (home.bot.tree.get_commands(), home.bot.tree.get_commands(guild=guild))
    return [len(tree) for tree in trees]


async def registered(place: Place) -> object:
    """The commands that Discord knows after the start."""
    home = await place.home()
    task = home.cog._installation.registration._task
    if task is not None:
        await task
    return [command.name for command in await home.bot.tree.fetch_commands()]


async def answer_to_a_member(place: Place) -> object:
    """Whether a member with the role gets the summary."""
    home = await _synced(place)
    record(5)
    await home.flushed()
    return bool((await home.member.slash(home.channel, "perf summary")).response.embeds)


async def charts_of_the_summary(place: Place) -> object:
    home = await _with_figures(place)
    message = (await home.owner.slash(home.channel, "perf summary")).response
    return [file.filename for file in message.attachments]


async def worker_after_a_minute(place: Place) -> object:
    """Whether the chart worker still runs when a loop's clock is 90 s ahead of the last chart."""
    home = await _with_figures(place)
    await home.owner.slash(home.channel, "perf summary")
    worker, loop = home.monitor.charts, asyncio.get_running_loop()
    assert worker._idle is not None
    left_s = worker._idle.when() - loop.time()
    if left_s <= 90:
        worker._idle._run()
    return worker.state.partition(" (")[0].partition(",")[0]


async def suffix_of_an_export(place: Place) -> object:
    home = await _with_figures(place)
    (file,) = (await home.owner.slash(home.channel, "perf export")).response.attachments
    return file.filename.rpartition(".")[2]


async def _synced(place: Place) -> Home:
    home = await place.home()
    await home.bot.tree.sync()
    return home


async def _with_figures(place: Place) -> Home:
    home = await _synced(place)
    record(50)
    await home.flushed()
    return home


async def _alert(home: Home, at_us: int) -> None:
    alert = make_alert(at_us, state=AlertState.RESOLVED, fired_us=at_us, resolved_us=at_us + MINUTE_US)
    await home.monitor.store.alerting.save([Step(alert)])


def posted(*moments_us: int) -> Callable[[Place], Awaitable[object]]:
    """Return what shows the titles in the channel after the jobs that post ran at these moments."""

    async def observe(place: Place) -> object:
        home = await place.home()
        await _alert(home, moments_us[0] - HOUR_US)
        for moment_us in moments_us:
            await _post(home, moment_us)
        return sorted(_titles(home))

    return observe


async def _post(home: Home, moment_us: int) -> None:
    await WeeklyReport(home.monitor, clock=lambda: moment_us).run()
    await DigestPost(home.cog._installation._responder, clock=lambda: moment_us).run()
    await home.env.settle()


def _titles(home: Home) -> list[str]:
    return [embed.title or "" for message in home.channel.history() for embed in message.embeds]


async def hour_of_the_digest(place: Place) -> object:
    """The hour in UTC at which a daily digest appears, on a day that is looked at every half an hour."""
    home = await place.home()
    day_us = MONDAY_US // (24 * HOUR_US) * 24 * HOUR_US
    await _post(home, day_us - 1)
    for half_hour in range(48):
        moment_us = day_us + half_hour * HOUR_US // 2
        await _post(home, moment_us)
        if _titles(home):
            return datetime.fromtimestamp(moment_us / 1e6, UTC).strftime("%H:%M")
    return None


async def checks_of_a_deploy(place: Place) -> object:
    home = await place.home()
    await deploy(home.monitor.store, now_us(), age_us=25 * HOUR_US, slower=1.5)
    await jobs.check_deploys(home.monitor)
    await DeployCheckPosts(home.monitor).run()
    return _titles(home)
