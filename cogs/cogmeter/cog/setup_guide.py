"""``/perf setup``: channel, roles, surfaces, digest, thresholds, dashboard and a test, in one message.

Its components are answered by their custom ids alone, so the message works after a restart. Each choice is stored as a
changed setting and is in effect at once.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeAlias

import discord
from discord import app_commands
from discord.ui import DynamicItem, Item

from cogmeter.alerts.review.proposals import proposals
from cogmeter.alerts.thresholds.keys import LimitError, key_of
from cogmeter.cog.options import MAX_CHOICES, choices
from cogmeter.cog.responder import CommandAnswer, Responder, UserError
from cogmeter.cog.setup_menus import (
    CHANNEL,
    DASHBOARD,
    DIGEST,
    OFF,
    ON,
    PREFIX,
    ROLES,
    WATCHED,
    button,
    buttons,
    menus,
    select,
    view_of,
    what_is_watched,
)
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.discord_channel.channel import NO_MENTIONS, AlertChannel
from cogmeter.query.errors import error_groups
from cogmeter.query.query import now_us
from cogmeter.query.records import Range
from cogmeter.render.embeds.alert_lists import test_alert_embed
from cogmeter.render.embeds.setup import DONE, FAILED, OPEN, SetupStep, changes_embed, proposals_embed, setup_embed
from cogmeter.render.escape import plain
from cogmeter.render.formatting import counted, cut
from cogmeter.settings import Settings, SettingsError, env_name, is_setting, setting_key, stored_text
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.monitor.monitor import Monitor

Press: TypeAlias = "Callable[[SetupPress], Awaitable[CommandAnswer]]"

TEMPLATE: Final = re.compile(rf"{PREFIX}(?P<action>[a-z-]+)")
ALL: Final = "all"  # the option that resets every setting
PROPOSED: Final = 5  # thresholds
LONGEST_KEY: Final = 80  # characters; an option has 100 for the value and the key
HINT: Final = "setup_hint"  # the stored key: the hint in the log is given once for each database
TEST_SERVICE, TEST_OPERATION = "cogmeter", "setup test"
NO_SERVER: Final = "Use this command in the server in which the alerts are to be posted."
OWNERS_ONLY: Final = "Only the bot's owner and team can change who has access."

_logger = logging.getLogger("cogmeter.cog")


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    async def changed_settings(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        if not await responder.access.admits(interaction):
            return []
        changes = responder.monitor.setting_changes
        names = sorted([*changes.changed, *(key.partition(":")[2] for key in changes.left_out)])
        return await choices([ALL, *names] if names else [], typed)

    @group.command(name="setup", description="Set up alerts, access and the dashboard, step by step")
    @app_commands.describe(reset="Reset a setting that was changed here, or: all")
    @app_commands.autocomplete(reset=changed_settings)
    async def setup(interaction: discord.Interaction, reset: str | None = None) -> None:
        async def answer() -> CommandAnswer:
            press = SetupPress(responder, interaction, [] if reset is None else [reset])
            return await (press.show() if reset is None else press.reset())

        await responder.answer(interaction, answer, ephemeral=True)


def register(bot: discord.Client, responder: Responder) -> None:
    """Answer the components of all setup messages, including those of earlier runs."""

    # discord.py creates an item of the class for each press: a class per bot has its bot's responder.
    class BoundItem(SetupItem, template=TEMPLATE):
        pass

    BoundItem.responder = responder
    bot.add_dynamic_items(BoundItem)


def remove(bot: discord.Client) -> None:
    """Stop answering the components."""
    bot.remove_dynamic_items(SetupItem)


async def hint(monitor: Monitor) -> None:
    """Name the command in the log, once for each database, while no channel receives alerts.

    Raises:
        StorageError: the store cannot be used.
    """
    if monitor.settings.alert_channel_id is None and await monitor.store.get_value(HINT) is None:
        group = monitor.settings.command_group
        _logger.info("Alerts go to the log only. Use /%s setup in Discord to choose a channel for them", group)
        await monitor.store.set_value(HINT, datetime.now(UTC).isoformat().encode())


class SetupItem(DynamicItem[Item[Any]], template=TEMPLATE):
    """A button or select menu of a setup message. Nothing is raised to the host."""

    responder: ClassVar[Responder]

    def __init__(self, item: Item[Any], action: str) -> None:
        super().__init__(item)
        self._action = action

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the item for a press, from its custom id."""
        del interaction
        return cls(item, match["action"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Answer the press, and show the present state."""
        await self.responder.press(interaction, lambda: self._run(interaction))

    async def _run(self, interaction: discord.Interaction[Any]) -> None:
        work = ACTIONS.get(self._action)
        if work is None:
            return
        data: Any = interaction.data or {}
        answer = await work(SetupPress(self.responder, interaction, list(data.get("values", ()))))
        await interaction.edit_original_response(
            embed=answer.embed, view=answer.stateless, allowed_mentions=NO_MENTIONS
        )


class SetupPress:
    """The actions of the components: each changes something, and returns the message as it is then."""

    def __init__(self, responder: Responder, interaction: discord.Interaction, values: list[str]) -> None:
        """``values`` are those that were chosen in a select menu."""
        self._responder = responder
        self._monitor: Monitor = responder.monitor
        self._interaction = interaction
        self._values = values
        self._actor = interaction.user.display_name

    async def show(self, note: str = "") -> CommandAnswer:
        """Return all steps.

        Raises:
            UserError: there is no server here.
        """
        guild = self._interaction.guild
        if guild is None:
            raise UserError(NO_SERVER)
        overrides = await self._monitor.store.alerting.overrides()
        thresholds = sum(not is_setting(key) for key in overrides)
        settings = self._monitor.settings
        steps = [
            await self._channel_step(),
            self._roles_step(),
            self._watch_step(),
            self._digest_step(),
            self._thresholds_step(thresholds),
            self._dashboard_step(),
            SetupStep("Try it", "send a test alert, and record a test error for `/" + self._group + " errors`.", OPEN),
        ]
        changed = len(overrides) - thresholds
        embed = setup_embed(steps, changed=changed, note=note)
        return CommandAnswer(embed, stateless=view_of(*menus(settings, guild), *buttons(settings, changed)))

    async def channel(self) -> CommandAnswer:
        """Send alerts to the chosen channel, if the bot may post them there; no channel: reset."""
        if not self._values:
            return await self._change({CHANNEL: None})
        candidate = self._monitor.settings.model_copy(update={CHANNEL: int(self._values[0])})
        mention = f"<#{candidate.alert_channel_id}>"
        try:
            await AlertChannel(self._monitor.bot, candidate, name=mention).check()
        except NotifyError as error:
            return await self.show(f"{FAILED} {error}. Then choose the channel again.")
        return await self._change({CHANNEL: self._values[0]}, f"{DONE} Alerts go to {mention}.")

    async def roles(self) -> CommandAnswer:
        """Let the chosen roles of this server use the commands, besides those of other servers."""
        if not await self._responder.access.is_owner(self._interaction.user):
            raise UserError(OWNERS_ONLY)
        guild = self._interaction.guild
        elsewhere = {role for role in self._monitor.settings.ops_role_ids if guild is None or not guild.get_role(role)}
        roles = frozenset(elsewhere | set(map(int, self._values)))
        return await self._change({ROLES: stored_text(roles) if roles else None})

    async def watch(self) -> CommandAnswer:
        """Watch the chosen surfaces, and no others."""
        return await self._change({field: stored_text(field in self._values) for field in WATCHED})

    async def digest(self) -> CommandAnswer:
        """Post the digest as often as chosen."""
        return await self._change({DIGEST: self._values[0]})

    async def dashboard_on(self) -> CommandAnswer:
        """Switch the dashboard on."""
        return await self._change({DASHBOARD: stored_text(True)})

    async def dashboard_off(self) -> CommandAnswer:
        """Switch the dashboard off."""
        return await self._change({DASHBOARD: stored_text(False)})

    async def proposals(self, note: str = "") -> CommandAnswer:
        """Return the proposed thresholds, with a menu to use them."""
        monitor = self._monitor
        overrides = await monitor.store.alerting.overrides()
        found = await proposals(monitor.store, monitor.settings, now_us=now_us(), most=PROPOSED)
        own = [one for one in found if one.proposal.raised and key_of(one.subject) not in overrides]
        options = [
            discord.SelectOption(label=cut(one.text, 100), value=f"{one.proposal.value:.12g} {key_of(one.subject)}")
            for one in own
            if len(key_of(one.subject)) <= LONGEST_KEY
        ]
        menu = [select("use", "Use these thresholds", options, most=len(options))] if options else []
        embed = proposals_embed([one.text for one in own], group=self._group, note=note)
        return CommandAnswer(embed, stateless=view_of(*menu, button("Back", "back")))

    async def use(self) -> CommandAnswer:
        """Set the chosen thresholds."""
        pairs = [value.partition(" ") for value in self._values]
        try:
            entries = await self._monitor.override({key: value for value, _, key in pairs}, self._actor)
        except LimitError as error:
            raise UserError.quoting(error) from None
        return await self.proposals(f"{DONE} {counted(len(entries), 'threshold')} changed.")

    async def test_alert(self) -> CommandAnswer:
        """Send a test alert to every target."""
        result = test_alert_embed(await self._monitor.alerting.delivery.test(self._actor))
        return await self.show(f"**{result.title}**\n{result.description}")

    async def test_error(self) -> CommandAnswer:
        """Record an error that is marked as a test, and name its group."""
        monitor, group = self._monitor, self._group
        try:
            raise SetupTestError(f"Test error by {self._actor} from /{group} setup: nothing is wrong")
        except SetupTestError as error:
            monitor.recorder.errors.failed(error, TEST_SERVICE, TEST_OPERATION)
        await monitor.flusher.flush()
        until_us = now_us() + 1
        span = Range(until_us - DAY_US, until_us, "")
        found = await error_groups(monitor.query, span, services=[TEST_SERVICE], limit=1)
        name = f"Error {found.groups[0].group.id}" if found.groups else "a test error"
        return await self.show(f"{DONE} Recorded {name} ({SetupTestError.__name__}). See it with `/{group} errors`.")

    async def changes(self, note: str = "") -> CommandAnswer:
        """Return the settings that are changed in chat, with a menu to reset them."""
        changes = self._monitor.setting_changes
        overrides = await self._monitor.store.alerting.overrides()
        thresholds = sum(not is_setting(key) for key in overrides)
        embed = changes_embed(changes.changed, changes.left_out, thresholds=thresholds, group=self._group, note=note)
        fields = sorted(key.partition(":")[2] for key in overrides if is_setting(key))
        options = [discord.SelectOption(label="All", value=ALL)]
        options += [discord.SelectOption(label=cut(_name(field), 100), value=cut(field, 100)) for field in fields]
        menu = [select("reset", "Reset to the configured value", options[:MAX_CHOICES], most=1)] if fields else []
        return CommandAnswer(embed, stateless=view_of(*menu, button("Back", "back")))

    async def reset(self) -> CommandAnswer:
        """Reset the chosen setting, or all.

        Raises:
            UserError: it is not changed, or the user may not change it.
        """
        overrides = await self._monitor.store.alerting.overrides()
        fields = {key.partition(":")[2] for key in overrides if is_setting(key)}
        chosen = self._values[0].strip().lower()
        names = fields if chosen == ALL else {field for field in fields if chosen in _names(field)}
        if not names:
            raise UserError(f"{plain(self._values[0], 60)} is not changed in chat. There is nothing to reset.")
        await self._store(dict.fromkeys(names))
        return await self.changes(f"{DONE} Reset: {', '.join(plain(_name(field), 60) for field in sorted(names))}")

    async def _change(self, values: dict[str, str | None], note: str = "") -> CommandAnswer:
        """Change settings, and return all steps. The configured value is stored as no change."""
        configured = self._monitor.setting_changes.configured
        same = {field for field, value in values.items() if value == stored_text(getattr(configured, field))}
        await self._store({field: None if field in same else value for field, value in values.items()})
        return await self.show(note or f"{DONE} Stored, and in effect.")

    async def _store(self, values: dict[str, str | None]) -> None:
        if ROLES in values and not await self._responder.access.is_owner(self._interaction.user):
            raise UserError(OWNERS_ONLY)
        try:
            await self._monitor.setting_changes.change(values, self._actor)
        except SettingsError as error:
            raise UserError.quoting(error) from None

    async def _channel_step(self) -> SetupStep:
        settings, title = self._monitor.settings, "Channel"
        if settings.alert_channel_id is None:
            return SetupStep(title, "alerts go to the log only. Choose where to post them.", OPEN)
        mention = f"<#{settings.alert_channel_id}>"
        try:
            await AlertChannel(self._monitor.bot, settings, name=mention).check()
        except NotifyError as error:
            return SetupStep(title, f"{error}.", FAILED)
        return SetupStep(title, f"alerts go to {mention}.")

    def _roles_step(self) -> SetupStep:
        roles = ", ".join(f"<@&{role}>" for role in sorted(self._monitor.settings.ops_role_ids)[:10])
        also = f", and {roles}" if roles else " only. Choose roles to share it"
        return SetupStep("Access", f"the bot's owner and team{also}.", DONE if roles else OPEN)

    def _watch_step(self) -> SetupStep:
        off = [what_is_watched(field) for field in WATCHED if not getattr(self._monitor.settings, field)]
        text = f"all but: {'; '.join(off)}." if off else "everything."
        return SetupStep("Watched", text)

    def _digest_step(self) -> SetupStep:
        often = self._monitor.settings.digest
        return SetupStep("Digest", f"{often}.", OPEN if often == "off" else DONE)

    def _thresholds_step(self, changed: int) -> SetupStep:
        text = f"{counted(changed, 'threshold')} changed." if changed else "the defaults and your settings apply."
        return SetupStep("Thresholds", f"{text} The button proposes some from your own operations.", DONE)

    def _dashboard_step(self) -> SetupStep:
        if not self._monitor.settings.analytics_dashboard:
            return SetupStep("Dashboard", "off.", OPEN)
        servers = self._responder.servers
        addresses = servers.addresses if servers is not None else []
        if not addresses:
            return SetupStep("Dashboard", f"on, and no port is open: see `/{self._group} doctor`.", FAILED)
        return SetupStep("Dashboard", f"on at {addresses[0]} (on the bot's machine).")

    @property
    def _group(self) -> str:
        return self._monitor.settings.command_group


class SetupTestError(Exception):
    """The test error of ``/perf setup``: nothing is wrong."""


def _name(field: str) -> str:
    """Return a setting's name; that of a setting of another version is its field."""
    return env_name(field) if field in Settings.model_fields else setting_key(field)


def _names(field: str) -> set[str]:
    """Return what a user may type for a setting, in lower case."""
    return {field, f"performance_{field}", _name(field).lower()}


# The action of every component.
ACTIONS: Final[dict[str, Press]] = {
    "channel": SetupPress.channel,
    "roles": SetupPress.roles,
    "watch": SetupPress.watch,
    "digest": SetupPress.digest,
    "thresholds": SetupPress.proposals,
    "use": SetupPress.use,
    f"dashboard-{ON}": SetupPress.dashboard_on,
    f"dashboard-{OFF}": SetupPress.dashboard_off,
    "test-alert": SetupPress.test_alert,
    "test-error": SetupPress.test_error,
    "changes": SetupPress.changes,
    "reset": SetupPress.reset,
    "back": SetupPress.show,
}
