"""``/perf compare``: two periods of a command or service, or the time before and after a deploy, with confidence."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.cog.options import LONGEST, MAX_CHOICES, Autocomplete
from cogmeter.cog.responder import CommandAnswer, Responder, UserError
from cogmeter.cog.views import AnswerRequest, Buttons
from cogmeter.query.comparison import compare
from cogmeter.query.comparison_periods import UnknownPeriodError, offered_markers, reference
from cogmeter.query.records import Period, UnknownNameError
from cogmeter.render import formatting
from cogmeter.render.embeds.comparison import comparison_embed
from cogmeter.render.embeds.statistics import unknown_embed
from cogmeter.render.links import comparison_link
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter_storage.model import Marker

LENGTHS: Final = ("24h", "7d")  # offered after the markers


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""
    names, periods = Autocomplete(responder), _Periods(responder)

    @group.command(name="compare", description="What a deploy changed, or two periods: response times, errors, volume")
    @app_commands.describe(
        service="A command such as /ask, or a service (all)",
        before="A deploy or version, or a period such as 24h (up to the last deploy)",
        after="A deploy or version, or a period such as 24h (since the last deploy)",
    )
    @app_commands.autocomplete(service=names.subjects, before=periods.choices, after=periods.choices)
    async def compare_command(
        interaction: discord.Interaction,
        service: str | None = None,
        before: str | None = None,
        after: str | None = None,
    ) -> None:
        request = AnswerRequest("compare", Period.WEEK, service, before=before, after=after)
        await responder.answer(interaction, lambda: comparison_answer(responder, request))

    responder.answers |= {"compare": partial(comparison_answer, responder)}


async def comparison_answer(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    """Return the comparison with its chart and buttons.

    Raises:
        UserError: a text is no period.
    """
    monitor = responder.monitor
    try:
        found = await compare(
            monitor.query, request.service, request.operation, before=request.before, after=request.after
        )
    except UnknownNameError as error:
        return CommandAnswer(unknown_embed(error))
    except UnknownPeriodError as error:
        raise UserError.quoting(error) from None
    picture = None
    if found.before.operations + found.after.operations:
        timeline = await monitor.query.timeline(found.service, found.operation, found.range, trim=True)
        picture = await responder.draw(timeline)
    answered = AnswerRequest(
        "compare",
        Period.WEEK,
        found.service,
        found.operation,
        before=request.before,
        after=request.after,
        new_errors=len(found.new_errors),
    )
    link = comparison_link(monitor.settings, found.service, found.operation, request.before, request.after)
    return CommandAnswer(comparison_embed(found, picture, link=link), picture, Buttons(responder, answered))


class _Periods:
    """Completes the markers that were stored, newest first, and two lengths."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    async def choices(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        """Return markers and lengths with the typed text; none for a user without access."""
        if not await self._responder.access.admits(interaction):
            return []
        try:
            markers = await offered_markers(self._responder.monitor.query)
        except StorageError:
            return []  # the command itself reports the error
        return _choices(markers, current)


def _choices(markers: Sequence[Marker], typed: str) -> list[app_commands.Choice[str]]:
    wanted = typed.strip().casefold()
    found = [
        app_commands.Choice(
            name=formatting.cut(f"{formatting.clock_time(marker.at_us, with_date=True)} UTC · {marker.name}", LONGEST),
            value=reference(marker.id),
        )
        for marker in reversed(markers)
        if wanted in marker.name.casefold()
    ]
    lengths = [app_commands.Choice(name=length, value=length) for length in LENGTHS if wanted in length]
    return [*found[: MAX_CHOICES - len(lengths)], *lengths]
