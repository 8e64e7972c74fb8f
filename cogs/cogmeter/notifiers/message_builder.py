"""What an alert's message shows: the embed with its circumstances, and the chart, which may come later or never."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

from cogmeter.query.query import now_us
from cogmeter.recording.background import detached
from cogmeter.render.embeds.alert import alert_embed_data
from cogmeter.render.embeds.alert_details import details_embed_data
from cogmeter.render.embeds.statistics import chart_file

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from cogmeter.query.records import IncidentContext
    from cogmeter.render.charts.chart import Picture
    from cogmeter_storage.alerting import Alert, AlertChange, Attempt

_logger = logging.getLogger("cogmeter.notifiers")


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """An embed, and the chart that is sent along with it."""

    embed: discord.Embed
    picture: Picture | None = None

    @property
    def drawn(self) -> bool:
        """Whether a new chart is sent along."""
        return self.picture is not None and self.picture.drawn

    def files(self) -> list[discord.File]:
        """The chart as an attachment, made anew at each call: discord.py closes what it has sent."""
        return [chart_file(self.picture.png, self.picture.chart)] if self.picture and self.drawn else []


class MessageBuilder:
    """Builds what is shown. An alert without its story is still an alert: it never waits for one that fails."""

    def __init__(
        self, story_of: Callable[[Alert], Awaitable[IncidentContext]], clock: Callable[[], int] = now_us
    ) -> None:
        """``story_of`` finds the circumstances of a breach."""
        self._story_of = story_of
        self._clock = clock

    async def of(
        self,
        alert: Alert,
        members: Sequence[Alert] = (),
        *,
        picture: Picture | None = None,
        chart: bool = False,
        trouble: str = "",
    ) -> AlertMessage:
        """The alert as it is now, with a new ``picture``, with the ``chart`` that its message has already, or with
        the ``trouble`` why it has none.
        """
        shown = alert_embed_data(
            alert,
            await self._story(alert),
            members,
            chart=chart or (picture is not None and picture.drawn),
            chart_trouble=trouble if picture is None else picture.trouble,
            now_us=self._clock(),
        )
        return AlertMessage(discord.Embed.from_dict(shown), picture)

    def bare(self, alert: Alert, *, test: bool) -> AlertMessage:
        """What is no stored alert, and has neither circumstances nor a chart."""
        shown = alert_embed_data(alert, None, chart=False, now_us=self._clock(), test=test)
        return AlertMessage(discord.Embed.from_dict(shown))

    async def details(
        self,
        alert: Alert,
        members: Sequence[Alert] = (),
        changes: Sequence[AlertChange] = (),
        attempts: Sequence[Attempt] = (),
    ) -> discord.Embed:
        """All that is known of the alert, for whoever looks into it."""
        story = await self._story(alert)
        shown = details_embed_data(alert, story, members, changes, attempts, now_us=self._clock())
        return discord.Embed.from_dict(shown)

    async def _story(self, alert: Alert) -> IncidentContext | None:
        try:
            return await self._story_of(alert)
        except Exception:
            _logger.exception("The circumstances of alert %d are not known", alert.id)
            return None


def begin_picture(
    picture_of: Callable[[Alert], Awaitable[Picture | None]], alert: Alert
) -> asyncio.Task[Picture | None]:
    """Have the chart drawn; the task never raises."""

    async def drawn() -> Picture | None:
        try:
            return await picture_of(alert)
        except Exception:
            _logger.exception("Alert %d has no chart", alert.id)
            return None

    return detached(drawn(), name="cogmeter: an alert's chart")
