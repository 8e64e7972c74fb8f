"""``/perf mute`` and ``/perf unmute``: what nobody wants to hear of for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.alerts.review.muting import REASON  # noqa: TC001 - discord.py evaluates the annotations of a command
from cogmeter.cog.autocomplete import MOST, Autocomplete, known_service, rule_choices, rule_named
from cogmeter.cog.options import seconds_of
from cogmeter.cog.responder import CommandAnswer, Responder, UserError
from cogmeter.query.query import now_us
from cogmeter.render.embeds.alert_lists import muted_embed, scope, unmuted_embed
from cogmeter.render.formatting import clock_time, cut
from cogmeter_storage.alerting import Mute
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL: Final = "all"
NOTHING_NAMED: Final = "Name a service or a rule to mute, or `all` as the service for every one."


def add(group: app_commands.Group, desk: Responder) -> None:
    """Add the commands to the group."""
    names = Autocomplete(desk)

    async def muted(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        return await _choices(desk, interaction, current)

    @group.command(name="mute", description="Mute alerts of a service or a rule")
    @app_commands.describe(
        duration="For how long: 30m, 4h, 1d, at most 30d",
        service="Of which service, or: all",
        rule="Of which rule (every one)",
        reason="Why, for others to read",
    )
    @app_commands.autocomplete(service=names.services, rule=rule_choices)
    async def mute(
        interaction: discord.Interaction,
        duration: str,
        service: str | None = None,
        rule: str | None = None,
        reason: app_commands.Range[str, 1, REASON] | None = None,
    ) -> None:
        wanted: list[Mute] = []

        async def check() -> None:
            wanted.append(await _wanted(interaction, duration, service, rule, reason))
            await known_service(desk, wanted[0].service)

        await desk.answer(interaction, lambda: _mute(desk, wanted[0]), check=check)

    @group.command(name="unmute", description="End a mute, or all mutes of a service or a rule")
    @app_commands.describe(mute="Which one", service="All of this service, or: all", rule="All of this rule")
    @app_commands.autocomplete(mute=muted, service=names.services, rule=rule_choices)
    async def unmute(
        interaction: discord.Interaction, mute: str | None = None, service: str | None = None, rule: str | None = None
    ) -> None:
        named: list[str | None] = []

        async def check() -> None:
            if mute is None and service is None and rule is None:
                raise UserError("Name the mute to end, or a service or a rule, or `all` as the service for every one.")
            named.append(None if rule is None else await rule_named(rule))

        actor = interaction.user.display_name
        await desk.answer(interaction, lambda: _unmute(desk, actor, mute, service, named[0]), check=check)


async def _wanted(
    interaction: discord.Interaction, duration: str, service: str | None, rule: str | None, reason: str | None
) -> Mute:
    """The mute that is asked for; raises Refusal."""
    if service is None and rule is None:
        raise UserError(NOTHING_NAMED)
    length_us, begin_us = int(seconds_of(duration) * 1e6), now_us()
    return Mute(
        service="" if service is None or service.casefold() == ALL else service,
        rule="" if rule is None else await rule_named(rule),
        since_us=begin_us,
        until_us=begin_us + length_us,
        actor=interaction.user.display_name,
        reason=(reason or "").strip(),
    )


async def _mute(desk: Responder, mute: Mute) -> CommandAnswer:
    kept = await desk.monitor.alerting.engine.mute(mute, mute.since_us)
    already = kept.since_us != mute.since_us
    return CommandAnswer.plain(muted_embed(kept, desk.monitor.settings.command_group, already=already))


async def _unmute(
    desk: Responder, actor: str, mute: str | None, service: str | None, rule: str | None
) -> CommandAnswer:
    at_us = now_us()
    holding = await desk.monitor.store.alerting.mutes(at_us)
    ids = [one.id for one in holding if _meant(one, mute, service, rule)]
    ended = await desk.monitor.alerting.engine.unmute(ids, actor, at_us) if ids else []
    return CommandAnswer.plain(unmuted_embed(ended))


def _meant(one: Mute, mute: str | None, service: str | None, rule: str | None) -> bool:
    """Whether a mute is the one that was chosen, or fits the service and the rule that were named."""
    if mute is not None:
        return str(one.id) == mute.strip()
    everything = service is not None and service.casefold() == ALL
    return (service is None or everything or one.service == service) and (rule is None or one.rule == rule)


async def _choices(desk: Responder, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
    """The mutes that hold, like what is typed; none for a user whom the gate does not admit."""
    if not await desk.gate.admits(interaction):
        return []
    try:
        mutes: Sequence[Mute] = await desk.monitor.store.alerting.mutes(now_us())
    except StorageError:
        return []  # the command itself will say what is wrong
    named = [(f"{scope(one)} until {clock_time(one.until_us, with_date=True)} UTC", one) for one in mutes]
    typed = current.casefold().strip()
    return [
        app_commands.Choice(name=cut(name, 100), value=str(one.id)) for name, one in named if typed in name.casefold()
    ][:MOST]
