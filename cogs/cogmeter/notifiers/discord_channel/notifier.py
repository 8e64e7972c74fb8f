"""Posts alerts to a Discord channel: one message per alert, with chart and buttons, edited as the alert changes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

import discord

from cogmeter.notifiers.base import Notifier, introduces_nothing, no_link
from cogmeter.notifiers.discord_channel.channel import BROKEN, NO_MENTIONS, THREAD_EXISTS, AlertChannel
from cogmeter.notifiers.discord_channel.message import (
    MessageBuilder,
    MessageGoneError,
    MessageRef,
    is_about,
    nonce_of,
    start_drawing,
    view_of,
)
from cogmeter.notifiers.discord_wording import (
    EDITED_TOO_OFTEN,
    OLD_US,
    UNKNOWN_CHANNEL,
    UNKNOWN_MESSAGE,
    followup,
    is_silent,
    notifies,
    with_mentions,
)
from cogmeter.query.query import now_us
from cogmeter.render import formatting
from cogmeter.render.rule_text import rule_title
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.notifiers.base import LinkOf, Notice, NotifierContext
    from cogmeter.notifiers.discord_channel.channel import MessageableChannel
    from cogmeter.notifiers.discord_channel.message import AlertMessage
    from cogmeter.query.records import IncidentContext
    from cogmeter.render.charts.chart import Picture
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Alert

SEARCHED: Final = 200  # the channel's newest messages that are searched for one that may have arrived
CHART_WAIT_S: Final = 1.0  # wait for the chart; a slower one is added to the message later
LATE_S: Final = 5.0  # wait for a slower chart, which delays the next alert
OLD_EDIT_S: Final = 15.0  # discord.py retries by itself when Discord refuses to edit an old message
NOT_ALLOWED_FILES: Final = "the bot is not allowed to attach files here"
THREAD_OPEN_MINUTES: Final = 1440  # without a message
REDRAWN: Final = frozenset({"worsened", "resolved"})  # changes that the chart should show

_logger = logging.getLogger("cogmeter.notifiers")


class ChannelNotifier(Notifier):
    """One message per alert, edited as the alert changes. Only an escalation pings, and only whoever the settings name.

    An edit notifies nobody, and Discord allows few edits of old messages. What an edit cannot do is done by a short
    reply, or by a message in the alert's thread if there is one and nobody is pinged.
    """

    name = "channel"
    label = "a Discord channel"
    setting = "alert_channel_id"
    edits_in_place = True
    per_alert = False
    out_of_band = False  # needs the bot's connection
    rate = None  # discord.py observes Discord's limits

    def __init__(
        self,
        bot: discord.Client,
        settings: Settings,
        *,
        context_of: Callable[[Alert], Awaitable[IncidentContext | None]],
        chart_of: Callable[[Alert], Awaitable[Picture | None]],
        introduces: Callable[[Alert], Awaitable[bool]] = introduces_nothing,
        link_of: LinkOf = no_link,
        clock: Callable[[], int] = now_us,
    ) -> None:
        """``context_of`` returns an alert's incident context, ``chart_of`` its chart or None.

        ``introduces`` returns True for an alert that explains its rule, ``link_of`` its link to the dashboard.
        """
        self._messages = MessageBuilder(
            context_of,
            clock,
            introduces=introduces,
            group=settings.command_group,
            link_of=link_of,
        )
        self._chart_of = chart_of
        self._bot = bot
        self._settings = settings
        self._clock = clock
        self._channel = AlertChannel(bot, settings)

    @classmethod
    def create(cls, context: NotifierContext) -> Self:
        """Return the notifier of PERFORMANCE_ALERT_CHANNEL_ID."""
        return cls(
            context.bot,
            context.settings,
            context_of=context.context_of,
            chart_of=context.chart_of,
            introduces=context.introduces,
            link_of=context.link_of,
        )

    async def prepare(self) -> None:
        """Check that the channel exists and allows what an alert needs, once the bot is connected."""
        await self._channel.check()

    async def notify(self, notice: Notice) -> str | None:
        """Post or edit the alert's message; the receipt names it."""
        try:
            if not notice.stored:
                await self._send(
                    await self._channel.resolve(), notice, self._messages.bare(notice.alert, test=notice.test)
                )
                return None
            ref = await self._post_or_edit(notice)
        except (discord.DiscordException, *BROKEN) as error:
            raise self._channel.refused(error) from error
        return None if ref is None else ref.to_receipt()

    async def refresh(self, notice: Notice) -> None:
        """Edit the alert's message; one that was deleted is not posted again."""
        ref = MessageRef.from_receipt(notice.receipt)
        if ref is not None:
            try:
                await self._edit(ref, notice, redraw=False)
            except MessageGoneError:
                return
            except (discord.DiscordException, *BROKEN) as error:
                raise self._channel.refused(error) from error

    async def _post_or_edit(self, notice: Notice) -> MessageRef | None:
        ref, searched = MessageRef.from_receipt(notice.receipt), False
        # Without a receipt, a later change may follow one whose attempt broke off and was never recorded.
        if ref is None and (notice.uncertain or notice.change.kind != "fired"):
            ref, searched = await self._search(notice), True
        if ref is None:
            return await self._post(notice)
        try:
            ref, edited = await self._edit(ref, notice, redraw=searched or notice.change.kind in REDRAWN)
        except MessageGoneError:
            return await self._post_again(notice)
        await self._follow_up(ref, notice, edited=edited, again=searched or notice.uncertain)
        return ref

    async def _post(self, notice: Notice) -> MessageRef:
        channel = await self._channel.resolve()
        allowed = self._channel.may(channel, "attach_files")
        drawing = start_drawing(self._chart_of, notice.alert) if allowed else None
        picture = await _within(drawing, CHART_WAIT_S)
        content = await self._messages.build(
            notice.alert, notice.members, picture=picture, problem="" if allowed else NOT_ALLOWED_FILES
        )
        message = await self._send(channel, notice, content)
        ref = MessageRef(channel.id, message.id, self._clock(), await self._open_thread(message, notice), content.drawn)
        if drawing is None or picture is not None:
            return ref
        late = await _within(drawing, LATE_S)
        return ref if late is None else await self._add_chart(ref, notice, late)

    async def _post_again(self, notice: Notice) -> MessageRef | None:
        """Post a deleted message again, unless the alert is resolved and was not critical."""
        posts = notice.alert.state is not AlertState.RESOLVED or notice.alert.severity == "critical"
        effect = "posting it again" if posts else "the alert is resolved, so nothing is posted"
        _logger.warning("The message of alert %d was deleted from the alert channel; %s", notice.alert.id, effect)
        return await self._post(notice) if posts else None

    async def _send(self, channel: MessageableChannel, notice: Notice, content: AlertMessage) -> discord.Message:
        """Send the alert's message. Discord accepts a nonce once, so a message that is sent twice appears once."""
        view = view_of(notice.alert) if notice.stored else None
        options: dict[str, Any] = {
            "embed": content.embed,
            "silent": is_silent(notice),
            "allowed_mentions": NO_MENTIONS,
        }
        if view is not None:
            options["view"] = view
        text = followup(notice, edited=True, posted_us=self._clock(), threaded=False)
        if text and notice.change.kind == "escalated":
            options["content"], options["allowed_mentions"] = self._pinging(text)
        try:
            return await channel.send(**options, files=content.files(), nonce=nonce_of(notice, "m"))
        except discord.NotFound as error:
            if error.code != UNKNOWN_MESSAGE:
                raise
            # The message of this nonce was posted, and deleted since.
            return await channel.send(**options, files=content.files())

    async def _edit(self, ref: MessageRef, notice: Notice, *, redraw: bool) -> tuple[MessageRef, bool]:
        """Edit the message to the present state; the second value is False if Discord allows no more edits."""
        drawing = start_drawing(self._chart_of, notice.alert) if redraw else None
        picture = await _within(drawing, LATE_S)
        drawn = picture is not None and picture.drawn
        content = await self._messages.build(
            notice.alert, notice.members, picture=picture if drawn else None, chart=ref.chart or drawn
        )
        try:
            edited = await self._edit_in_time(ref, notice, content)
        except discord.HTTPException as error:
            moved = error.code == UNKNOWN_CHANNEL and ref.channel != self._settings.alert_channel_id
            if error.code == UNKNOWN_MESSAGE or moved:
                raise MessageGoneError from error
            if error.code != EDITED_TOO_OFTEN:
                raise
            edited = False
        return replace(ref, chart=ref.chart or (edited and drawn)), edited

    async def _edit_in_time(self, ref: MessageRef, notice: Notice, content: AlertMessage) -> bool:
        message = self._at(ref.channel).get_partial_message(ref.message)
        view = view_of(notice.alert)
        options: dict[str, Any] = {"embed": content.embed, "view": view, "allowed_mentions": NO_MENTIONS}
        if content.drawn:
            options["attachments"] = content.files()
        editing = asyncio.ensure_future(message.edit(**options))
        old = self._clock() - ref.posted_us > OLD_US
        try:
            await asyncio.wait({editing}, timeout=OLD_EDIT_S if old else None)
        finally:
            if not editing.done():
                editing.cancel()
        if not editing.done():
            return False
        editing.result()
        return True

    async def _add_chart(self, ref: MessageRef, notice: Notice, picture: Picture) -> MessageRef:
        """Add the chart that was late, or the reason why there is none; a message without it is complete."""
        try:
            content = await self._messages.build(notice.alert, notice.members, picture=picture)
            await self._edit_in_time(ref, notice, content)
        except (discord.DiscordException, *BROKEN) as error:
            _logger.warning("Could not add the chart to the message of alert %d: %s", notice.alert.id, error)
            return ref
        return replace(ref, chart=picture.drawn)

    async def _follow_up(self, ref: MessageRef, notice: Notice, *, edited: bool, again: bool) -> None:
        """Post what the edit does not show; with ``again`` only if it was not posted before."""
        pings = notice.change.kind == "escalated"
        thread = None if pings else ref.thread  # a person who is pinged has not opened the thread yet
        text = followup(notice, edited=edited, posted_us=ref.posted_us, threaded=thread is not None)
        if not text or (again and await self._has_text(thread or ref.channel, text)):
            return
        content, mentions = self._pinging(text) if pings else (text, NO_MENTIONS)
        options: dict[str, Any] = {
            "content": content,
            "allowed_mentions": mentions,
            "silent": not notifies(notice),
            "nonce": nonce_of(notice, "f"),
        }
        if thread is not None:
            try:
                await self._at(thread).send(**options)
            except discord.HTTPException as error:
                if error.status not in {400, 403, 404}:
                    raise
                warning = "The thread of alert %d accepts no more messages; posting in the channel instead: %s"
                _logger.warning(warning, notice.alert.id, error)
            else:
                return
        reference = discord.MessageReference(message_id=ref.message, channel_id=ref.channel, fail_if_not_exists=False)
        await self._at(ref.channel).send(**options, reference=reference)

    async def _open_thread(self, message: discord.Message, notice: Notice) -> int | None:
        """Open the alert's thread with the details as its first message. Return None if there is no thread."""
        if not self._settings.alert_thread or isinstance(message.channel, discord.Thread) or message.guild is None:
            return None
        alert = notice.alert
        name = f"Alert {alert.id}: {rule_title(alert.rule)} of {formatting.clean(alert.service)}"
        try:
            thread = await message.create_thread(
                name=formatting.cut(name, 100), auto_archive_duration=THREAD_OPEN_MINUTES
            )
        except (discord.DiscordException, *BROKEN) as error:
            if getattr(error, "code", 0) == THREAD_EXISTS:
                return message.id  # a thread that was opened at a message has the message's id
            _logger.warning("Could not open a thread for alert %d: %s", alert.id, error)
            return None
        try:
            details = await self._messages.details(alert, notice.members, [notice.change])
            await thread.send(embed=details, silent=True, allowed_mentions=NO_MENTIONS)
        except (discord.DiscordException, *BROKEN) as error:
            _logger.warning("Could not post the details in the thread of alert %d: %s", alert.id, error)
        return thread.id

    async def _search(self, notice: Notice) -> MessageRef | None:
        """Return the alert's message if a broken-off attempt has posted it, among the channel's newest."""
        channel = await self._channel.resolve()
        try:
            async for message in channel.history(limit=SEARCHED):
                if self._own(message) and is_about(message, notice.alert):
                    posted_us = int(message.created_at.timestamp() * 1e6)
                    thread = await self._open_thread(message, notice)
                    return MessageRef(channel.id, message.id, posted_us, thread, bool(message.embeds[0].image.url))
        except discord.Forbidden as error:
            # Posting it twice is better than not at all.
            _logger.warning("Cannot check whether alert %d is in the channel already: %s", notice.alert.id, error)
        return None

    async def _has_text(self, channel: int, text: str) -> bool:
        """Return True if this follow-up was posted there before."""
        try:
            async for message in self._at(channel).history(limit=SEARCHED):
                if self._own(message) and message.content.endswith(text):
                    return True
        except discord.HTTPException as error:
            _logger.warning("Cannot check whether this was posted already: %s", error)
        return False

    def _own(self, message: discord.Message) -> bool:
        return self._bot.user is not None and message.author.id == self._bot.user.id

    def _at(self, channel: int) -> discord.PartialMessageable:
        return self._bot.get_partial_messageable(channel)

    def _pinging(self, text: str) -> tuple[str, discord.AllowedMentions]:
        """Return the text with the mentions that the settings name, and the permission to ping those alone."""
        role, user = self._settings.alert_escalate_role_id, self._settings.alert_escalate_user_id
        allowed = discord.AllowedMentions(
            everyone=False,
            roles=[] if role is None else [discord.Object(role)],
            users=[] if user is None else [discord.Object(user)],
            replied_user=False,
        )
        return with_mentions(text, role, user), allowed


async def _within(drawing: asyncio.Task[Picture | None] | None, timeout_s: float) -> Picture | None:
    """Return the picture if it is drawn in time; otherwise the task continues."""
    if drawing is None:
        return None
    await asyncio.wait({drawing}, timeout=timeout_s)
    return drawing.result() if drawing.done() else None
