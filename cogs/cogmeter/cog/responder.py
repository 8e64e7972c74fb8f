"""Answers commands: checks access, defers, runs the command's own function, sends its embed, and explains errors.

Nothing is raised to the host's command tree: its error handler would answer a second time.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import discord

from cogmeter.diagnostics.health import Health
from cogmeter.notifiers.discord_channel.channel import BROKEN, NO_MENTIONS
from cogmeter.recording.background import own_work
from cogmeter.render.embeds.statistics import chart_file
from cogmeter.render.escape import plain
from cogmeter.render.formatting import cut
from cogmeter.watch.client import bot_of
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.cog.views import AnswerRequest, Buttons
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.records import Timeline
    from cogmeter.render.charts.chart import Picture
    from cogmeter.settings import Settings
    from cogmeter.web.server.servers import Servers

T = TypeVar("T")

REFUSED = "These figures are for the bot's owner and team, and for the roles in PERFORMANCE_OPS_ROLE_IDS."
REFUSED_PRESS = "This is for the bot's owner and team, and for the roles in PERFORMANCE_OPS_ROLE_IDS."
STORE_FAILED = "The database does not answer; the bot's log says why. Recording continues."
FAILED = "Something went wrong in cogmeter; the log says what. Recording continues."

CONTENT = 2_000  # Discord's limit of a message's text
CLOSING_S = 3.0  # how long an unload waits until unused buttons are removed

_logger = logging.getLogger("cogmeter.cog")


class UserError(Exception):
    """A request that cannot be fulfilled; only the user who made it sees the text."""

    @classmethod
    def quoting(cls, error: Exception) -> UserError:
        """Return it with the text of an error of another layer. It may repeat what the user typed: it is escaped."""
        return cls(plain(str(error), CONTENT // 2))


class HasSettings(Protocol):
    """The monitor, as far as access depends on it."""

    settings: Settings


class AccessPolicy:
    """Access to the commands for the bot's owner or team, and for the roles that a setting names.

    It is checked at each use, because roles and teams change while the bot runs.
    """

    def __init__(self, bot: discord.Client, source: HasSettings) -> None:
        """``source`` is the monitor: its settings may change while the bot runs."""
        self._bot = bot
        self._source = source
        self._owners: frozenset[int] | None = None  # of a plain client; a bot has is_owner

    async def admits(self, interaction: discord.Interaction) -> bool:
        """Return whether this user may use the commands in this guild."""
        settings, user = self._source.settings, interaction.user
        if settings.guild_id is not None and interaction.guild_id != settings.guild_id:
            return False
        if isinstance(user, discord.Member) and any(role.id in settings.ops_role_ids for role in user.roles):
            return True
        return await self.is_owner(user)

    async def is_owner(self, user: discord.User | discord.Member) -> bool:
        """Return whether the user is the application's owner, or an admin or developer of its team."""
        bot = bot_of(self._bot)
        if bot is not None:
            return await bot.is_owner(user)
        if self._owners is None:
            self._owners = owners_of(self._bot.application or await self._bot.application_info())
        return user.id in self._owners


def owners_of(application: discord.AppInfo) -> frozenset[int]:
    """Return the ids of the users that ``Bot.is_owner`` would accept."""
    if application.team is None:
        return frozenset({application.owner.id})
    roles = {discord.TeamMemberRole.admin, discord.TeamMemberRole.developer}
    return frozenset(member.id for member in application.team.members if member.role in roles)


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """The message that answers a command; a picture that could not be drawn is not attached."""

    embed: discord.Embed
    picture: Picture | None = None
    buttons: Buttons | None = None
    stateless: discord.ui.View | None = None  # components that are answered by their custom ids alone
    file: discord.File | None = None


class Responder:
    """The shared part of all commands: access, deferral, charts, sending and errors."""

    def __init__(self, monitor: Monitor, access: AccessPolicy, servers: Servers | None = None) -> None:
        self.monitor = monitor
        self.servers = servers
        self.access = access
        self.health = Health(monitor) if servers is None else servers.health
        self.open: set[Buttons] = set()  # buttons that can still be pressed
        self.answers: dict[str, Callable[[AnswerRequest], Awaitable[CommandAnswer]]] = {}  # by kind of request

    async def answer(
        self, interaction: discord.Interaction, work: Callable[[], Awaitable[CommandAnswer]], *, ephemeral: bool = False
    ) -> None:
        """Run ``work`` for a user with access, and send what it returns; ``ephemeral``: only the user sees it."""
        await self.answer_checked(interaction, _no_check, lambda _: work(), ephemeral=ephemeral)

    async def answer_checked(
        self,
        interaction: discord.Interaction,
        check: Callable[[], Awaitable[T]],
        work: Callable[[T], Awaitable[CommandAnswer]],
        *,
        ephemeral: bool = False,
    ) -> None:
        """Run ``check``, pass its result to ``work``, and send what that returns.

        ``check`` runs before the deferral that the channel sees, so only the user sees its UserError. It must be quick.
        """
        try:
            if not await self.access.admits(interaction):
                await interaction.response.send_message(REFUSED, ephemeral=True, allowed_mentions=NO_MENTIONS)
                return
            checked = await check()
            await interaction.response.defer(thinking=True, ephemeral=ephemeral)
            await self._send(interaction, await work(checked))
        except UserError as error:
            await send_text(interaction, str(error))
        except StorageError as error:
            _logger.warning("A command could not be answered: %s", error)
            await send_text(interaction, STORE_FAILED)
        except (discord.DiscordException, *BROKEN) as error:
            _logger.warning("Discord did not accept an answer: %s", error)
        except Exception:
            self.monitor.faults["commands"] += 1
            _logger.exception("A command failed")
            await send_text(interaction, FAILED)

    async def press(
        self, interaction: discord.Interaction, work: Callable[[], Awaitable[None]], *, new_message: bool = False
    ) -> None:
        """Acknowledge a press of a stateless component within Discord's limit, check access, and run ``work``.

        Nothing is raised to the host. With ``new_message`` the answer is a message that only the user sees.
        """
        working = own_work.set(True)
        try:
            self._do_not_record(interaction)
            await interaction.response.defer(ephemeral=new_message, thinking=new_message)
            if not await self.access.admits(interaction):
                raise UserError(REFUSED_PRESS)
            await work()
        except UserError as error:
            await send_text(interaction, str(error))
        except StorageError as error:
            _logger.warning("A press could not be answered: %s", error)
            await send_text(interaction, STORE_FAILED)
        except (discord.DiscordException, *BROKEN) as error:
            _logger.warning("Discord did not accept the answer to a press: %s", error)
        except Exception:
            self.monitor.faults["presses"] += 1
            data: Any = interaction.data or {}
            _logger.exception("The press of %s failed", data.get("custom_id"))
            await send_text(interaction, FAILED)
        finally:
            own_work.reset(working)

    def _do_not_record(self, interaction: discord.Interaction) -> None:
        """Mark the press as cogmeter's own, in case components are not watched but acknowledgements are."""
        pending = self.monitor.watcher.tracker.get(interaction.id)
        if pending is not None:
            pending.own = True

    async def draw(self, timeline: Timeline) -> Picture:
        """Draw the chart of a timeline with the response-time threshold in effect. Never raises."""
        return await self.monitor.chart_builder.timeline(timeline)

    async def close(self) -> None:
        """Remove the buttons that can still be pressed, as far as Discord answers in time."""
        ending = [asyncio.create_task(buttons.end(), name="cogmeter-buttons") for buttons in list(self.open)]
        if ending:
            _, late = await asyncio.wait(ending, timeout=CLOSING_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _send(self, interaction: discord.Interaction, answer: CommandAnswer) -> None:
        buttons = answer.buttons
        if buttons is not None:
            buttons.shown(interaction)  # before they can be pressed
        try:
            await interaction.followup.send(
                embed=answer.embed,
                files=files_of(answer),
                view=buttons or answer.stateless or discord.utils.MISSING,
                allowed_mentions=NO_MENTIONS,
            )
        except BaseException:
            if buttons is not None:
                buttons.close()
            raise


def files_of(answer: CommandAnswer) -> list[discord.File]:
    """Return the attachments of an answer: its chart, if it was drawn, and its file."""
    picture = answer.picture
    charts = [chart_file(picture.png, picture.chart)] if picture is not None and picture.drawn else []
    return charts if answer.file is None else [*charts, answer.file]


async def send_text(interaction: discord.Interaction, text: str) -> None:
    """Send a text only to the user or, after a public deferral, to the channel. It must not contain internal details.

    Never raises for an error of Discord.
    """
    send = interaction.followup.send if interaction.response.is_done() else interaction.response.send_message
    try:
        await send(cut(text, CONTENT), ephemeral=True, allowed_mentions=NO_MENTIONS)
    except (discord.DiscordException, *BROKEN) as error:
        _logger.warning("Discord did not accept an error message: %s", error)


async def _no_check() -> None:
    """Accept a command whose options need no check."""
