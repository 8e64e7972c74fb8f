"""Starts the monitor and adds the command group to the client's tree, and stops and removes them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter.cog import (
    alert_buttons,
    alerts,
    comparison,
    cost,
    dashboard,
    deploy_check_posts,
    doctor,
    errors,
    export,
    fleet,
    forget,
    guide,
    health,
    live,
    mutes,
    report,
    resources,
    running,
    scheduled_posts,
    setup_guide,
    slow,
    statistics,
    thresholds,
    usage,
    views,
)
from cogmeter.cog.registration import Registration
from cogmeter.cog.responder import AccessPolicy, Responder
from cogmeter.monitor.monitor import Monitor
from cogmeter.web.server.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.settings import Settings
    from cogmeter.watch.client import AnyBot

# Every command family: a new one is a file in this package and a line here.
FAMILIES: Final[tuple[Callable[[app_commands.Group, Responder], None], ...]] = (
    statistics.add,
    slow.add,
    comparison.add,
    running.add,
    usage.add,
    cost.add,
    alerts.add,
    thresholds.add,
    mutes.add,
    errors.add,
    report.add,
    dashboard.add,
    setup_guide.add,
    doctor.add,
    guide.add,
    health.add,
    resources.add,
    fleet.add,
    live.add,
    export.add,
    forget.add,
)


class Installation:
    """The monitor of one client with its commands, buttons and servers: of the extension and of ``cogmeter.attach``."""

    def __init__(
        self, client: discord.Client, settings: Settings, tree: app_commands.CommandTree[Any] | None = None
    ) -> None:
        """Build the parts; ``start`` starts them. Without ``tree``, the commands go into the client's own."""
        self._client = client
        self.monitor = Monitor(client, settings)
        self.servers = Servers(self.monitor)
        guild = None if settings.guild_id is None else discord.Object(settings.guild_id)
        # No default permissions: they would hide the commands from an owner or role without administrator rights.
        # AccessPolicy decides at each use.
        group = app_commands.Group(name=settings.command_group, description="How this bot performs")
        self.registration = Registration(client, group, guild, sync=settings.sync_commands, tree=tree)
        self._responder = Responder(self.monitor, AccessPolicy(client, self.monitor), self.servers)
        for add in FAMILIES:
            add(group, self._responder)

    async def start(self) -> None:
        """Start the monitor, then add its commands. If that fails, stop everything again.

        Raises:
            SettingsError: a setting does not fit this machine or this bot.
            RecorderInUseError: cogmeter monitors another bot in this process.
        """
        await self.monitor.start()
        self.monitor.on_stop(self._remove)  # also when another monitor replaces that of a closed bot
        try:
            await self._add()
        except BaseException:
            await self.monitor.stop()
            raise

    async def stop(self) -> None:
        """Remove the commands and stop everything; buffered operations are stored first. Never raises."""
        await self.monitor.stop()
        await self.registration.end()  # of a monitor that did not start

    async def abandon(self) -> None:
        """Remove the commands and release everything after the event loop has ended."""
        try:
            await self._remove()
        finally:
            await self.monitor.abandon()

    async def _add(self) -> None:
        parts = self.monitor.parts
        self.monitor.reporters.append(self.registration.findings)
        self.registration.offer()
        with parts.guard("alert buttons", "they do not answer"):
            alert_buttons.add(self._client, self._responder)
            views.add(self._client, self._responder)
        with parts.guard("setup message", "its buttons and menus do not answer"):
            setup_guide.register(self._client, self._responder)
        with parts.guard("setup hint", "the log does not name the command"):
            await setup_guide.hint(self.monitor)
        with parts.guard("weekly report", "it is not posted"):
            weekly = scheduled_posts.WeeklyReport(self.monitor)
            self.monitor.schedule.every(scheduled_posts.INTERVAL_S, "weekly report", weekly.run)
        with parts.guard("digest", "it is not posted"):
            digest_post = scheduled_posts.DigestPost(self._responder)
            self.monitor.reporters.append(digest_post.findings)
            self.monitor.schedule.every(scheduled_posts.DIGEST_INTERVAL_S, "digest", digest_post.run)
        with parts.guard("checks after deploys", "they are not posted"):
            deploy_check_posts.add(self._client, self._responder)
            posts = deploy_check_posts.DeployCheckPosts(self.monitor)
            self.monitor.schedule.every(deploy_check_posts.INTERVAL_S, "posts of deploy checks", posts.run)
        with parts.guard("stored health", "cogmeter doctor does not show the checks of the running bot"):
            self.monitor.schedule.every(self.monitor.settings.sample_interval, "health", self.servers.health.keep)
        self.monitor.setting_changes.listeners.append(self.servers.follow)
        await self.servers.start()
        with parts.guard("command registration", "the commands may be missing in Discord"):
            self.monitor.watcher.events.add("on_ready", self._on_ready)
            if self._client.is_ready():
                await self._on_ready()

    async def _remove(self) -> None:
        self.monitor.watcher.events.remove("on_ready", self._on_ready)
        await self.registration.end()
        alert_buttons.remove(self._client)
        views.remove(self._client)
        deploy_check_posts.remove(self._client)
        setup_guide.remove(self._client)
        await self._responder.close()
        self.monitor.setting_changes.listeners.clear()  # they would start the servers again
        await self.servers.stop()

    async def _on_ready(self) -> None:
        """Register the commands and check the alert targets, now that the client is connected."""
        self.registration.begin()
        await self.monitor.ready()


# The name is in lower case because help commands look up cogs by it.
class Perf(commands.Cog, name="cogmeter", description="How this bot performs: summary and statistics."):
    """``bot.get_cog("cogmeter").monitor`` is the running monitor, ``.servers`` its HTTP servers."""

    def __init__(self, bot: AnyBot, settings: Settings) -> None:
        self.bot = bot
        self._installation = Installation(bot, settings)

    @property
    def monitor(self) -> Monitor:
        """The running monitor."""
        return self._installation.monitor

    @property
    def servers(self) -> Servers:
        """Its HTTP servers."""
        return self._installation.servers

    async def cog_load(self) -> None:
        """Start everything; see ``Installation.start``."""
        await self._installation.start()

    async def cog_unload(self) -> None:
        """Remove and stop everything."""
        await self._installation.stop()
