"""Posts the digest and the weekly alert report to the alert channel. A restart neither repeats nor skips one.

The digest contains what the weekly report says: while it is on, the report is not posted.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import discord

from cogmeter.alerts.review.what_if import alert_report
from cogmeter.cog.responder import CommandAnswer, files_of
from cogmeter.diagnosis import Finding
from cogmeter.diagnostics.digest import DAILY, WEEKLY, digest_period, read_digest
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.discord_channel.channel import BROKEN, NO_MENTIONS, AlertChannel
from cogmeter.query.query import now_us
from cogmeter.query.records import Range
from cogmeter.render.embeds.digest import digest_embed
from cogmeter.render.embeds.report import report_embed
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.cog.responder import Responder
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.notifiers.discord_channel.channel import MessageableChannel

INTERVAL_S: Final = 600.0  # how often a job checks whether the weekly report is due
DIGEST_INTERVAL_S: Final = 60.0  # its time is a setting
KEY: Final = "weekly_report"  # of the stored state: "posted 2915", or "begun 2915" until Discord has confirmed it
DIGEST_KEY: Final = "digest"  # the same with the minute since 1970 at which it is due
WEEK_US: Final = 7 * DAY_US
FIRST_US: Final = 4 * DAY_US + 8 * HOUR_US  # Monday, 1970-01-05, 08:00 UTC
LATE_US: Final = {DAILY: 12 * HOUR_US, WEEKLY: 3 * DAY_US}  # a digest that was missed is posted up to then
AHEAD_US: Final = DAY_US  # what a clock that was further ahead has posted does not count when it is right again
SEARCHED: Final = 100  # messages of the channel that may be a post whose sending was interrupted

_logger = logging.getLogger("cogmeter.cog")


@dataclass(frozen=True, slots=True)
class Due:
    """A post that is due; ``number`` is higher for each later one."""

    number: int
    build: Callable[[], Awaitable[CommandAnswer]]
    late: bool = False  # too late to be posted


class ScheduledPost(ABC):
    """A job that posts a message once for each period. It retries, and logs an error when it changes."""

    name: str  # "weekly report"
    key: str  # of the stored state
    nonce: str  # the beginning of the messages' nonces, by which Discord drops a second one

    def __init__(self, monitor: Monitor, *, clock: Callable[[], int] = now_us) -> None:
        self._monitor = monitor
        self._clock = clock
        self._last_error = ""

    @property
    @abstractmethod
    def wanted(self) -> bool:
        """True if it is to be posted, by the settings."""

    @abstractmethod
    def due(self) -> Due:
        """Return the post that is due, or that was due last."""

    @abstractmethod
    def due_us(self, number: int) -> int:
        """Return when the post of this number is due."""

    async def run(self) -> None:
        """Post what is due, in a fleet as its leader. Never raises for an error of Discord or the store."""
        if not self._monitor.leadership.leads:
            return
        try:
            await self._post_due()
        except (NotifyError, StorageError) as error:
            if str(error) != self._last_error:
                _logger.warning("The %s could not be posted: %s", self.name, error)
            self._last_error = str(error)
        else:
            self._last_error = ""

    async def _post_due(self) -> None:
        """Post the last period's message; on the first run only store the period, as there is nothing to post."""
        due, store = self.due(), self._monitor.store
        state, last = _read(await store.get_value(self.key))
        if last is not None and last > due.number and self.due_us(last) - self._clock() <= AHEAD_US:
            return  # that one was posted before the clock was set back, or before its time of day was changed
        if not self.wanted or self._monitor.settings.alert_channel_id is None:
            if last not in {None, due.number}:
                await store.set_value(self.key, _written("posted", due.number))  # not later, when it is switched on
            return
        if last is None or last > due.number or (due.late and last < due.number):  # later: the clock was far ahead
            await store.set_value(self.key, _written("posted", due.number))
        elif last < due.number:
            await self._post(due, begun=False)
        elif state == "begun":
            await self._post(due, begun=True)

    async def _post(self, due: Due, *, begun: bool) -> None:
        """Post a message and store the state before and after; ``begun``: an earlier attempt may have arrived."""
        store = self._monitor.store
        alert_channel = AlertChannel(self._monitor.bot, self._monitor.settings)
        channel = await alert_channel.resolve()
        answer = await due.build()
        try:
            if not (begun and await self._was_posted(channel, answer.embed)):
                await store.set_value(self.key, _written("begun", due.number))
                await channel.send(
                    embed=answer.embed,
                    files=files_of(answer),
                    silent=True,
                    allowed_mentions=NO_MENTIONS,
                    nonce=f"{self.nonce}-{due.number}",
                )
        except (discord.DiscordException, *BROKEN) as error:
            raise alert_channel.refused(error) from error
        await store.set_value(self.key, _written("posted", due.number))

    async def _was_posted(self, channel: MessageableChannel, embed: discord.Embed) -> bool:
        """Return whether the channel has this post: no other message has its title and the days of its footer."""
        own = self._monitor.bot.user
        async for message in channel.history(limit=SEARCHED):
            if message.author == own and any(_days(posted) == _days(embed) for posted in message.embeds):
                return True
        return False


class WeeklyReport(ScheduledPost):
    """The report on the alerts of a week, on Mondays."""

    name = "weekly report"
    key = KEY
    nonce = "cogmeter-week"

    @property
    def wanted(self) -> bool:
        """Implement ScheduledPost.wanted."""
        settings = self._monitor.settings
        return settings.alert_weekly_report and settings.digest == "off"

    def due(self) -> Due:
        """Implement ScheduledPost.due."""
        week = (self._clock() - FIRST_US) // WEEK_US
        until_us = self.due_us(week)

        async def build() -> CommandAnswer:
            span = Range(until_us - WEEK_US, until_us, "last 7 days")
            report = await alert_report(self._monitor.store, self._monitor.settings, span)
            return CommandAnswer(report_embed(report, weekly=True))

        return Due(week, build)

    def due_us(self, number: int) -> int:
        """Implement ScheduledPost.due_us."""
        return FIRST_US + number * WEEK_US


class DigestPost(ScheduledPost):
    """The digest of a day or week, at the time of the settings."""

    name = "digest"
    key = DIGEST_KEY
    nonce = "cogmeter-digest"

    def __init__(self, responder: Responder, *, clock: Callable[[], int] = now_us) -> None:
        super().__init__(responder.monitor, clock=clock)
        self._responder = responder

    @property
    def wanted(self) -> bool:
        """Implement ScheduledPost.wanted."""
        return self._monitor.settings.digest != "off"

    def due(self) -> Due:
        """Implement ScheduledPost.due."""
        settings = self._monitor.settings
        period = digest_period(settings, self._clock())
        late = self._clock() - period.due_us > LATE_US.get(settings.digest, 0)
        span = period.range
        # On Mondays, a daily digest replaces the weekly report.
        whole_week = settings.alert_weekly_report and period.day.weekday() == 0
        alerts_of = Range(period.due_us - WEEK_US, period.due_us, "last 7 days") if whole_week else span

        async def build() -> CommandAnswer:
            return await digest_answer(self._responder, span, alerts_of=alerts_of, kind=settings.digest)

        return Due(period.due_us // MINUTE_US, build, late)

    def due_us(self, number: int) -> int:
        """Implement ScheduledPost.due_us."""
        return number * MINUTE_US

    def findings(self) -> list[Finding]:
        """Return the doctor's line about the digest; none if it is off."""
        settings = self._monitor.settings
        if settings.digest == "off":
            return []
        when = f"{settings.digest} at {settings.digest_time} {settings.time_zone}"
        if settings.alert_channel_id is None:
            return [
                Finding("digest", well=False, text=f"{when}: no channel", advice="Set PERFORMANCE_ALERT_CHANNEL_ID")
            ]
        text = f"{when}: {self._last_error}" if self._last_error else when
        return [Finding("digest", not self._last_error, text, "It is tried again every minute")]


async def digest_answer(
    responder: Responder, span: Range, *, alerts_of: Range | None = None, kind: str = ""
) -> CommandAnswer:
    """Return the digest of a period with its chart; ``kind``: daily or weekly, if it is a scheduled one."""
    digest = await read_digest(responder.monitor, span, now=await responder.health.foreground(), alerts_of=alerts_of)
    timeline = digest.summary.timeline
    picture = await responder.draw(timeline) if digest.summary.total.operations else None
    embed = digest_embed(digest, picture, group=responder.monitor.settings.command_group, kind=kind)
    return CommandAnswer(embed, picture)


def _days(embed: discord.Embed) -> tuple[str | None, str]:
    return embed.title, (embed.footer.text or "").partition(" · ")[0]


def _written(state: str, number: int) -> bytes:
    return f"{state} {number}".encode()


def _read(stored: bytes | None) -> tuple[str, int | None]:
    """Return the stored state and number; the number is None if this version did not write them."""
    state, _, number = (stored or b"").decode("utf-8", "replace").partition(" ")
    return state, int(number) if number.isdecimal() else None
