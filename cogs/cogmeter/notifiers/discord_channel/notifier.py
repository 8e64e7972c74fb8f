"""Delivers alerts to a Discord channel: one living message for each, with the chart of the breach and buttons."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import discord

from cogmeter.notifiers.discord_channel.buttons import view_of
from cogmeter.notifiers.discord_channel.channel import (
    BROKEN,
    EDITED_TOO_OFTEN,
    THREAD_EXISTS,
    UNKNOWN_CHANNEL,
    UNKNOWN_MESSAGE,
    AlertChannel,
)
from cogmeter.notifiers.discord_channel.followups import OLD_US, followup, loud
from cogmeter.notifiers.discord_channel.message_ref import MessageGoneError, MessageRef, is_about, nonce_of
from cogmeter.notifiers.message_builder import MessageBuilder, begin_picture
from cogmeter.query.query import now_us
from cogmeter.render import formatting
from cogmeter.render.rule_text import rule_title
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.notifiers.base import Notice
    from cogmeter.notifiers.discord_channel.channel import Room
    from cogmeter.notifiers.message_builder import AlertMessage
    from cogmeter.query.records import IncidentContext
    from cogmeter.render.charts.chart import Picture
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Alert

LOOKED_AT: Final = 200  # of a channel's newest messages, for one that may have arrived
PATIENCE_S: Final = 1.0  # for the chart; one that takes longer is added to the message when it is there
LATE_S: Final = 5.0  # for a chart that comes later: the next alert waits meanwhile
OLD_EDIT_S: Final = 15.0  # discord.py waits and tries again by itself when Discord refuses to edit an old message
NOT_ALLOWED_FILES: Final = "the bot is not allowed to attach files here"
KEPT_OPEN_MINUTES: Final = 1440  # a thread in which nobody writes
REDRAWN: Final = frozenset({"worsened", "resolved"})  # changes that the chart should show
NOBODY: Final = discord.AllowedMentions.none()

_logger = logging.getLogger("cogmeter.notifiers")


class ChannelNotifier:
    """One message for each alert, edited as the alert goes on. An escalation pings whom the settings name, else nobody.

    What an edit cannot do, because it notifies nobody and Discord allows few of old messages, a short reply to the
    message does, or a line in the alert's thread, where there is one and nobody is to be pinged.
    """

    name = "channel"
    living = True
    single = False

    def __init__(
        self,
        bot: discord.Client,
        settings: Settings,
        *,
        story_of: Callable[[Alert], Awaitable[IncidentContext]],
        picture_of: Callable[[Alert], Awaitable[Picture | None]],
        clock: Callable[[], int] = now_us,
    ) -> None:
        """``story_of`` finds the circumstances of a breach; ``picture_of`` draws it, None where there is no chart."""
        self._faces = MessageBuilder(story_of, clock)
        self._picture_of = picture_of
        self._bot = bot
        self._settings = settings
        self._clock = clock
        self._place = AlertChannel(bot, settings)

    async def prepare(self) -> None:
        """Look whether the channel is there and allows what an alert needs; to be asked once the bot is ready."""
        await self._place.examine()

    async def notify(self, notice: Notice) -> str | None:
        """Post the alert's message, or bring it up to date; the receipt says where it is."""
        try:
            if not notice.stored:
                await self._send(await self._place.room(), notice, self._faces.bare(notice.alert, test=notice.test))
                return None
            posted = await self._told(notice)
        except (discord.DiscordException, *BROKEN) as error:
            raise self._place.refused(error) from error
        return None if posted is None else posted.written()

    async def _told(self, notice: Notice) -> MessageRef | None:
        posted, found = MessageRef.read(notice.receipt), False
        # Without a receipt a later change may follow one whose attempt broke off, and was never ended.
        if posted is None and (notice.uncertain or notice.change.kind != "fired"):
            posted, found = await self._found(notice), True
        if posted is None:
            return await self._post(notice)
        try:
            posted, edited = await self._edit(posted, notice, redraw=found or notice.change.kind in REDRAWN)
        except MessageGoneError:
            return await self._post_again(notice)
        await self._follow_up(posted, notice, edited=edited, again=found or notice.uncertain)
        return posted

    async def _post(self, notice: Notice) -> MessageRef:
        room = await self._place.room()
        allowed = self._place.may(room, "attach_files")
        drawing = begin_picture(self._picture_of, notice.alert) if allowed else None
        picture = await _within(drawing, PATIENCE_S)
        face = await self._faces.of(
            notice.alert, notice.members, picture=picture, trouble="" if allowed else NOT_ALLOWED_FILES
        )
        message = await self._send(room, notice, face)
        posted = MessageRef(room.id, message.id, self._clock(), await self._open_thread(message, notice), face.drawn)
        if drawing is None or picture is not None:
            return posted
        late = await _within(drawing, LATE_S)
        return posted if late is None else await self._with_chart(posted, notice, late)

    async def _post_again(self, notice: Notice) -> MessageRef | None:
        """Its message was deleted. One about what is over is not missed, unless it was critical."""
        over = notice.alert.state is AlertState.RESOLVED
        told = not over or notice.alert.severity == "critical"
        said = "it is posted anew" if told else "it is over, so nothing is posted"
        _logger.warning("The message of alert %d was deleted from the alert channel; %s", notice.alert.id, said)
        return await self._post(notice) if told else None

    async def _send(self, room: Room, notice: Notice, face: AlertMessage) -> discord.Message:
        """The alert's message. Discord takes a nonce once, so that one which was sent twice appears once."""
        alert = notice.alert
        quiet = alert.severity == "info" or alert.state is not AlertState.FIRING
        view = view_of(alert) if notice.stored else None
        options: dict[str, Any] = {
            "embed": face.embed,
            "silent": quiet and not loud(notice),
            "allowed_mentions": NOBODY,
        }
        if view is not None:
            options["view"] = view
        words = followup(notice, edited=True, posted_us=self._clock(), threaded=False)
        if words and notice.change.kind == "escalated":
            options["content"], options["allowed_mentions"] = self._pinging(words)
        try:
            return await room.send(**options, files=face.files(), nonce=nonce_of(notice, "m"))
        except discord.NotFound as error:
            if error.code != UNKNOWN_MESSAGE:
                raise
            # The message of this nonce was posted, and deleted since.
            return await room.send(**options, files=face.files())

    async def _edit(self, posted: MessageRef, notice: Notice, *, redraw: bool) -> tuple[MessageRef, bool]:
        """Bring the message up to date; False if Discord allows no more edits of it."""
        drawing = begin_picture(self._picture_of, notice.alert) if redraw else None
        picture = await _within(drawing, LATE_S)
        drawn = picture is not None and picture.drawn
        face = await self._faces.of(
            notice.alert, notice.members, picture=picture if drawn else None, chart=posted.chart or drawn
        )
        try:
            edited = await self._edit_in_time(posted, notice, face)
        except discord.HTTPException as error:
            moved = error.code == UNKNOWN_CHANNEL and posted.channel != self._settings.alert_channel_id
            if error.code == UNKNOWN_MESSAGE or moved:
                raise MessageGoneError from error
            if error.code != EDITED_TOO_OFTEN:
                raise
            edited = False
        return replace(posted, chart=posted.chart or (edited and drawn)), edited

    async def _edit_in_time(self, posted: MessageRef, notice: Notice, face: AlertMessage) -> bool:
        message = self._at(posted.channel).get_partial_message(posted.message)
        options: dict[str, Any] = {"embed": face.embed, "view": view_of(notice.alert), "allowed_mentions": NOBODY}
        if face.drawn:
            options["attachments"] = face.files()
        editing = asyncio.ensure_future(message.edit(**options))
        old = self._clock() - posted.posted_us > OLD_US
        try:
            await asyncio.wait({editing}, timeout=OLD_EDIT_S if old else None)
        finally:
            if not editing.done():
                editing.cancel()
        if not editing.done():
            return False
        editing.result()
        return True

    async def _with_chart(self, posted: MessageRef, notice: Notice, picture: Picture) -> MessageRef:
        """Add the chart that was not drawn in time, or why there is none; a message without it is complete."""
        try:
            face = await self._faces.of(notice.alert, notice.members, picture=picture)
            await self._edit_in_time(posted, notice, face)
        except (discord.DiscordException, *BROKEN) as error:
            _logger.warning("Alert %d stays without its chart: %s", notice.alert.id, error)
            return posted
        return replace(posted, chart=picture.drawn)

    async def _follow_up(self, posted: MessageRef, notice: Notice, *, edited: bool, again: bool) -> None:
        """Say what the edit does not; ``again`` if it may have been said before."""
        pings = notice.change.kind == "escalated"
        thread = None if pings else posted.thread  # who is called has not opened the thread yet
        words = followup(notice, edited=edited, posted_us=posted.posted_us, threaded=thread is not None)
        if not words or (again and await self._said(thread or posted.channel, words)):
            return
        content, mentions = self._pinging(words) if pings else (words, NOBODY)
        options: dict[str, Any] = {
            "content": content,
            "allowed_mentions": mentions,
            "silent": not loud(notice),
            "nonce": nonce_of(notice, "f"),
        }
        if thread is not None:
            try:
                await self._at(thread).send(**options)
            except discord.HTTPException as error:
                if error.status not in {400, 403, 404}:
                    raise
                words = "The thread of alert %d takes nothing more, so it goes on in the channel: %s"
                _logger.warning(words, notice.alert.id, error)
            else:
                return
        reference = discord.MessageReference(
            message_id=posted.message, channel_id=posted.channel, fail_if_not_exists=False
        )
        await self._at(posted.channel).send(**options, reference=reference)

    async def _open_thread(self, message: discord.Message, notice: Notice) -> int | None:
        """The alert's thread, with the details as its first message; None if there is to be none, or cannot be."""
        if not self._settings.alert_thread or isinstance(message.channel, discord.Thread) or message.guild is None:
            return None
        alert = notice.alert
        name = f"Alert {alert.id}: {rule_title(alert.rule)} of {formatting.clean(alert.service)}"
        try:
            thread = await message.create_thread(
                name=formatting.cut(name, 100), auto_archive_duration=KEPT_OPEN_MINUTES
            )
        except (discord.DiscordException, *BROKEN) as error:
            if getattr(error, "code", 0) == THREAD_EXISTS:
                return message.id  # as every thread that was opened at a message
            _logger.warning("Alert %d has no thread: %s", alert.id, error)
            return None
        try:
            details = await self._faces.details(alert, notice.members, [notice.change])
            await thread.send(embed=details, silent=True, allowed_mentions=NOBODY)
        except (discord.DiscordException, *BROKEN) as error:
            _logger.warning("The thread of alert %d stays without details: %s", alert.id, error)
        return thread.id

    async def _found(self, notice: Notice) -> MessageRef | None:
        """The alert's message among the newest of the channel, if an attempt that broke off has posted it."""
        room = await self._place.room()
        try:
            async for message in room.history(limit=LOOKED_AT):
                if self._own(message) and is_about(message, notice.alert):
                    posted_us = int(message.created_at.timestamp() * 1e6)
                    thread = await self._open_thread(message, notice)
                    return MessageRef(room.id, message.id, posted_us, thread, bool(message.embeds[0].image.url))
        except discord.Forbidden as error:
            # Better told twice than not at all.
            _logger.warning("Cannot look whether alert %d is in the channel already: %s", notice.alert.id, error)
        return None

    async def _said(self, place: int, words: str) -> bool:
        """Whether this follow-up arrived there before."""
        try:
            async for message in self._at(place).history(limit=LOOKED_AT):
                if self._own(message) and message.content.endswith(words):
                    return True
        except discord.HTTPException as error:
            _logger.warning("Cannot look whether this was said already: %s", error)
        return False

    def _own(self, message: discord.Message) -> bool:
        return self._bot.user is not None and message.author.id == self._bot.user.id

    def _at(self, channel: int) -> discord.PartialMessageable:
        return self._bot.get_partial_messageable(channel)

    def _pinging(self, words: str) -> tuple[str, discord.AllowedMentions]:
        """The words behind the mentions that the settings ask for, and leave to ping those alone."""
        role, user = self._settings.alert_escalate_role_id, self._settings.alert_escalate_user_id
        mentions = [f"<@&{role}>"] * (role is not None) + [f"<@{user}>"] * (user is not None)
        allowed = discord.AllowedMentions(
            everyone=False,
            roles=[] if role is None else [discord.Object(role)],
            users=[] if user is None else [discord.Object(user)],
            replied_user=False,
        )
        return " ".join([*mentions, words]), allowed


async def _within(drawing: asyncio.Task[Picture | None] | None, patience_s: float) -> Picture | None:
    """The picture, if it is there in time; the task goes on otherwise."""
    if drawing is None:
        return None
    await asyncio.wait({drawing}, timeout=patience_s)
    return drawing.result() if drawing.done() else None
